"""recording(): events are kept in memory as they would be sent."""

import asyncio
from typing import Any

import pytest

from pgaudit import AuditEvent, AuditLog, InvalidEvent, Mode, Settings, UnknownConnection, bind
from pgaudit.testing import recording

# No server listens there, so that sending fails.
NOWHERE = Settings(dsn="host=127.0.0.1 port=1 dbname=nowhere")
EVENT = AuditEvent(action="claim.approved", target="claim:7")


def test_every_way_to_record_is_kept_in_order() -> None:
    """Events of every method and every AuditLog are kept, with any object as connection."""
    audit, other = AuditLog(NOWHERE), AuditLog(NOWHERE)
    names = ["record", "record_async", "record_autonomous", "record_autonomous_async"]
    given = [AuditEvent(action=f"claim.{name}") for name in names]
    with recording() as events:
        audit.record(None, given[0])
        asyncio.run(other.record_async(object(), given[1]))
        audit.record_autonomous(given[2])
        asyncio.run(other.record_autonomous_async(given[3]))
    assert events == given


def test_events_of_a_method_bound_before_are_kept() -> None:
    """record = audit.record at the top of a module works."""
    record = AuditLog(NOWHERE).record
    with recording() as events:
        record(None, EVENT)
    events.assert_recorded(action="claim.approved", target="claim:7")


def test_bound_fields_are_inherited() -> None:
    """An event is kept as it would be sent, not as it was given."""
    with recording() as events, bind(actor="user:42", request_id="r-1"):
        AuditLog(NOWHERE).record(None, EVENT)
    events.assert_recorded(actor="user:42", context={"request_id": "r-1"})


def test_an_event_that_is_too_large_is_refused_and_not_kept() -> None:
    """The limit is that of the AuditLog's settings."""
    audit = AuditLog(Settings(max_event_bytes=1_024))
    with recording() as events, pytest.raises(InvalidEvent, match="PGAUDIT_MAX_EVENT_BYTES"):
        audit.record(None, EVENT, AuditEvent(action="claim.approved", data={"note": "x" * 1_024}))
    events.assert_nothing_recorded()


@pytest.mark.parametrize("mode", Mode)
def test_events_are_kept_in_every_mode(mode: Mode) -> None:
    """A test suite under PGAUDIT_MODE=off still sees what is recorded."""
    with recording() as events:
        AuditLog(Settings(mode=mode)).record(None, EVENT)
    assert events == [EVENT]


def test_events_are_sent_again_after_the_block() -> None:
    """After the block a call needs a real connection again."""
    with recording() as events:
        pass
    with pytest.raises(TypeError, match="NoneType is not a connection"):
        AuditLog(NOWHERE).record(None, EVENT)
    events.assert_nothing_recorded()


@pytest.mark.parametrize("mode", Mode)
def test_an_event_without_its_connection_is_refused(mode: Mode) -> None:
    """A call without the connection, or with a list, fails in a test as it does in the application."""
    audit = AuditLog(Settings(mode=mode))
    wrong: list[Any] = [EVENT, [EVENT]]
    with recording() as events:
        for forgotten in wrong:
            with pytest.raises(UnknownConnection, match="pass the connection first"):
                audit.record(forgotten)
            with pytest.raises(UnknownConnection, match="pass the connection first"):
                asyncio.run(audit.record_async(forgotten))
        with pytest.raises(InvalidEvent, match="is a list, not an AuditEvent"):
            audit.record(None, wrong[1])
        audit.record(None)
    events.assert_nothing_recorded()
