"""Sends e-mails by SMTP: to all recipients or to none."""

import smtplib
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

from pgaudit.streams.destinations.addresses import host_of
from pgaudit.streams.destinations.certificates import tls_context
from pgaudit.streams.destinations.http_response import masked_excerpt
from pgaudit.streams.destinations.smtp_connection import SMTPConnection
from pgaudit.streams.destinations.sockets import describe_error
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused
from pgaudit.streams.request import Request

PORTS: Final = {"plain": 25, "starttls": 587, "tls": 465}
SESSION_SECONDS: Final = 60.0  # for all steps together, however slowly each answer comes
POLICY: Final = SMTP.clone(cte_type="7bit")  # so that every server takes it as it is
TOO_LARGE: Final = 552
SUCCESS: Final = range(200, 300)
LASTING: Final = range(500, 600)
Answered = bytes | str
Refusal = type[DeliveryFailed | EventsRefused]


@dataclass(frozen=True, slots=True)
class SMTPClient:
    """Sends e-mails of one sender to the same recipients.

    :ivar scheme: ``starttls``, ``tls`` or ``plain``.
    """

    scheme: str
    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    context: ssl.SSLContext | None = field(repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    allow_private: bool = False

    def send(self, message: EmailMessage) -> int:
        """Sends a message, and returns its size when the server has taken responsibility for it.

        :raises DeliveryFailed: it was not taken now, or the connection broke: then it may have been.
        :raises EventsRefused: the server does not take this message, ever.
        :raises DestinationRefused: the server does not take our messages: the sender, a recipient, the password.
        """
        message["From"], message["To"] = self.sender, ", ".join(self.recipients)
        content = message.as_bytes(policy=POLICY)
        with self._connection() as connection:
            try:
                self._log_in(connection)
                self._address(connection, len(content))
                self._require(connection.data(content), EventsRefused, "the message")
            except smtplib.SMTPDataError as error:  # before the message: the server has taken nothing, whatever it says
                raise self._refusal(error.smtp_code, error.smtp_error, EventsRefused, "the message") from None
        return len(content)

    def check(self) -> None:
        """Logs in, and says who an e-mail would be from and for. Raises what ``send`` raises."""
        with self._connection() as connection:
            self._log_in(connection)
            self._address(connection, 0)

    @contextmanager
    def _connection(self) -> Generator[SMTPConnection]:
        """Opens a connection, which is closed after the block, or after ``SESSION_SECONDS``.

        :raises DeliveryFailed: it cannot be opened, or breaks.
        """
        context = self.context if self.scheme == "tls" else None
        connection = SMTPConnection(self.host, allow_private=self.allow_private, context=context)
        timer = threading.Timer(SESSION_SECONDS, connection.cut)
        timer.daemon = True
        timer.start()
        try:
            self._require(connection.connect(self.host, self.port), DeliveryFailed, "the connection")
            yield connection
            with suppress(smtplib.SMTPException, OSError):  # the message is delivered, even if QUIT fails
                connection.quit()
        except smtplib.SMTPServerDisconnected:
            raise DeliveryFailed(f"{self.host} has closed the connection") from None
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryFailed(f"{self.host} does not answer: {describe_error(error)}") from None
        finally:
            timer.cancel()
            connection.close()

    def _log_in(self, connection: SMTPConnection) -> None:
        """Starts TLS, and logs in.

        :raises DestinationRefused: the server offers no TLS or no login, or the password is wrong.
        """
        try:
            connection.ehlo_or_helo_if_needed()
            if self.scheme == "starttls":
                connection.starttls(context=self.context)
                connection.ehlo_or_helo_if_needed()
            if self.user is not None:
                connection.login(self.user, self.password or "")
        except smtplib.SMTPResponseException as error:
            raise self._refusal(error.smtp_code, error.smtp_error, DestinationRefused, "the login") from None
        except smtplib.SMTPServerDisconnected:
            raise
        except smtplib.SMTPException as error:  # raised for want of STARTTLS, of logins, or of one that we know
            what = (
                "STARTTLS: the message could be read on its way" if "STARTTLS" in str(error) else "login that we know"
            )
            raise DestinationRefused(f"{self.host} offers no {what}") from None

    def _address(self, connection: SMTPConnection, size: int) -> None:
        """Names sender and recipients. If one recipient is refused, none gets the message.

        :raises DestinationRefused: the sender or a recipient is refused for good.
        :raises EventsRefused: the message is too large.
        """
        answer = connection.mail(self.sender, [f"size={size}"] if connection.has_extn("size") else [])
        refusal = EventsRefused if answer[0] == TOO_LARGE else DestinationRefused
        self._require(answer, refusal, f"the sender {self.sender}")
        for recipient in self.recipients:
            self._require(connection.rcpt(recipient), DestinationRefused, f"the recipient {recipient}")

    def _require(self, answer: tuple[int, Answered], refusal: Refusal, what: str) -> None:
        """Returns if an answer is a success.

        :raises DeliveryFailed: it is a refusal for now; of the given class if it is one for good.
        """
        if answer[0] not in SUCCESS:
            raise self._refusal(*answer, refusal, what)

    def _refusal(self, code: int, said: Answered, refusal: Refusal, what: str) -> DeliveryFailed | EventsRefused:
        """Returns the error for an answer that is no success."""
        secrets = (self.password,) if self.password else ()
        text = masked_excerpt(said if isinstance(said, bytes) else said.encode(), secrets)
        kind = refusal if code in LASTING else DeliveryFailed
        return kind(f"{self.host} refuses {what}: {code} {text}")


def open_smtp_client(request: Request) -> SMTPClient:
    """Returns the client of a stream.

    :raises DestinationRefused: a user without a password, or a password without a user.
    """
    url = request.url
    password = url.secret("password")
    if (password is None) != ("user" not in url.options):
        raise DestinationRefused("user= and password= belong together: give both in the URL, or none")
    host, port = host_of(url.netloc)
    return SMTPClient(
        url.scheme,
        host,
        port or PORTS[url.scheme],
        url.option("from"),
        tuple(dict.fromkeys(url.option("to").split(","))),
        tls_context(url),
        url.options.get("user"),
        password,
        request.allow_private,
    )
