"""E-mail: one for the events of some seconds, so that a bulk of changes is a list and not a flood.

The events of an e-mail depend on the log alone, and so does its Message-ID: one that is sent again after a lost answer
has the same, by which servers and readers recognize it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import takewhile
from typing import Final

from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.destinations.mail_message import MailTemplate, load_template, values_of
from pgaudit.streams.destinations.smtp_client import SMTPClient, open_smtp_client
from pgaudit.streams.outcomes import Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry

DEFAULT_LINGER: Final = 30  # seconds


def open_destination(request: Request) -> "Mail":
    """Returns the recipients of a stream.

    :raises DestinationRefused: a secret or the template is missing, or the e-mails could be read on their way.
    """
    return Mail(request, open_smtp_client(request), load_template(request.url.option("template")))


class Mail(BaseDestination):
    """Writes e-mails about events, and sends them."""

    limits = Limits(events=100, bytes=1_000_000)

    def __init__(self, request: Request, client: SMTPClient, template: MailTemplate) -> None:
        self._stream = request.stream
        self._prefix = request.url.option("subject", "pgaudit")
        self._link = request.url.option("link")
        self._linger = timedelta(seconds=request.url.number("linger", DEFAULT_LINGER))
        self._client = client
        self._template = template

    def ready(self, entries: Sequence[Entry], now: datetime, *, is_full: bool) -> int:
        """Returns how many events are of the time of the first one, when that time is over."""
        end = entries[0].persisted_at + self._linger
        together = sum(1 for _ in takewhile(lambda entry: entry.persisted_at < end, entries))
        is_over = together < len(entries) or is_full or now >= end
        return together if is_over else 0

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Sends one e-mail about the events."""
        letter = self._template.render(values_of(self._stream, self._prefix, self._link, entries))
        message = letter.message(identity_of(self._stream, self._client.sender, entries))
        message["X-Pgaudit-Stream"] = self._stream
        message["X-Pgaudit-Index"] = f"{entries[0].index}-{entries[-1].index}"
        return Receipt(self._client.send(message))


def identity_of(stream: str, sender: str, entries: Sequence[Entry]) -> str:
    """Returns the Message-ID of an e-mail about these events: for the same events of a stream, always the same."""
    digest = sha256(stream.encode() + b"\0" + b"".join(entry.leaf_hash for entry in entries)).hexdigest()[:32]
    return f"<{entries[0].index}-{entries[-1].index}.{digest}@{sender.rpartition('@')[2]}>"
