"""The door of the queue: what ``pgaudit.record`` refuses from any caller, and what it accepts at each limit."""

import asyncio
import calendar
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from pgaudit import AuditEvent, AuditLog, InvalidEvent, Settings
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.postgres.test_drivers import ASYNC, SYNC
from tests.postgres.trail import Connection, queued

RECORD = "SELECT pgaudit.record(%s)"
NARROW = 16_384
Json = dict[str, Any]


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[str]:
    """A migrated database for all tests of this module: none of them commits to it."""
    with fresh_database(server) as database:
        yield database.dsn


@pytest.fixture(scope="module")
def session(database: str) -> Iterator[Connection]:
    """One session, for the tests that begin and roll back a transaction of their own."""
    with psycopg.connect(database) as conn:
        yield conn
        conn.rollback()


@pytest.fixture
def door(session: Connection) -> Iterator[Connection]:
    """A transaction that is rolled back at the end."""
    session.rollback()
    yield session
    session.rollback()


def valid(**fields: Any) -> Json:
    """A valid event of the usual kind, with other fields."""
    return {
        "id": str(uuid4()),
        "action": "claim.approved",
        "outcome": "success",
        "occurred_at": "2026-01-31T12:00:00.000000Z",
        "actor": {"type": "user", "id": "42"},
        "targets": [{"type": "claim", "id": "7"}],
        **fields,
    }


def without(field: str) -> Json:
    """A valid event without that field."""
    event = valid()
    del event[field]
    return event


def record(conn: Connection, *events: object) -> None:
    """Records events as any SQL client can."""
    conn.execute(RECORD, [json.dumps(events)])


def nested(depth: int) -> Json:
    """A valid event whose deepest value is that many levels below the event."""
    value: object = "deepest"
    for _ in range(depth - 1):
        value = [value]
    return valid(data=value)


def reference(type: object = "user", id: object = "42") -> Json:  # noqa: A002
    """What an actor or a target is."""
    return {"type": type, "id": id}


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

# By field: events that the message names the field of.
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
def test_a_bad_field_is_refused(door: Connection, field: str, event: object) -> None:
    """The SQLSTATE is PA001, the message names the field, and the event beside it is not recorded either."""
    for events in ([event], [valid(), event, valid()]):
        with pytest.raises(psycopg.Error, match=field) as refusal, door.transaction():
            record(door, *events)
        assert refusal.value.sqlstate == "PA001"
        assert refusal.value.diag.message_primary is not None
        assert refusal.value.diag.message_primary.startswith("invalid audit event: ")
        assert queued(door) == []


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
def test_a_value_that_cannot_be_read_is_refused(door: Connection, field: str, event: Json) -> None:
    """No UUID, or no date of the calendar: the message names the field, as for all others; nothing is recorded."""
    for events in ([event], [valid(), event]):
        with pytest.raises(psycopg.Error, match=f"invalid audit event: {field} must be") as refusal, door.transaction():
            record(door, *events)
        assert refusal.value.sqlstate == "PA001"
        assert queued(door) == []


@pytest.mark.parametrize("year", [1, 1900, 2000, 2026, 2028, 2100, 9999])
def test_the_days_of_the_calendar_are_accepted_and_no_others(session: Connection, year: int) -> None:
    """Python's calendar and the two paths of the check agree about each day, and those that do not exist."""
    days = [(month, day) for month in range(14) for day in range(33)]
    exists = {(month, day) for month in range(1, 13) for day in range(1, calendar.monthrange(year, month)[1] + 1)}
    exists -= {(1, 1)} if year == 1 else {(12, 31)} if year == 9999 else set()  # too close to the end of time
    found = set()
    for month, day in days:
        document = json.dumps(valid(occurred_at=f"{year:04}-{month:02}-{day:02}T12:00:00.000000Z"))
        usual, problem = session.execute(COMPARE, [document]).fetchone() or (None, None)
        assert not (usual and problem), document
        if problem is None:
            found.add((month, day))
    assert found == exists


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
def test_what_is_no_array_of_events_is_refused(door: Connection, state: str, events: str | None) -> None:
    """No events are a mistake of the caller, and so is an event without its array."""
    for function in ("record", "record_inline"):
        with pytest.raises(psycopg.Error) as refusal, door.transaction():
            door.execute(f"SELECT pgaudit.{function}(%s)", [events])
        assert refusal.value.sqlstate == state


