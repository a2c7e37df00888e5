"""Mail servers: a real one, aiosmtpd, which answers as a test wants; and one that breaks off."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from threading import Event
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.pgbouncer import free_port

PASSWORD = "correct horse"


@dataclass
class Mailbox:
    """What the server has taken, and what it answers.

    :ivar answers: to ``RCPT`` or ``DATA``, to the sender or for one recipient; else it takes what comes.
    """

    messages: list[EmailMessage] = field(default_factory=list[EmailMessage])
    contents: list[bytes] = field(default_factory=list[bytes])
    recipients: list[list[str]] = field(default_factory=list[list[str]])
    answers: dict[str, str] = field(default_factory=dict[str, str])
    refusal_of_login: str | None = None
    drops: int = 0
    port: int = 0
    logins: list[str] = field(default_factory=list[str])
    encrypted: list[bool] = field(default_factory=list[bool])

    async def handle_MAIL(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802, ARG002 - aiosmtpd's
        """Answers to the sender."""
        envelope.mail_from = address
        return self.answers.get(address, "250 OK")

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802, ARG002 - aiosmtpd's
        """Answers to a recipient."""
        answer = self.answers.get(address, "250 OK")
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Takes a message, or answers otherwise; or takes it, and ends the connection without an answer."""
        answer = self.answers.get("DATA", "250 OK")
        content = cast("bytes", envelope.content)
        message = message_from_bytes(content, policy=default)
        if answer.startswith("2"):
            self.messages.append(message)
            self.contents.append(content)
            self.recipients.append(envelope.rcpt_tos)
            self.encrypted.append(session.ssl is not None)
        if self.drops:
            self.drops -= 1
            cast("Any", server.transport).abort()
        return answer

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:  # noqa: ARG002 - aiosmtpd's
        """Lets in who knows the password."""
        given = cast("LoginPassword", data)
        self.logins.append(given.login.decode())
        if self.refusal_of_login:
            return AuthResult(success=False, handled=False, message=self.refusal_of_login)
        return AuthResult(success=given.password == PASSWORD.encode(), handled=False)


@contextmanager
def mail_server(
    starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[Mailbox]:
    """Runs a mail server inside the block: with STARTTLS, TLS from the beginning, or neither."""
    mailbox = Mailbox(port=free_port())
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=mailbox.port,
        ssl_context=tls,
        tls_context=starttls,
        authenticator=mailbox.authenticate,
        **options,
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def breaking_off(connection: socket.socket, _: Event) -> None:
    """Ends the connection in the middle of a message."""
    lines = connection.makefile("rb")
    connection.sendall(b"220 mail.example.com\r\n")
    for line in lines:
        if line == b"data\r\n":
            connection.sendall(b"354 go on\r\n")
            lines.read(100)
            return
        connection.sendall(b"250 OK\r\n")


def dripping(connection: socket.socket, stopping: Event) -> None:
    """Answers one byte at a time, and never comes to an end."""
    connection.sendall(b"220 ")
    while not stopping.wait(0.05):
        connection.sendall(b"a")


def confused(connection: socket.socket, _: Event) -> None:
    """Answers OK to everything, and never says that a message may come."""
    connection.sendall(b"220 mail.example.com\r\n")
    for _line in connection.makefile("rb"):
        connection.sendall(b"250 OK\r\n")
