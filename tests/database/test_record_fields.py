"""Invalid events that the SQL function ``pgaudit.record`` refuses from any caller."""

import json
from uuid import uuid4

import psycopg
import pytest

from tests.support.jobs import queued
from tests.support.queries import Connection
from tests.support.valid_events import Json, nested, record_raw, reference, valid, without

BAD_REFERENCES: dict[str, object] = {
    "string": "user:42",
    "number": 42,
    "array": [reference()],
    "true": True,
    "empty object": {},
    "no id": {"type": "user"},
    "no type": {"id": "42"},
    "type null": reference(type=None),
    "id null": reference(id=None),
    "type number": reference(type=1),
    "id number": reference(id=1),
    "id object": reference(id={"id": "1"}),
    "type array": reference(type=["user"]),
    "type empty": reference(type=""),
    "id empty": reference(id=""),
    "type of 101": reference(type="x" * 101),
    "id of 501": reference(id="ä" * 501),
}

# Invalid events by the field that the message names.
BAD_TIMES: tuple[object, ...] = (
    *(None, 0, 1_769_860_800, [], {}, "", "now", "today", "infinity", "epoch"),
    *("2026-01-31", "2026-01-31T12:00:00", "2026-01-31 12:00:00Z", "2026-01-31T12:00Z"),
    *("2026-01-31T12:00:00.000000", "2026-01-31T12:00:00.0000000Z", "2026-01-31T12:00:00.Z"),
    *("2026-01-31T12:00:00Z BC", "2026-01-31T12:00:00+01", "2026-01-31T12:00:00 UTC"),
    *("2026-01-31T12:00:00Europe/Vienna", "2026-01-31T12:00:00z", "2026-01-31t12:00:00Z"),
    *("2026-01-31T24:00:00Z", "2026-01-31T24:00:00.000000Z", "2026-01-31T25:00:00Z"),
    *("2026-01-31T12:00:60Z", "2026-01-31T23:59:60.000000Z", "2026-01-31T12:00:00.000000Z\n"),
    *("10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "+2026-01-31T12:00:00Z"),
    *("0001-01-01T00:00:00Z", "0001-01-01T23:59:59.999999Z", "0001-01-02T00:00:00+00:01"),
    *("9999-12-31T00:00:00Z", "9999-12-30T23:59:59.999999-00:01", "31.01.2026 12:00:00Z"),
    *("2026-W05-6T12:00:00Z", "٢٠٢٦-01-31T12:00:00Z"),
)
REFUSED: dict[str, dict[str, object]] = {
    "JSON object": {"string": "x", "number": 1, "null": None, "true": True, "array": [valid()], "empty array": []},
    "id": {
        "absent": without("id"),
        "null": valid(id=None),
        "upper case": valid(id=str(uuid4()).upper().replace("0", "A")),
        "braces": valid(id=f"{{{uuid4()}}}"),
        "no hyphens": valid(id=uuid4().hex),
    },
    "action": {
        "absent": without("action"),
        "null": valid(action=None),
        "number": valid(action=1),
        "array": valid(action=["claim.approved"]),
        "one word": valid(action="approved"),
        "upper case": valid(action="Claim.approved"),
        "space": valid(action="claim. approved"),
        "second line": valid(action="claim.approved\nclaim.denied"),
        "line end": valid(action="claim.approved\n"),
        "dot at the end": valid(action="claim."),
        "digit first": valid(action="1claim.approved"),
        "not ASCII": valid(action="schäden.gemeldet"),
        "201 characters": valid(action=f"a.{'b' * 199}"),
        "empty": valid(action=""),
    },
    "outcome": {
        "absent": without("outcome"),
        "null": valid(outcome=None),
        "other": valid(outcome="maybe"),
        "upper case": valid(outcome="Success"),
        "true": valid(outcome=True),
        "array": valid(outcome=["success"]),
    },
    "occurred_at": {
        "absent": without("occurred_at"),
        **{repr(time): valid(occurred_at=time) for time in BAD_TIMES},
    },
    "actor": {name: valid(actor=value) for name, value in BAD_REFERENCES.items()},
    "targets: number 1": {
        **{name: valid(targets=[value]) for name, value in BAD_REFERENCES.items()},
        "null": valid(targets=[None]),
        "first of two": valid(targets=["claim:7", reference()]),
    },
    "targets: number 2": {
        **{name: valid(targets=[reference(), value]) for name, value in BAD_REFERENCES.items()},
        "null": valid(targets=[reference(), None]),
        "second of three": valid(targets=[reference(), "claim:7", "claim:8"]),
    },
    "targets: number 100": {"last": valid(targets=[reference()] * 99 + [reference(id="")])},
    "targets must be an array": {
        "object": valid(targets=reference()),
        "string": valid(targets="claim:7"),
        "number": valid(targets=7),
        "null": valid(targets=None),
        "false": valid(targets=False),
    },
    "tenant": {
        "number": valid(tenant=1),
        "true": valid(tenant=True),
        "array": valid(tenant=["acme"]),
        "object": valid(tenant={"id": "acme"}),
        "501 characters": valid(tenant="x" * 501),
    },
    "64 levels": {
        "arrays": nested(65),
        "far too deep": nested(500),
        "in a key of its own": valid(extra=nested(65)["data"]),
    },
    "reserved": {
        f"{field}, {key}, {name}": valid(**{field: value})
        for field in ("data", "changes")
        for key in ("_sd", "...")
        for name, value in {
            "at the top": {key: 1},
            "below": {"a": {"b": {key: None}}},
            "in an array": {"a": [1, [{"b": 1, key: []}]]},
            "in a list of objects": [{key: 1}],
            "in itself": {key: {key: key}},
        }.items()
    },
}


@pytest.mark.parametrize(
    ("field", "event"),
    [
        pytest.param(field, event, id=f"{field}-{name}".encode("unicode_escape").decode())
        for field, events in REFUSED.items()
        for name, event in events.items()
    ],
)
def test_an_invalid_field_is_refused(scratch: Connection, field: str, event: object) -> None:
    """An invalid field raises PA001 with the field in the message, and no event of the call is recorded."""
    for events in ([event], [valid(), event, valid()]):
        with pytest.raises(psycopg.Error, match=field) as refusal, scratch.transaction():
            record_raw(scratch, *events)
        assert refusal.value.sqlstate == "PA001"
        assert refusal.value.diag.message_primary is not None
        assert refusal.value.diag.message_primary.startswith("invalid audit event: ")
        assert queued(scratch) == []


@pytest.mark.parametrize(
    ("field", "event"),
    [
        ("id", valid(id="42")),
        ("id", valid(id="")),
        ("id", valid(id=f"{uuid4()}\n")),
        ("id", valid(id=42)),
        ("id", valid(id=[str(uuid4())])),
        ("id", valid(id={})),
        ("occurred_at", valid(occurred_at="2026-02-30T12:00:00.000000Z")),
        ("occurred_at", valid(occurred_at="2026-02-30T12:00:00+01:00")),
        ("occurred_at", valid(occurred_at="2025-02-29T12:00:00.000000Z")),
        ("occurred_at", valid(occurred_at="2026-13-01T12:00:00.000000Z")),
        ("occurred_at", valid(occurred_at="2026-00-01T12:00:00.000000Z")),
        ("occurred_at", valid(occurred_at="2026-01-00T12:00:00.000000Z")),
        ("occurred_at", valid(occurred_at="2026-01-31T12:60:00.000000Z")),
        ("occurred_at", valid(occurred_at="2026-01-31T12:60:00Z")),
        ("occurred_at", valid(occurred_at="0000-01-01T12:00:00Z")),
        ("occurred_at", valid(occurred_at="2026-01-31T12:00:00+99:00")),
    ],
)
def test_a_value_that_cannot_be_parsed_is_refused(scratch: Connection, field: str, event: Json) -> None:
    """A value that is no UUID or no date of the calendar raises PA001, as any invalid field does."""
    for events in ([event], [valid(), event]):
        with (
            pytest.raises(psycopg.Error, match=f"invalid audit event: {field} must be") as refusal,
            scratch.transaction(),
        ):
            record_raw(scratch, *events)
        assert refusal.value.sqlstate == "PA001"
        assert queued(scratch) == []


@pytest.mark.parametrize(
    ("state", "events"),
    [
        ("22004", None),
        ("22004", "[]"),
        ("22023", "{}"),
        ("22023", json.dumps(valid())),
        ("22023", "1"),
        ("22023", "null"),
    ],
)
def test_an_argument_other_than_an_array_of_events_is_refused(
    scratch: Connection, state: str, events: str | None
) -> None:
    """NULL, an empty array, and an event outside of an array are mistakes of the caller."""
    for function in ("record", "record_inline"):
        with pytest.raises(psycopg.Error) as refusal, scratch.transaction():
            scratch.execute(f"SELECT pgaudit.{function}(%s)", [events])
        assert refusal.value.sqlstate == state