@pytest.mark.parametrize(
    "event",
    [
        valid(action=f"a.{'b' * 198}"),
        valid(action="a.b"),
        valid(action="claim_2.sub_claim.approved_2"),
        valid(outcome="failure"),
        valid(outcome="denied"),
        valid(actor=None),
        without("actor"),
        without("targets"),
        valid(targets=[]),
        valid(actor=reference("ä" * 100, "ß" * 500)),
        valid(actor=reference("x", "y")),
        valid(actor={**reference(), "display": {"name": "Zoë"}}),
        valid(targets=[reference("ä" * 100, "ß" * 500)]),
        valid(targets=[reference(id=str(number)) for number in range(200)]),
        valid(tenant=None),
        valid(tenant=""),
        valid(tenant="ä" * 500),
        nested(64),
        valid(data={"a": "_sd", "b": ["...", "_sd"], "_sd2": 1, "....": 1, 'a"_sd': 1}),
        valid(changes={"a": {"before": "_sd", "after": "..."}}),
        valid(context={"_sd": 1, "...": {"_sd": 2}}),
        valid(_sd=1, **{"...": 2}),
        valid(actor={**reference(), "_sd": 1}, targets=[{**reference(), "...": 1}]),
        *(
            valid(occurred_at=time)
            for time in (
                *("0001-01-02T00:00:00Z", "9999-12-30T23:59:59.999999Z", "2024-02-29T23:59:59Z"),
                *("2026-01-31T12:00:00.1Z", "2026-01-31T12:00:00.123456+05:45", "2026-01-31T12:00:00-15:59"),
                *("0001-01-02T00:01:00+00:01", "9999-12-30T23:58:59.999999-00:01", "1969-12-31T23:59:59.999999Z"),
            )
        ),
    ],
)
def test_an_event_at_a_limit_is_accepted(door: Connection, event: Json) -> None:
    """Alone and among others it is recorded as it was given; only the stamps are added."""
    record(door, event)
    record(door, valid(), event)
    first, _, third = (job["event"] for job in queued(door))
    stamps = {"recorded_at", "recorded_by", "xid"}
    for stored in (first, third):
        assert {key: value for key, value in stored.items() if key not in stamps} == event
        assert stamps < set(stored)


FILLER = {"small": {}, "large": {"filler": "x" * 8_000}}


@pytest.mark.parametrize("filler", FILLER)
@pytest.mark.parametrize("number", ["1e4000", "1e4001", "-1e4000", "1e-4001", "1e-16383", "1e131071", "9" * 4_001])
def test_a_number_of_more_than_4000_digits_is_refused(door: Connection, number: str, filler: str) -> None:
    """As it is printed, sign and point included, wherever it is in the event."""
    for place in ('{"data": {"a": [%s]}}', '{"extra": %s}', '{"context": {"a": {"b": %s}}}'):
        event = f"[{json.dumps(valid(**FILLER[filler]))[:-1]}, {(place % number)[1:]}]"
        with pytest.raises(psycopg.Error, match=r"4,000 digits|65,535|bytes") as refusal, door.transaction():
            door.execute(RECORD, [event])
        assert refusal.value.sqlstate == "PA001"
    assert queued(door) == []


@pytest.mark.parametrize("filler", FILLER)
@pytest.mark.parametrize("number", ["1e3999", "-1e3998", "1e-3998", "9" * 4_000])
def test_a_number_of_4000_digits_is_accepted(door: Connection, number: str, filler: str) -> None:
    """The limit is exact."""
    event = f'[{json.dumps(valid(**FILLER[filler]))[:-1]}, "extra": {number}}}]'
    door.execute(RECORD, [event])
    assert door.execute("SELECT length(event->>'extra') FROM pgaudit.audit_jobs").fetchone() == (4_000,)


