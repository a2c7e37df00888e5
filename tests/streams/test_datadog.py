"""Datadog: its limits are kept before it leaves something out or cuts it off."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings, streams
from pgaudit.streams.destinations import open_destination
from pgaudit.streams.destinations.datadog import Datadog
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused
from pgaudit.testing import run_worker_once
from tests.support.datadog import Intake, errors
from tests.support.log_entries import entries, entry
from tests.support.receivers import Reply, request_to, serving
from tests.support.streams import append, send_all


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key in the environment."""
    monkeypatch.setenv("DD", Intake().key)


@contextmanager
def opened(intake: Intake, options: str = "") -> Iterator[Datadog]:
    """Opens a stream to that intake."""
    with serving(intake.answer) as url:
        destination = open_destination(request_to(f"datadog+{url}?api_key=env:DD{options}"))
        assert isinstance(destination, Datadog)
        try:
            yield destination
        finally:
            destination.close()


def test_a_log_is_the_event_with_its_time_and_status() -> None:
    """The message is the event as JSON with all its digits; the attributes are those that Datadog reserves."""
    intake = Intake()
    sent = [entry(0, data={"amount": 1.10}), entry(1, outcome="denied"), entry(2, outcome="failure")]
    with opened(intake, "&service=claims&tags=env:prod,team:audit") as destination:
        receipt = destination.send(sent)
    assert receipt.bytes == len(intake.requests[0].body)
    assert intake.requests[0].headers["content-encoding"] == "gzip"
    assert [log["status"] for log in intake.logs] == ["info", "warn", "error"]
    for log, one in zip(intake.logs, sent, strict=True):
        assert json.loads(log["message"])["event"]["id"] == str(one.event_id)
        assert log["timestamp"] == int(one.occurred_at.timestamp() * 1_000)
        assert (log["service"], log["ddsource"], log["ddtags"]) == ("claims", "pgaudit", "env:prod,team:audit")


def test_what_is_too_old_is_skipped_and_said() -> None:
    """Datadog would answer with success, and leave it out."""
    intake = Intake()
    hours = {0: 17, 1: 19, 2: 0, 3: 400}
    with opened(intake) as destination:
        receipt = destination.send([entry(index, age=timedelta(hours=age)) for index, age in hours.items()])
    assert sorted(receipt.skipped) == [1, 3]
    assert set(receipt.skipped.values()) == {"older than 18 hours, which Datadog leaves out"}
    assert (intake.indexes, intake.dropped) == ([0, 2], 0)


def test_nothing_is_sent_when_everything_is_too_old() -> None:
    """A backfill of last year costs no requests."""
    intake = Intake()
    with opened(intake) as destination:
        assert len(destination.send(entries(10, age=timedelta(days=365))).skipped) == 10
    assert intake.requests == []


def test_what_is_too_long_is_refused() -> None:
    """Datadog would answer with success, and cut it off: a log that is no evidence."""
    intake = Intake()
    sent = [entry(0), entry(1, reason="x" * 1_000_000), entry(2, reason="ü" * 499_000), entry(3)]
    with opened(intake) as destination:
        receipt = destination.send(sent)
    assert list(receipt.refused) == [1]
    assert "Datadog would cut it off after 1 MB" in receipt.refused[1]
    assert (intake.indexes, intake.truncated) == ([0, 2, 3], 0)


def test_a_request_has_at_most_5_mb_and_1000_logs() -> None:
    """What is more comes in the next request."""
    intake = Intake()
    with opened(intake) as destination:
        destination.send(entries(12, reason='"' * 200_000))
        destination.send(entries(1_001))
    assert intake.indexes == [*range(12), *range(1_001)]
    assert max(len(request.body) for request in intake.requests) <= 5_000_000
    assert [len(request.json) for request in intake.requests[-2:]] == [1_000, 1]
    assert len(intake.requests) == 4


def test_a_failure_in_the_middle_keeps_what_was_accepted() -> None:
    """With what was skipped and refused before it, and nothing of what comes after it."""
    intake = Intake(replies=[Reply(202), Reply(503, headers={"Retry-After": "5"})])
    old = timedelta(days=1)
    sent = [entry(0, age=old), *(entry(n, reason="x" * 990_000) for n in range(1, 7)), entry(7, age=old)]
    with opened(intake) as destination, pytest.raises(DeliveryFailed, match="it answers 503") as raised:
        destination.send(sent)
    failure = raised.value
    assert (failure.done, failure.retry_after) == (6, 5)
    assert list(failure.receipt.skipped) == [0]
    assert failure.receipt.bytes > 4_900_000


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_pauses_the_stream(status: int) -> None:
    """And is not quoted, even if the answer does."""
    intake = Intake(replies=[errors(status, f"the key {Intake().key} is invalid")])
    with opened(intake) as destination, pytest.raises(DestinationRefused, match=f"it answers {status}") as raised:
        destination.send([entry()])
    assert Intake().key not in str(raised.value)
    assert "the key *** is invalid" in str(raised.value)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_an_intake_that_does_not_take_logs_now(status: int) -> None:
    """The documentation says to try again."""
    with opened(Intake(replies=[errors(status, "later")])) as destination, pytest.raises(DeliveryFailed) as raised:
        destination.send([entry()])
    assert not isinstance(raised.value, DestinationRefused)


@pytest.mark.parametrize("status", [400, 413])
def test_logs_that_are_refused_as_a_whole_are_sent_in_halves(status: int) -> None:
    """What the intake does not like about them is found that way."""
    with opened(Intake(replies=[errors(status, "no")])) as destination, pytest.raises(EventsRefused):
        destination.send(entries(2))


def test_a_stream_to_datadog(dsn: str) -> None:
    """What is skipped is counted in the history, and the position moves over it."""
    append(dsn, 3)
    with psycopg.connect(dsn) as conn:
        old = AuditEvent(action="claim.opened", occurred_at=datetime.now(UTC) - timedelta(days=9))
        AuditLog(Settings(dsn=dsn)).record(conn, old)
        conn.commit()
        run_worker_once(conn)
    append(dsn, 2)
    intake = Intake()
    with serving(intake.answer) as url, psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "dd", to=f"datadog+{url}?api_key=env:DD", start=0, allow_private=True)
        send_all(dsn, "dd")
        history = conn.execute("SELECT status, events, error FROM pgaudit.delivery ORDER BY id").fetchall()
        assert streams.get_stream(conn, "dd").next_index == 6
    assert intake.indexes == [0, 1, 2, 4, 5]
    assert any(status == "skipped" and events == 1 and "18 hours" in error for status, events, error in history)
