"""Tests a stream: sends an event to its destination that is marked as a test, and is not in the log."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid4

from pgaudit.errors import InvalidStream
from pgaudit.streams.catalog import Stream
from pgaudit.streams.destinations import open_destination
from pgaudit.streams.destinations.destination import Destination
from pgaudit.streams.outcomes import DeliveryFailed
from pgaudit.streams.request import Request
from pgaudit.streams.sending import send
from pgaudit.streams.urls import StreamURL
from pgaudit.trail.entry import Entry

ACTION: Final = "pgaudit.stream_tested"
# Where one more event does no harm. The others keep events by their index, or in files that are evidence.
TAKES_TESTS: Final = frozenset({"webhook", "splunk", "datadog", "otlp", "smtp", "syslog"})


def probe(stream: Stream) -> str:
    """Tests a stream from this process, with the secrets of its environment, and returns what has come of it.

    A receiver of messages gets one: its action is ``pgaudit.stream_tested``, its index -1, for it is not in the log.
    Files, buckets and brokers keep the log's own events: they are opened, and nothing is written. Neither the stream's
    position nor its history changes, and it may be paused.

    :raises InvalidStream: it has no destination.
    :raises DeliveryFailed: the destination does not take events, now (or, DestinationRefused, until someone acts).
    """
    if stream.url is None:
        raise InvalidStream(f"{stream.name} has no destination: the application itself reads it")
    url = StreamURL.parse(stream.url)
    destination = open_destination(Request(stream.name, url, stream.form, stream.allow_private))
    shown = stream.url.partition("?")[0]
    try:
        if url.kind in TAKES_TESTS:
            return send_test(destination, shown, stream.name)
        destination.check()
    finally:
        destination.close()
    if url.kind == "report":
        return f"{shown} lets us in; no report was sent, because each day has one, once the day is over"
    return f"{shown} lets us in; no event was sent there, because it keeps only those of the log"


def send_test(destination: Destination, shown: str, name: str) -> str:
    """Sends an event to test a destination, and returns what has come of it.

    :raises DeliveryFailed: it was not accepted.
    """
    event = test_event(name)
    sent = send(destination, [event])
    if sent.failure is not None:
        raise sent.failure
    for reason in (*sent.refused.values(), *sent.skipped.values()):
        raise DeliveryFailed(f"it has refused the event that tests it: {reason}")
    return f"{shown} has accepted an event with the action {event.action}, sent to test it"


def test_event(name: str) -> Entry:
    """Returns an event that says that it is a test."""
    identity, now = uuid4(), datetime.now(UTC)
    event = {
        "id": str(identity),
        "action": ACTION,
        "outcome": "success",
        "occurred_at": now.isoformat(),
        "recorded_at": now.isoformat(),
        "targets": [{"id": name, "type": "stream"}],
        "reason": "Sent to test the stream; it is not in the log.",
    }
    return entry_of(identity, now, name, json.dumps(event))


def entry_of(identity: UUID, now: datetime, name: str, text: str) -> Entry:
    """Returns the event as one of the log: with an index that none of them has."""
    return Entry(
        index=-1,
        event_id=identity,
        occurred_at=now,
        recorded_at=now,
        persisted_at=now,
        action=ACTION,
        outcome="success",
        actor_type=None,
        actor_id=None,
        target_type="stream",
        target_id=name,
        tenant=None,
        leaf_hash=sha256(b"\0" + text.encode()).digest(),
        conflicts_with=None,
        text=text,
    )
