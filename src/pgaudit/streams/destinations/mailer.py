"""Sends an e-mail by SMTP: to all of its recipients or to none, over TLS, to an address that was checked."""

import smtplib
import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

from pgaudit.streams.destinations.answers import excerpt
from pgaudit.streams.destinations.certificates import context_of
from pgaudit.streams.destinations.http import host_of
from pgaudit.streams.destinations.sockets import ANSWER_SECONDS, connect, secured, why
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused
from pgaudit.streams.request import Request

PORTS: Final = {"plain": 25, "starttls": 587, "tls": 465}
DIALOGUE_SECONDS: Final = 60.0  # for all steps together, however slowly each answer comes
POLICY: Final = SMTP.clone(cte_type="7bit")  # so that every server takes it as it is
TOO_LARGE: Final = 552
SUCCESS: Final = range(200, 300)
LASTING: Final = range(500, 600)
Answered = bytes | str
Refusal = type[DeliveryFailed | EventsRefused]


class Dialogue(smtplib.SMTP):
    """A connection to a mail server, which ends in time.

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
        return plain if self._secure_from_start is None else secured(plain, self._secure_from_start, host)

    def cut(self) -> None:
        """Ends the connection from another thread; never one of TLS in plain text, as its own method might."""
        if self.sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Mailer:
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
        with self._dialogue() as dialogue:
            try:
                self._log_in(dialogue)
                self._address(dialogue, len(content))
                self._require(dialogue.data(content), EventsRefused, "the message")
            except smtplib.SMTPDataError as error:  # before the message: the server has taken nothing, whatever it says
                raise self._refusal(error.smtp_code, error.smtp_error, EventsRefused, "the message") from None
        return len(content)

    def check(self) -> None:
        """Logs in, and says who an e-mail would be from and for. Raises what ``send`` raises."""
        with self._dialogue() as dialogue:
            self._log_in(dialogue)
            self._address(dialogue, 0)

    @contextmanager
    def _dialogue(self) -> Generator[Dialogue]:
        """Opens a connection, which ends after the block, or when the time is over.

        :raises DeliveryFailed: it cannot be opened, or breaks.
        """
        context = self.context if self.scheme == "tls" else None
        dialogue = Dialogue(self.host, allow_private=self.allow_private, context=context)
        timer = threading.Timer(DIALOGUE_SECONDS, dialogue.cut)
        timer.daemon = True
        timer.start()
        try:
            self._require(dialogue.connect(self.host, self.port), DeliveryFailed, "the connection")
            yield dialogue
            with suppress(smtplib.SMTPException, OSError):  # the message is delivered, whatever comes of the farewell
                dialogue.quit()
        except smtplib.SMTPServerDisconnected:
            raise DeliveryFailed(f"{self.host} has closed the connection") from None
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryFailed(f"{self.host} does not answer: {why(error)}") from None
        finally:
            timer.cancel()
            dialogue.close()

    def _log_in(self, dialogue: Dialogue) -> None:
        """Begins TLS, and says who we are.

        :raises DestinationRefused: the server offers no TLS or no login, or the password is wrong.
        """
        try:
            dialogue.ehlo_or_helo_if_needed()
            if self.scheme == "starttls":
                dialogue.starttls(context=self.context)
                dialogue.ehlo_or_helo_if_needed()
            if self.user is not None:
                dialogue.login(self.user, self.password or "")
        except smtplib.SMTPResponseException as error:
            raise self._refusal(error.smtp_code, error.smtp_error, DestinationRefused, "the login") from None
        except smtplib.SMTPServerDisconnected:
            raise
        except smtplib.SMTPException as error:  # raised for want of STARTTLS, of logins, or of one that we know
            what = (
                "STARTTLS: the message could be read on its way" if "STARTTLS" in str(error) else "login that we know"
            )
            raise DestinationRefused(f"{self.host} offers no {what}") from None

    def _address(self, dialogue: Dialogue, size: int) -> None:
        """Says who the message is from and for. One recipient that is refused ends it for all of them.

        :raises DestinationRefused: the sender or a recipient is refused for good.
        :raises EventsRefused: the message is too large.
        """
        answer = dialogue.mail(self.sender, [f"size={size}"] if dialogue.has_extn("size") else [])
        refusal = EventsRefused if answer[0] == TOO_LARGE else DestinationRefused
        self._require(answer, refusal, f"the sender {self.sender}")
        for recipient in self.recipients:
            self._require(dialogue.rcpt(recipient), DestinationRefused, f"the recipient {recipient}")

    def _require(self, answer: tuple[int, Answered], refusal: Refusal, what: str) -> None:
        """Returns if an answer is a success.

        :raises DeliveryFailed: it is a refusal for now; of the given class if it is one for good.
        """
        if answer[0] not in SUCCESS:
            raise self._refusal(*answer, refusal, what)

    def _refusal(self, code: int, said: Answered, refusal: Refusal, what: str) -> DeliveryFailed | EventsRefused:
        """Returns the error for an answer that is no success."""
        text = excerpt(said if isinstance(said, bytes) else said.encode(), (self.password,) if self.password else ())
        kind = refusal if code in LASTING else DeliveryFailed
        return kind(f"{self.host} refuses {what}: {code} {text}")


def open_mailer(request: Request) -> Mailer:
    """Returns the mailer of a stream.

    :raises DestinationRefused: a secret is missing, or the e-mails could be read on their way.
    """
    url = request.url
    password = url.secret("password")
    if url.scheme == "plain" and (password is not None or not request.allow_private):
        raise DestinationRefused(
            "e-mails over smtp can be read and changed on their way, and a password too: use smtp+starttls or smtps, "
            "or, without a password and in a network of your own, add the stream with --allow-private"
        )
    if (password is None) != ("user" not in url.options):
        raise DestinationRefused("user= and password= belong together: give both in the URL, or none")
    host, port = host_of(url)
    return Mailer(
        url.scheme,
        host,
        port or PORTS[url.scheme],
        url.option("from"),
        tuple(dict.fromkeys(url.option("to").split(","))),
        context_of(url),
        url.options.get("user"),
        password,
        request.allow_private,
    )
