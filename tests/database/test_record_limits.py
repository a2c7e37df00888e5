"""The limits of ``pgaudit.record``: each is exact, and costs neither memory nor time to check."""

import json

import psycopg
import pytest

from tests.support.jobs import queued
from tests.support.memory import peak_memory
from tests.support.queries import Connection
from tests.support.valid_events import RECORD, record_raw, valid

NARROW = 16_384
FILLER = {"small": {}, "large": {"filler": "x" * 8_000}}


@pytest.mark.parametrize("filler", FILLER)
@pytest.mark.parametrize("number", ["1e4000", "1e4001", "-1e4000", "1e-4001", "1e-16383", "1e131071", "9" * 4_001])
def test_a_number_of_more_than_4000_digits_is_refused(scratch: Connection, number: str, filler: str) -> None:
    """Numbers are limited by their printed length, sign and point included, wherever they are in the event."""
    for place in ('{"data": {"a": [%s]}}', '{"extra": %s}', '{"context": {"a": {"b": %s}}}'):
        event = f"[{json.dumps(valid(**FILLER[filler]))[:-1]}, {(place % number)[1:]}]"
        with pytest.raises(psycopg.Error, match=r"4,000 digits|65,535|bytes") as refusal, scratch.transaction():
            scratch.execute(RECORD, [event])
        assert refusal.value.sqlstate == "PA001"
    assert queued(scratch) == []


@pytest.mark.parametrize("filler", FILLER)
@pytest.mark.parametrize("number", ["1e3999", "-1e3998", "1e-3998", "9" * 4_000])
def test_a_number_of_4000_digits_is_accepted(scratch: Connection, number: str, filler: str) -> None:
    """A number with exactly 4,000 digits is accepted."""
    event = f'[{json.dumps(valid(**FILLER[filler]))[:-1]}, "extra": {number}}}]'
    scratch.execute(RECORD, [event])
    assert scratch.execute("SELECT length(event->>'extra') FROM pgaudit.audit_jobs").fetchone() == (4_000,)


def test_an_event_of_a_gigabyte_costs_no_memory(conn: Connection) -> None:
    """8,191 numbers that would print as a gigabyte are refused without being printed."""
    event = (
        "%s::jsonb || jsonb_build_object('data', (SELECT jsonb_agg('1e131071'::jsonb) FROM generate_series(1, 8191)))"
    )
    for events in (f"jsonb_build_array({event})", f"jsonb_build_array({event}, {event})"):
        parameters = [json.dumps(valid())] * events.count("%s")
        with pytest.raises(psycopg.Error, match="digits") as refusal, conn.transaction():
            conn.execute(f"SELECT pgaudit.record({events})", parameters)
        assert refusal.value.sqlstate == "PA001"
    assert peak_memory(conn) < 200 * 1_024


def test_size_is_limited_to_the_byte(scratch: Connection) -> None:
    """The stored text counts to the byte, stamps included, however well it compresses."""
    scratch.execute("SET LOCAL search_path = pgaudit")
    check = "SELECT octet_length(check_event(%s))"
    for letter in ("x", "ä", "\\"):
        for limit in (49_152, NARROW, 65_535):
            scratch.execute("UPDATE settings SET max_event_bytes = %s", [limit])
            stamps = {"recorded_at": "2026-01-31T12:00:00Z", "recorded_by": "app", "xid": "7"}
            size = len(json.dumps(event := valid(**stamps, data=""), ensure_ascii=False).encode())
            width = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
            event["data"] = letter * ((limit - size) // width) + "y" * ((limit - size) % width)
            assert scratch.execute(check, [json.dumps(event)]).fetchone() == (limit,)
            event["data"] += "y"
            beyond = pytest.raises(psycopg.Error, match=f"{limit + 1} bytes, {limit} are allowed")
            with beyond as refusal, scratch.transaction():
                scratch.execute(check, [json.dumps(event)])
            assert refusal.value.sqlstate == "PA001"


@pytest.mark.parametrize("size", [49_153, 70_000, 1_000_000, 20_000_000])
def test_a_large_event_is_refused(scratch: Connection, size: int) -> None:
    """An event above the limit is refused, however well it compresses, and no event of the call is recorded."""
    for events in ([valid(data="x" * size)], [valid(), valid(data="x" * size)]):
        with pytest.raises(psycopg.Error, match="bytes") as refusal, scratch.transaction():
            record_raw(scratch, *events)
        assert refusal.value.sqlstate == "PA001"
    assert queued(scratch) == []


def test_one_invalid_event_refuses_the_whole_call(scratch: Connection) -> None:
    """No event of a refused call is recorded, wherever the invalid one is."""
    for position in (0, 500, 999):
        events = [valid() for _ in range(1_000)]
        events[position]["outcome"] = "maybe"
        with pytest.raises(psycopg.Error, match="outcome"), scratch.transaction():
            record_raw(scratch, *events)
    assert queued(scratch) == []
    record_raw(scratch, *(valid() for _ in range(1_000)))
    assert len(queued(scratch)) == 1_000
