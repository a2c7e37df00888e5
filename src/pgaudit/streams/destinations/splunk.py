"""Splunk's HTTP Event Collector (HEC), with indexer acknowledgement.

A request has events as JSON objects, one after the other, compressed. If the token has indexer acknowledgement, a chunk
is done when Splunk has indexed it. Splunk has no idempotency key: after a lost response, events may be there twice,
with the same ``index``.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast
from uuid import uuid4

from pgaudit._exact_json import to_json
from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.destinations.http_client import Client, open_client, read_token
from pgaudit.streams.destinations.splunk_response import BadEvent, require_accepted
from pgaudit.streams.forms import form_of
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry

ACK_SECONDS: Final = 30.0  # for which a chunk waits; then the stream fails, and asks again before it sends again
ACK_VALID_SECONDS: Final = 300.0  # after which a chunk without an acknowledgement is sent again, as Splunk recommends
FIRST_PAUSE: Final = 0.05  # seconds between two questions, doubled each time
LONGEST_PAUSE: Final = 2.0


def open_destination(request: Request) -> "Splunk":
    """Returns the collector of a stream.

    :raises DestinationRefused: the token is missing, or the URL cannot be used.
    """
    token = read_token(request.url, "token")
    return Splunk(request, open_client(request, [token]), token)


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """Events that the collector has accepted and not indexed yet."""

    indexes: tuple[int, ...]
    ack_id: int
    until: float  # by the monotonic clock


class Splunk(BaseDestination):
    """A collector."""

    limits = Limits(events=1_000, bytes=600_000)  # Splunk Cloud takes 1 MB with all that is around the events

    def __init__(self, request: Request, client: Client, token: str) -> None:
        url = request.url
        self._client = client
        self._form = form_of(request.form)
        self._prefix = url.path.rstrip("/")
        self._channel = str(uuid4())
        self._headers = {"Authorization": f"Splunk {token}", "X-Splunk-Request-Channel": self._channel}
        self._needs_ack = url.flag("ack")
        names = ("index", "host", "source", "sourcetype")
        given = {name: url.option(name) for name in names if url.option(name)}
        self._metadata = {"source": f"pgaudit:{request.stream}", "sourcetype": "pgaudit", **given}
        self._pending: Unacknowledged | None = None

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Sends events that the collector does not have yet."""
        done = self._acknowledged(entries)
        try:
            return self._send_new(list(entries[done:]))
        except DeliveryFailed as failure:
            raise type(failure)(str(failure), retry_after=failure.retry_after, done=done) from None

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _acknowledged(self, entries: Sequence[Entry]) -> int:
        """Returns how many events, from the first on, were accepted in an earlier attempt and are indexed now."""
        pending, self._pending = self._pending, None
        if pending is None or time.monotonic() > pending.until:
            return 0
        if tuple(entry.index for entry in entries[: len(pending.indexes)]) != pending.indexes:
            return 0
        self._await_ack(pending)
        return len(pending.indexes)

    def _send_new(self, rest: list[Entry]) -> Receipt:
        """Sends events; one that the collector names as bad is sent alone, and refused if it is."""
        refused: dict[int, str] = {}
        size = 0
        while rest:
            try:
                size += self._send_part(rest)
                break
            except BadEvent as error:
                size += self._separate(rest, error, refused)
        return Receipt(size, refused=refused)

    def _separate(self, rest: list[Entry], error: BadEvent, refused: dict[int, str]) -> int:
        """Removes the bad event from the rest, after the collector has refused it alone. Returns the bytes of others.

        :raises EventsRefused: it is not the one that the collector has named.
        """
        size = 0
        for position in (error.number, error.number - 1):
            if 0 <= position < len(rest):
                entry = rest.pop(position)
                try:
                    size += self._send_part([entry])
                except BadEvent as again:
                    refused[entry.index] = str(again)
                    return size
        raise EventsRefused(str(error))

    def _send_part(self, entries: Sequence[Entry]) -> int:
        """Sends events in one request, and waits until they are indexed. Returns the bytes before compression."""
        body = "".join(to_json(self._wrapped(entry)) for entry in entries).encode()
        answer = self._client.post(f"{self._prefix}/services/collector/event", body, self._headers, compress=True)
        ack_id = require_accepted(answer).get("ackId")
        if isinstance(ack_id, int):
            valid = time.monotonic() + ACK_VALID_SECONDS
            self._await_ack(Unacknowledged(tuple(entry.index for entry in entries), ack_id, valid))
        elif self._needs_ack:
            raise DestinationRefused("ack=true, but its token has no indexer acknowledgement: turn it on in Splunk")
        return len(body)

    def _wrapped(self, entry: Entry) -> dict[str, Any]:
        moment = max(entry.occurred_at.timestamp(), 0.0)
        return {"time": Decimal(f"{moment:.6f}"), **self._metadata, "event": self._form(entry)}

    def _await_ack(self, pending: Unacknowledged) -> None:
        """Waits until events are indexed.

        :raises DeliveryFailed: they are not, within ``ACK_SECONDS``.
        """
        end, pause = time.monotonic() + ACK_SECONDS, FIRST_PAUSE
        while not self._is_indexed(pending.ack_id):
            if time.monotonic() + pause > end:
                self._pending = pending
                raise DeliveryFailed(f"it has not indexed {len(pending.indexes)} events within {ACK_SECONDS:.0f} s")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _is_indexed(self, ack_id: int) -> bool:
        body = json.dumps({"acks": [ack_id]}).encode()
        answer = self._client.post(f"{self._prefix}/services/collector/ack", body, self._headers)
        acks: Any = require_accepted(answer).get("acks")
        return isinstance(acks, dict) and cast("dict[str, Any]", acks).get(str(ack_id)) is True
