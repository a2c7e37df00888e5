"""Webhooks: a request for each event, in the order of the log, signed by Standard Webhooks 1.0.0.

The header ``webhook-id`` is the event's id: the idempotency key, by which a receiver recognizes a repeated event.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Final

from pgaudit._exact_json import to_json
from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.destinations.http_client import Client, open_client
from pgaudit.streams.destinations.http_response import Response
from pgaudit.streams.destinations.webhook_signatures import Signer
from pgaudit.streams.destinations.webhook_thin import Thin
from pgaudit.streams.forms import Form, form_of
from pgaudit.streams.forms.field_values import identity
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry

CHUNK_SECONDS: Final = 10.0  # a chunk is as large as the receiver has been fast: the stream is locked meanwhile
LONGEST_CHUNK_SECONDS: Final = 60.0
FIRST_GUESS: Final = 0.1  # seconds for an event
MOST_REFUSED: Final = 100  # one after the other: then it is the receiver's fault, and not the events'


def open_destination(request: Request) -> "Webhook":
    """Returns the destination of a stream.

    :raises DestinationRefused: a key is missing or malformed, or the URL cannot be used.
    """
    url = request.url
    keys = [key for option in ("secret", "previous") for key in (url.secret(option) or "").split()]
    form = Thin(url.option("link").rstrip("/")).form if url.flag("thin") else form_of(request.form)
    return Webhook(open_client(request, keys), url.path, Signer(keys), form)


@dataclass(slots=True)
class Progress:
    """The result for the events of a chunk so far."""

    done: int = 0
    bytes: int = 0
    refused: dict[int, str] = field(default_factory=dict[int, str])

    def receipt(self) -> Receipt:
        """Returns the receipt for the events that are done."""
        return Receipt(self.bytes, refused=self.refused)

    def stopped(self, failure: DeliveryFailed) -> DeliveryFailed:
        """Returns a failure, of the same kind, of the events that are not done."""
        return type(failure)(str(failure), retry_after=failure.retry_after, done=self.done, receipt=self.receipt())


class Webhook(BaseDestination):
    """An endpoint that gets a request for each event."""

    limits = Limits(events=500)

    def __init__(self, client: Client, path: str, signer: Signer, form: Form) -> None:
        self._client = client
        self._path = path
        self._signer = signer
        self._form = form
        self._seconds_per_event = FIRST_GUESS
        self._refused_in_row = 0

    def ready(self, entries: Sequence[Entry], now: datetime, *, is_full: bool) -> int:  # noqa: ARG002 - see Destination
        """Returns how many events the receiver is expected to take in ten seconds; one at least."""
        return min(len(entries), max(1, int(CHUNK_SECONDS / self._seconds_per_event)))

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Sends one event after the other, also after one that is refused."""
        progress, started = Progress(), time.monotonic()
        for entry in entries:
            try:
                self._require_time(started)
                progress.bytes += self._send_one(entry)
                self._refused_in_row = 0
            except EventsRefused as error:
                self._note_refused(progress, entry, error)
            except DeliveryFailed as failure:
                raise progress.stopped(failure) from None
            progress.done += 1
            self._seconds_per_event = max((time.monotonic() - started) / progress.done, 0.001)
        return progress.receipt()

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _require_time(self, started: float) -> None:
        """Raises DeliveryFailed if the chunk has taken too long: what is done is noted, and the rest is sent later."""
        if time.monotonic() - started > LONGEST_CHUNK_SECONDS:
            raise DeliveryFailed(f"it has become slow: {self._seconds_per_event:.1f} s for an event")

    def _send_one(self, entry: Entry) -> int:
        """Sends an event, and returns the size of its body."""
        body = to_json(self._form(entry)).encode()
        require_accepted(self._client.post(self._path, body, self._headers(identity(entry), body)))
        return len(body)

    def _headers(self, identity: str, body: bytes) -> Mapping[str, str]:
        timestamp = int(time.time())
        return {
            "webhook-id": identity,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._signer.sign(identity, timestamp, body),
        }

    def _note_refused(self, progress: Progress, entry: Entry, error: EventsRefused) -> None:
        """Notes that an event was refused.

        :raises DestinationRefused: the last hundred events were all refused.
        """
        self._refused_in_row += 1
        if self._refused_in_row >= MOST_REFUSED:
            message = f"it has refused {self._refused_in_row} events, one after the other: {error}"
            raise progress.stopped(DestinationRefused(message)) from None
        progress.refused[entry.index] = str(error)


def require_accepted(answer: Response) -> None:
    """Raises unless an event was accepted.

    :raises DestinationRefused: the endpoint is gone (410), or denies access.
    :raises EventsRefused: it will never accept this event.
    :raises DeliveryFailed: it does not accept it now.
    """
    if answer.status == HTTPStatus.GONE:
        raise DestinationRefused(f"{answer}: the receiver wants no more events")
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise EventsRefused(f"{answer}: thin=true in the URL sends ids and links alone")
    answer.require_success()
