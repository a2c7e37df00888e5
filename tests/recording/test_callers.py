"""What record accepts from its callers and refuses, whatever their connections are set to."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row, namedtuple_row
from sqlalchemy import create_engine

from pgaudit import AuditLog, InvalidEvent, Mode, NotInTransaction, Settings, UnknownConnection
from tests.support.events import event
from tests.support.jobs import queued_ids
from tests.support.queries import Connection


@pytest.fixture
def audit(settings: Settings) -> AuditLog:
    """The library as an application uses it."""
    return AuditLog(settings)


def test_a_cursor_stands_for_its_connection(conn: Connection, audit: AuditLog) -> None:
    """Cursors and server-side cursors are accepted; rows that a cursor has still to fetch are not lost."""
    cursor = conn.execute("SELECT 42")
    made = [event(number) for number in range(3)]
    audit.record(conn, made[0])
    audit.record(cursor, made[1])
    with conn.cursor("named") as named:
        audit.record(named, made[2])
    assert cursor.fetchone() == (42,)
    assert queued_ids(conn) == [each.id for each in made]


async def test_an_async_cursor_stands_for_its_connection(dsn: str, conn: Connection, audit: AuditLog) -> None:
    """Asynchronous cursors and server-side cursors are accepted."""
    made = [event(number) for number in range(3)]
    async with await psycopg.AsyncConnection.connect(dsn) as caller:
        cursor = await caller.execute("SELECT 42")
        await audit.record_async(caller, made[0])
        await audit.record_async(cursor, made[1])
        async with caller.cursor("named") as named:
            await audit.record_async(named, made[2])
        assert await cursor.fetchone() == (42,)
    assert queued_ids(conn) == [each.id for each in made]


async def test_an_async_rollback_leaves_no_event(dsn: str, conn: Connection, audit: AuditLog) -> None:
    """A rollback takes back the events of an asynchronous transaction, and one to a savepoint those after it."""
    async with await psycopg.AsyncConnection.connect(dsn) as caller:
        await audit.record_async(caller, kept := event())
        async with caller.transaction():
            await audit.record_async(caller, event())
            raise psycopg.Rollback
        await caller.commit()
        await audit.record_async(caller, event())
        await caller.rollback()
    assert queued_ids(conn) == [kept.id]


def test_autocommit_is_refused_outside_a_transaction(dsn: str, audit: AuditLog) -> None:
    """In autocommit record() needs a transaction, because it would commit the event without the change."""
    with psycopg.connect(dsn, autocommit=True) as caller:
        for conn in (caller, caller.cursor()):
            with pytest.raises(NotInTransaction, match=r"conn\.transaction\(\).*record_autonomous"):
                audit.record(conn, event())
        with caller.transaction():
            audit.record(caller, first := event())
        caller.execute("BEGIN")
        audit.record(caller, second := event())
        caller.execute("COMMIT")
        assert queued_ids(caller) == [first.id, second.id]


async def test_async_autocommit_is_refused_outside_a_transaction(dsn: str, conn: Connection, audit: AuditLog) -> None:
    """In autocommit record_async() needs a transaction."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as caller:
        with pytest.raises(NotInTransaction):
            await audit.record_async(caller, event())
        async with caller.transaction():
            await audit.record_async(caller, made := event())
    assert queued_ids(conn) == [made.id]


@pytest.mark.parametrize("foreign", [None, "dbname=test", object(), 42])
async def test_an_object_that_is_no_connection_is_refused(audit: AuditLog, foreign: object) -> None:
    """The message says what was given, and what is accepted."""
    expected = f"{type(foreign).__name__} is not a connection.*psycopg Connection, AsyncConnection"
    with pytest.raises(UnknownConnection, match=expected):
        audit.record(foreign, event())
    with pytest.raises(UnknownConnection, match=expected):
        await audit.record_async(foreign, event())
    with pytest.raises(TypeError):
        audit.record(foreign, event())


def test_an_engine_and_a_connection_to_another_database_are_refused(audit: AuditLog) -> None:
    """Neither a SQLAlchemy engine nor a connection to SQLite is accepted."""
    engine = create_engine("sqlite://")
    with pytest.raises(UnknownConnection, match=r"Engine is not a connection.*psycopg Connection, AsyncConnection"):
        audit.record(engine, event())
    with engine.connect() as elsewhere, pytest.raises(UnknownConnection, match="not a connection to Postgres"):
        audit.record(elsewhere, event())
    engine.dispose()


def test_synchronous_sqlalchemy_needs_no_greenlet(dsn: str, conn: Connection) -> None:
    """Recording works without greenlet, which plain SQLAlchemy does not install."""
    program = f"""
        import sys
        sys.modules["greenlet"] = None
        import psycopg
        from sqlalchemy import create_engine
        from pgaudit import AuditEvent, AuditLog
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect({dsn!r}))
        with engine.begin() as conn:
            AuditLog().record(conn, AuditEvent(action="claim.approved"))
    """
    subprocess.run([sys.executable, "-c", dedent(program)], check=True, timeout=60)
    assert len(queued_ids(conn)) == 1


async def test_a_refused_connection_names_the_method_to_use(dsn: str, conn: Connection, audit: AuditLog) -> None:
    """record() refuses an asynchronous connection and record_async() a synchronous one, each with the other's name."""
    async with await psycopg.AsyncConnection.connect(dsn) as caller:
        for given in (caller, caller.cursor()):
            with pytest.raises(UnknownConnection, match=r"asynchronous: await audit\.record_async"):
                audit.record(given, event())
    for twin in (conn, conn.cursor()):
        with pytest.raises(UnknownConnection, match=r"synchronous: audit\.record\("):
            await audit.record_async(twin, event())


