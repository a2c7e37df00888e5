"""Tests a stream: sends a test event, which is not in the log, to its destination."""

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
# The others store events by index, or in files that are evidence, where a test event would do harm.
TAKES_TESTS: Final = frozenset({"webhook", "splunk", "datadog", "otlp", "smtp", "syslog"})


def probe(stream: Stream) -> str:
    """Tests a stream from this process, with the secrets of its environment, and returns a sentence about the result.

    A receiver of messages gets an event with the action ``pgaudit.stream_tested`` and the index -1. Files, buckets and
    brokers, which store only the log's own events, are opened, and nothing is written. Neither the stream's position
    nor its history changes, and it may be paused.

    :raises InvalidStream: it has no destination.
    :raises DeliveryFailed: the destination does not accept events; or, DestinationRefused, not until someone acts.
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
        return f"{shown} accepts the connection; no report was sent, because each day has one, once it is over"
    return f"{shown} accepts the connection; no test event was sent, because it stores only events of the log"


def send_test(destination: Destination, shown: str, name: str) -> str:
    """Sends an event to test a destination, and returns a sentence about the result.

    :raises DeliveryFailed: it was not accepted.
    """
    event = test_event(name)
    sent = send(destination, [event])
    if sent.failure is not None:
        raise sent.failure
    for reason in (*sent.refused.values(), *sent.skipped.values()):
        raise DeliveryFailed(f"it has refused the test event: {reason}")
    return f"{shown} has accepted a test event with the action {event.action}"


def test_event(name: str) -> Entry:
    """Returns the test event."""
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