def test_an_event_of_a_gigabyte_costs_no_memory(conn: Connection) -> None:
    """8,191 numbers that print as a gigabyte are refused before they are printed."""
    event = (
        "%s::jsonb || jsonb_build_object('data', (SELECT jsonb_agg('1e131071'::jsonb) FROM generate_series(1, 8191)))"
    )
    for events in (f"jsonb_build_array({event})", f"jsonb_build_array({event}, {event})"):
        parameters = [json.dumps(valid())] * events.count("%s")
        with pytest.raises(psycopg.Error, match="digits") as refusal, conn.transaction():
            conn.execute(f"SELECT pgaudit.record({events})", parameters)
        assert refusal.value.sqlstate == "PA001"
    status = Path(f"/proc/{conn.info.backend_pid}/status").read_text()
    (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    assert peak < 200 * 1_024, f"{peak:,} kB"


def test_size_is_limited_to_the_byte(door: Connection) -> None:
    """By the stored text: what compresses well, and what the JSON of the client does not show, counts in full."""
    door.execute("SET LOCAL search_path = pgaudit")
    check = "SELECT octet_length(check_event(%s))"
    for letter in ("x", "ä", "\\"):
        for limit in (49_152, NARROW, 65_535):
            door.execute("UPDATE settings SET max_event_bytes = %s", [limit])
            stamps = {"recorded_at": "2026-01-31T12:00:00Z", "recorded_by": "app", "xid": "7"}
            size = len(json.dumps(event := valid(**stamps, data=""), ensure_ascii=False).encode())
            width = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
            event["data"] = letter * ((limit - size) // width) + "y" * ((limit - size) % width)
            assert door.execute(check, [json.dumps(event)]).fetchone() == (limit,)
            event["data"] += "y"
            beyond = pytest.raises(psycopg.Error, match=f"{limit + 1} bytes, {limit} are allowed")
            with beyond as refusal, door.transaction():
                door.execute(check, [json.dumps(event)])
            assert refusal.value.sqlstate == "PA001"


@pytest.mark.parametrize("size", [49_153, 70_000, 1_000_000, 20_000_000])
def test_a_large_event_is_refused(door: Connection, size: int) -> None:
    """However well it compresses, and however far beyond the limit it is; nothing beside it is recorded."""
    for events in ([valid(data="x" * size)], [valid(), valid(data="x" * size)]):
        with pytest.raises(psycopg.Error, match="bytes") as refusal, door.transaction():
            record(door, *events)
        assert refusal.value.sqlstate == "PA001"
    assert queued(door) == []


def test_one_bad_event_among_many_takes_all_with_it(door: Connection) -> None:
    """Nothing of a refused call is recorded, wherever the bad event is."""
    for position in (0, 500, 999):
        events = [valid() for _ in range(1_000)]
        events[position]["outcome"] = "maybe"
        with pytest.raises(psycopg.Error, match="outcome"), door.transaction():
            record(door, *events)
    assert queued(door) == []
    record(door, *(valid() for _ in range(1_000)))
    assert len(queued(door)) == 1_000


SWALLOWERS = {
    "trigger": """
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER aa_swallow BEFORE INSERT ON pgaudit.audit_jobs FOR EACH ROW EXECUTE FUNCTION swallow();
    """,
    "trigger for some": """
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER aa_swallow BEFORE INSERT ON pgaudit.audit_jobs FOR EACH ROW
            WHEN (NEW.event->>'outcome' = 'denied') EXECUTE FUNCTION swallow();
    """,
    "rule": "CREATE RULE swallow AS ON INSERT TO pgaudit.audit_jobs DO INSTEAD NOTHING",
    "rule for some": """
        CREATE RULE swallow AS ON INSERT TO pgaudit.audit_jobs WHERE NEW.event->>'outcome' = 'denied' DO INSTEAD NOTHING
    """,
}


@pytest.mark.parametrize("swallower", SWALLOWERS)
def test_an_event_that_the_table_swallows_is_an_error(database: str, swallower: str) -> None:
    """A trigger or a rule that keeps a row out of the queue makes record raise: no event gets lost in silence."""
    # A session of its own: Postgres keeps the plan of a statement that a rule has taken away until the session ends.
    with psycopg.connect(database) as conn:
        conn.execute(SWALLOWERS[swallower])
        for events in ([valid(outcome="denied")], [valid(), valid(outcome="denied"), valid()]):
            with pytest.raises(psycopg.Error, match="trigger or rule") as refusal, conn.transaction():
                record(conn, *events)
            assert refusal.value.sqlstate == "27000"
        assert queued(conn) == []
        conn.rollback()


@pytest.mark.parametrize("count", [1, 3])
def test_the_server_replaces_the_callers_stamps(door: Connection, count: int) -> None:
    """Time, role and transaction are the server's word alone."""
    forged = {"recorded_at": "1999-01-01T00:00:00Z", "recorded_by": {"role": "boss"}, "xid": 1}
    record(door, *(valid(**forged) for _ in range(count)))
    truth = "SELECT session_user::text, pg_current_xact_id()::text, clock_timestamp()"
    user, xid, clock = door.execute(truth).fetchone() or ("", "", datetime.max.replace(tzinfo=UTC))
    stored = [job["event"] for job in queued(door)]
    assert len(stored) == count
    for event in stored:
        assert (event["recorded_by"], event["xid"]) == (user, xid)
        assert event["recorded_at"].endswith("Z")
        assert clock - timedelta(minutes=1) <= datetime.fromisoformat(event["recorded_at"]) <= clock


@pytest.mark.parametrize("count", [1, 3])
def test_recorded_by_is_the_role_that_logged_in(door: Connection, count: int) -> None:
    """A role that the session has taken on with SET ROLE, or the owner of the function, is not who recorded."""
    door.execute("CREATE ROLE door_login; CREATE ROLE door_taken_on; GRANT door_taken_on TO door_login")
    door.execute("GRANT USAGE ON SCHEMA pgaudit TO door_taken_on")
    door.execute("GRANT EXECUTE ON FUNCTION pgaudit.record(jsonb) TO door_taken_on")
    door.execute("SET LOCAL SESSION AUTHORIZATION door_login")
    door.execute("SET LOCAL ROLE door_taken_on")
    record(door, *(valid() for _ in range(count)))
    door.execute("RESET SESSION AUTHORIZATION")
    assert [job["event"]["recorded_by"] for job in queued(door)] == ["door_login"] * count


def test_recorded_by_is_no_owner_of_a_function(door: Connection) -> None:
    """A function of the application that runs with the rights of its owner records in the name of its caller."""
    door.execute("CREATE ROLE door_login; CREATE ROLE door_owner; GRANT USAGE ON SCHEMA pgaudit TO door_owner")
    door.execute("GRANT EXECUTE ON FUNCTION pgaudit.record(jsonb) TO door_owner")
    door.execute("""
        CREATE FUNCTION approve(events jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER
            AS 'SELECT pgaudit.record(events)';
        CREATE FUNCTION approve_all(events jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER
            AS 'SELECT approve(events)';
        ALTER FUNCTION approve OWNER TO door_owner;
    """)
    door.execute("SET LOCAL SESSION AUTHORIZATION door_login")
    for function in ("approve", "approve_all"):
        door.execute(f"SELECT {function}(%s)", [json.dumps([valid()])])
    with pytest.raises(psycopg.errors.InsufficientPrivilege), door.transaction():
        record(door, valid())
    door.execute("RESET SESSION AUTHORIZATION")
    assert [job["event"]["recorded_by"] for job in queued(door)] == ["door_login"] * 2


# InvalidEvent in Python, where the limit of the database is narrower than the one checked there.


def too_large() -> AuditEvent:
    """An event that Python's limit lets pass, and the database's does not."""
    return AuditEvent(action="claim.approved", data={"text": "x" * 20_000})


@pytest.fixture
def narrow(dsn: str, conn: Connection) -> str:
    """A database whose limit is narrower than Python's."""
    conn.execute("UPDATE pgaudit.settings SET max_event_bytes = %s", [NARROW])
    conn.commit()
    return dsn


@pytest.fixture(params=["raise", "spool"])
def audit(request: pytest.FixtureRequest, narrow: str, tmp_path: Path) -> AuditLog:
    """The library with either answer to a failure."""
    return AuditLog(Settings(dsn=narrow, on_failure=request.param, spool_dir=tmp_path / "spool"))


def assert_nothing_kept(audit: AuditLog) -> None:
    """Fails if an event is in the queue or in the spool."""
    with psycopg.connect(audit.settings.dsn) as conn:
        assert queued(conn) == []
    assert [path for path in audit.settings.require_spool_dir().glob("**/*") if path.is_file()] == []


LIBRARIES: dict[str, Callable[[str], Any]] = {"psycopg": psycopg.connect, **SYNC}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_refusal_of_the_database_is_an_invalid_event(narrow: str, audit: AuditLog, library: str) -> None:
    """The exception is the one of a refusal in Python, whatever the library; nothing is recorded or spooled."""
    with pytest.raises(InvalidEvent, match=f"{NARROW} are allowed"), LIBRARIES[library](narrow) as conn:
        audit.record(conn, AuditEvent(action="claim.approved"), too_large())
    assert_nothing_kept(audit)


async def record_async(library: str, audit: AuditLog) -> None:
    """Records an event that the database refuses, with that library."""
    if library == "psycopg":
        async with await psycopg.AsyncConnection.connect(audit.settings.dsn) as conn:
            await audit.record_async(conn, AuditEvent(action="claim.approved"), too_large())
    else:
        async with ASYNC[library](audit.settings.dsn) as conn:
            await audit.record_async(conn, AuditEvent(action="claim.approved"), too_large())


@pytest.mark.parametrize("library", ["psycopg", *ASYNC])
def test_an_async_refusal_of_the_database_is_an_invalid_event(audit: AuditLog, library: str) -> None:
    """The same with the asynchronous libraries."""
    with pytest.raises(InvalidEvent, match=f"{NARROW} are allowed"):
        asyncio.run(record_async(library, audit))
    assert_nothing_kept(audit)


def test_an_autonomous_refusal_of_the_database_is_an_invalid_event(audit: AuditLog) -> None:
    """The same for events in a transaction of their own."""
    with pytest.raises(InvalidEvent, match=f"{NARROW} are allowed"):
        audit.record_autonomous(too_large())
    with pytest.raises(InvalidEvent, match=f"{NARROW} are allowed"):
        asyncio.run(audit.record_autonomous_async(too_large()))
    assert_nothing_kept(audit)


def test_a_refused_event_leaves_the_transaction_usable_when_spooling(narrow: str, tmp_path: Path) -> None:
    """With on_failure=spool the caller may catch the error and commit its change."""
    audit = AuditLog(Settings(dsn=narrow, on_failure="spool", spool_dir=tmp_path))
    with psycopg.connect(narrow) as conn:
        with pytest.raises(InvalidEvent):
            audit.record(conn, too_large())
        audit.record(conn, AuditEvent(action="claim.kept"))
    with psycopg.connect(narrow) as conn:
        assert [job["event"]["action"] for job in queued(conn)] == ["claim.kept"]


# The fast path accepts nothing that the full check would refuse.

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    st.sampled_from(["", "_sd", "...", "claim.approved", "success", "now", "x" * 99, "x" * 101, "ä" * 250, "\n"]),
    st.integers(90, 520).map("y".__mul__),
)
KEYS = st.sampled_from(["a", "type", "id", "_sd", "...", "tenant", "data", "targets", "actor", "action", '"_sd"', "x"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
DIGITS = st.integers(0, 99).map("{:02}".format)
TIMES = st.one_of(
    st.builds(
        "{}{}-{}-{}{}{}:{}:{}{}{}".format,
        st.sampled_from(["20", "19", "00", "99", "2", "200", "-20", "1", ""]),
        DIGITS,
        st.integers(0, 13).map("{:02}".format),
        st.integers(0, 32).map("{:02}".format),
        st.sampled_from(["T", "T", "T", "t", " ", ""]),
        st.integers(0, 25).map("{:02}".format),
        st.integers(0, 61).map("{:02}".format),
        st.integers(0, 61).map("{:02}".format),
        st.sampled_from([".000000", ".123456", ".12345", ".1234567", "", ".", ".1"]),
        st.sampled_from(["Z", "Z", "Z", "", "+00:00", "+01:00", "-99:00", "+00", "z", " BC", "Z\n"]),
    ),
    st.sampled_from(["2026-02-30T12:00:00.000000Z", "2026-01-31T12:00:00.000000Z", "2026-01-31T24:00:00.000000Z"]),
)
ACTIONS = st.from_regex(r"\A[a-z]{1,3}[._A-Z0-9]?([.][a-z][a-z0-9_]{0,120}){0,2}\n?\Z")
IDS = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda value: str(value).upper()),
    st.uuids().map(lambda value: value.hex),
    st.uuids().map("{{{}}}".format),
    SCALARS,
)
REFERENCES = st.one_of(
    st.builds(reference, type=SCALARS),
    st.builds(reference, id=SCALARS),
    st.dictionaries(KEYS, SCALARS, max_size=3),
    VALUES,
)
DEEP = st.integers(55, 70).map(lambda depth: nested(depth)["data"])
MUTATIONS = st.one_of(
    st.fixed_dictionaries({"id": IDS}),
    st.fixed_dictionaries({"action": st.one_of(ACTIONS, VALUES)}),
    st.fixed_dictionaries({"outcome": st.one_of(st.sampled_from(["success", "failure", "denied", "Success"]), VALUES)}),
    st.fixed_dictionaries({"occurred_at": st.one_of(TIMES, TIMES, VALUES)}),
    st.fixed_dictionaries({"actor": REFERENCES}),
    st.fixed_dictionaries({"targets": st.one_of(st.lists(REFERENCES, max_size=2), VALUES)}),
    st.fixed_dictionaries({"tenant": VALUES}),
    st.fixed_dictionaries({"data": st.one_of(VALUES, DEEP)}),
    st.fixed_dictionaries({"changes": st.one_of(VALUES, DEEP)}),
    st.dictionaries(KEYS, st.one_of(VALUES, DEEP), max_size=1),
)
FIELDS = st.sampled_from(["id", "action", "outcome", "occurred_at", "actor", "targets"])
COMPARE = """
    SELECT pgaudit.is_usual(event, event::text), pgaudit.event_problem(event, event::text)
      FROM (SELECT %s::jsonb || '{"recorded_at": "2026-01-31T12:00:00Z", "recorded_by": "app", "xid": "7"}'
            OFFSET 0) given (event)
"""


@example_settings(deadline=None, max_examples=1_000)
@given(mutations=st.lists(MUTATIONS, min_size=1, max_size=2), dropped=st.lists(FIELDS, max_size=1), drop=st.booleans())
def test_the_fast_path_accepts_nothing_that_is_refused(
    session: Connection, mutations: list[Json], dropped: list[str], drop: bool
) -> None:
    """What is_usual accepts, event_problem has no sentence for; neither raises, whatever the event is."""
    event = valid()
    for mutation in mutations:
        event.update(mutation)
    for field in dropped if drop else []:
        event.pop(field, None)
    document = json.dumps(event)
    usual, problem = session.execute(COMPARE, [document]).fetchone() or (None, None)
    assert problem is None or not usual, document


def test_the_fast_path_takes_the_usual_event(door: Connection) -> None:
    """An event as the library makes it takes the fast path: the comparison above compares something."""
    event = AuditEvent(action="claim.approved", actor="user:42", target="claim:7", tenant="acme", data={"sum": 7})
    assert door.execute(COMPARE, [event.to_json()]).fetchone() == (True, None)
    assert door.execute(COMPARE, [json.dumps(valid())]).fetchone() == (True, None)