def test_the_callers_search_path_does_not_matter(conn: Connection, audit: AuditLog) -> None:
    """The search_path may be empty, or lead to other tables of the same names."""
    conn.execute("CREATE SCHEMA decoy CREATE TABLE audit_jobs (event jsonb, leaf_hash bytea, event_bytes integer)")
    made = []
    for path in ("''", "decoy", "decoy, pgaudit, pg_catalog", "pg_temp"):
        conn.execute(f"SET LOCAL search_path = {path}")
        audit.record(conn, each := event())
        made.append(each.id)
    assert queued_ids(conn) == made
    assert conn.execute("SELECT count(*) FROM decoy.audit_jobs").fetchone() == (0,)


@pytest.mark.parametrize("row_factory", [dict_row, namedtuple_row, lambda _cursor: broken])
@pytest.mark.parametrize("cursor_factory", [psycopg.Cursor, psycopg.ClientCursor, psycopg.RawCursor])
def test_the_callers_factories_do_not_matter(
    dsn: str, conn: Connection, tmp_path: Path, row_factory: Any, cursor_factory: Any
) -> None:
    """Row and cursor factories of the connection are not used, with on_failure=spool neither."""
    audit = AuditLog(Settings(dsn=dsn, on_failure="spool", spool_dir=tmp_path))
    with psycopg.connect(dsn, row_factory=row_factory, cursor_factory=cursor_factory) as caller:
        audit.record(caller, made := event())
        AuditLog(Settings(dsn=dsn)).record(caller, again := event())
    assert queued_ids(conn) == [made.id, again.id]


def broken(_values: object) -> object:
    """Fails: a row factory that must not be called."""
    raise AssertionError("the caller's row factory was used")


@pytest.mark.parametrize("encoding", ["LATIN1", "UTF8", "SQL_ASCII"])
def test_the_callers_encoding_does_not_matter(dsn: str, conn: Connection, encoding: str) -> None:
    """A connection with another client encoding records any text."""
    with psycopg.connect(dsn, client_encoding=encoding) as caller:
        made = event().model_copy(update={"reason": "Zürich 保险 🧾"})
        AuditLog(Settings(dsn=dsn)).record(caller, made)
    row = conn.execute("SELECT event->>'reason' FROM pgaudit.audit_jobs").fetchone()
    assert row == ("Zürich 保险 🧾",)


@pytest.mark.parametrize(
    "setting", ["standard_conforming_strings = off", "datestyle = 'SQL, DMY'", "timezone = 'Asia/Tokyo'"]
)
def test_the_callers_session_settings_do_not_matter(dsn: str, conn: Connection, setting: str) -> None:
    """Settings of the session do not change the event."""
    with psycopg.connect(dsn, cursor_factory=psycopg.ClientCursor) as caller:
        caller.execute(f"SET {setting}")
        made = event().model_copy(update={"reason": r"a\b'c\\"})
        AuditLog(Settings(dsn=dsn)).record(caller, made)
    stored = conn.execute("SELECT event FROM pgaudit.audit_jobs").fetchone()
    assert stored is not None
    assert type(made).from_log(stored[0]) == made


async def test_autonomous_events_survive_the_callers_rollback(conn: Connection, audit: AuditLog) -> None:
    """record_autonomous and its asynchronous twin commit in a transaction of their own."""
    conn.execute("CREATE TABLE claims ()")
    audit.record_autonomous(first := event(1))
    await audit.record_autonomous_async(second := event(2), third := event(3))
    audit.record_autonomous()
    conn.rollback()
    assert queued_ids(conn) == [first.id, second.id, third.id]


@pytest.mark.parametrize("mode", Mode)
async def test_an_event_in_the_place_of_the_connection_is_refused(dsn: str, mode: Mode) -> None:
    """A call without the connection raises in every mode, because its event would be recorded nowhere."""
    audit = AuditLog(Settings(dsn=dsn, mode=mode))
    for forgotten in (event(), [event(), event()], (event(),)):
        with pytest.raises(UnknownConnection, match=r"pass the connection first: record\(conn, event\)"):
            audit.record(forgotten)
        with pytest.raises(UnknownConnection, match=r"pass the connection first: await record_async\(conn, event\)"):
            await audit.record_async(forgotten)


def test_swapped_arguments_are_refused(conn: Connection, audit: AuditLog) -> None:
    """The message says that the connection comes first."""
    swapped: list[Any] = [event(), conn]
    with pytest.raises(UnknownConnection, match="AuditEvent is not a connection; pass the connection first"):
        audit.record(*swapped)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("given", [[event()], (event(),), {"action": "claim.approved"}, "claim.approved", None, 42])
async def test_an_argument_other_than_an_event_is_refused(dsn: str, conn: Connection, given: Any, mode: Mode) -> None:
    """The message says which argument it is and how to pass events; no event of the call is recorded."""
    audit = AuditLog(Settings(dsn=dsn, mode=mode))
    says = rf"event 2 is a {type(given).__name__}, not an AuditEvent; pass events one by one: record\(conn, \*events\)"
    with pytest.raises(InvalidEvent, match=says):
        audit.record(conn, event(), given)
    with pytest.raises(InvalidEvent, match=says):
        await audit.record_async(conn, event(), given)
    with pytest.raises(InvalidEvent, match="not an AuditEvent"):
        audit.record_autonomous(event(), given)
    with pytest.raises(InvalidEvent, match="not an AuditEvent"):
        await audit.record_autonomous_async(event(), given)
    assert queued_ids(conn) == []
