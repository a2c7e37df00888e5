"""An SMTP connection to an address that was checked, with TLS, which another thread can end."""

import smtplib
import socket
import ssl
from contextlib import suppress

from pgaudit.streams.destinations.sockets import connect, wrap_tls
from pgaudit.streams.timeouts import ANSWER_SECONDS


class SMTPConnection(smtplib.SMTP):
    """A connection to a mail server, which another thread can cut off.

    :param context: for TLS from the beginning; None for a connection that begins in plain text.
    """

    def __init__(self, host: str, *, allow_private: bool, context: ssl.SSLContext | None) -> None:
        super().__init__(timeout=ANSWER_SECONDS)
        self._host = host  # the name that the certificate must have after STARTTLS
        self._allow_private = allow_private
        self._secure_from_start = context

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002 - see ``sockets``
        """Returns the connection; smtplib calls this."""
        plain = connect(host, port, allow_private=self._allow_private)
        return plain if self._secure_from_start is None else wrap_tls(plain, self._secure_from_start, host)

    def cut(self) -> None:
        """Ends the connection from another thread. The method of an SSL socket might go on without TLS."""
        if self.sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
