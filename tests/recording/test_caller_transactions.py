"""Whatever the library, and however the transaction ends: what is recorded is what was committed."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.recording import replay
from tests.support.transactions import (
    ASYNC,
    SYNC,
    async_execute,
    async_savepoint,
    execute,
    savepoint,
)

pytestmark = pytest.mark.anyio
RECORDED = """
    SELECT event->>'action' FROM pgaudit.audit_jobs UNION ALL SELECT action FROM pgaudit.audit_log ORDER BY 1
"""
CHANGE = "INSERT INTO change VALUES ('{}')"


class TakenBack(Exception):
    """Rolls back the block that it is raised in."""


@pytest.fixture(params=["queue", "inline"])
def mode(request: pytest.FixtureRequest) -> str:
    """The mode of recording."""
    return str(request.param)


@pytest.fixture(params=["raise", "spool"])
def audit(request: pytest.FixtureRequest, dsn: str, tmp_path: Path, mode: str) -> AuditLog:
    """An audit log for each setting of ON_FAILURE, and a table whose rows say what was committed."""
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE change (name text)")
    return AuditLog(Settings(dsn=dsn, mode=mode, on_failure=request.param, spool_dir=tmp_path / "spool"))


@pytest.mark.parametrize("first", [True, False], ids=["record first", "change first"])
@pytest.mark.parametrize("library", SYNC)
def test_what_was_committed_is_recorded(dsn: str, audit: AuditLog, library: str, first: bool) -> None:
    """Events share the end of the transaction, or of the savepoint, that they are recorded in."""
    open_transaction = SYNC[library]

    def change_and_record(conn: Any, name: str) -> None:
        if not first:
            execute(conn, CHANGE.format(name))
        audit.record(conn, AuditEvent(action=name))
        if first:
            execute(conn, CHANGE.format(name))

    with open_transaction(dsn) as conn:
        change_and_record(conn, "claim.committed")
        with pytest.raises(TakenBack), savepoint(conn):
            change_and_record(conn, "claim.taken_back")
            raise TakenBack
        with savepoint(conn):
            change_and_record(conn, "claim.in_a_savepoint")
    with pytest.raises(TakenBack), open_transaction(dsn) as conn:
        change_and_record(conn, "claim.rolled_back")
        raise TakenBack
    with pytest.raises(Exception, match="division by zero"), open_transaction(dsn) as conn:
        change_and_record(conn, "claim.failed")
        execute(conn, "SELECT 1 / 0")
    assert recorded(dsn) == changes(dsn) == ["claim.committed", "claim.in_a_savepoint"]


@pytest.mark.parametrize("first", [True, False], ids=["record first", "change first"])
@pytest.mark.parametrize("library", ASYNC)
async def test_what_was_committed_is_recorded_by_async_libraries(
    dsn: str,
    audit: AuditLog,
    library: str,
    first: bool,
) -> None:
    """Events share the end of the transaction, or of the savepoint, that they are recorded in."""
    open_transaction = ASYNC[library]

    async def change_and_record(conn: Any, name: str) -> None:
        if not first:
            await async_execute(conn, CHANGE.format(name))
        await audit.record_async(conn, AuditEvent(action=name))
        if first:
            await async_execute(conn, CHANGE.format(name))

    async with open_transaction(dsn) as conn:
        await change_and_record(conn, "claim.committed")
        with pytest.raises(TakenBack):
            async with async_savepoint(conn):
                await change_and_record(conn, "claim.taken_back")
                raise TakenBack
        async with async_savepoint(conn):
            await change_and_record(conn, "claim.in_a_savepoint")
    with pytest.raises(TakenBack):
        async with open_transaction(dsn) as conn:
            await change_and_record(conn, "claim.rolled_back")
            raise TakenBack
    with pytest.raises(Exception, match="division by zero"):
        async with open_transaction(dsn) as conn:
            await change_and_record(conn, "claim.failed")
            await async_execute(conn, "SELECT 1 / 0")
    assert recorded(dsn) == changes(dsn) == ["claim.committed", "claim.in_a_savepoint"]


FAULTS = {
    "record is missing": "ALTER FUNCTION pgaudit.record(jsonb) RENAME TO broken",
    "try_record is missing": "ALTER FUNCTION pgaudit.try_record RENAME TO broken",
    "schema is missing": "ALTER SCHEMA pgaudit RENAME TO broken",
    "table is missing": "ALTER TABLE pgaudit.audit_jobs RENAME TO broken",
    "insert fails": "ALTER TABLE pgaudit.audit_jobs ADD CONSTRAINT broken CHECK (false) NOT VALID",
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> str:
    """A statement after which recording fails."""
    return FAULTS[request.param]


@pytest.fixture
def spooling(dsn: str, tmp_path: Path) -> AuditLog:
    """An audit log that spools, and a table whose rows say what was committed."""
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE change (name text)")
    return AuditLog(Settings(dsn=dsn, on_failure="spool", spool_dir=tmp_path / "spool"))


@pytest.mark.parametrize("library", SYNC)
def test_a_change_goes_on_without_its_event(dsn: str, spooling: AuditLog, library: str, fault: str) -> None:
    """The transaction stays usable whatever is wrong; the event is in the spool and knows its transaction."""
    with psycopg.connect(dsn) as owner:
        owner.execute(fault)
    with SYNC[library](dsn) as conn:
        spooling.record(conn, AuditEvent(action="claim.first"))
        execute(conn, CHANGE.format("claim.first"))
        spooling.record(conn, AuditEvent(action="claim.second"))
        execute(conn, CHANGE.format("claim.second"))
    assert changes(dsn) == spooled(spooling) == ["claim.first", "claim.second"]


@pytest.mark.parametrize("library", ASYNC)
async def test_an_async_change_goes_on_without_its_event(
    dsn: str, spooling: AuditLog, library: str, fault: str
) -> None:
    """The transaction stays usable whatever is wrong; the event is in the spool and knows its transaction."""
    with psycopg.connect(dsn) as owner:
        owner.execute(fault)
    async with ASYNC[library](dsn) as conn:
        await spooling.record_async(conn, AuditEvent(action="claim.first"))
        await async_execute(conn, CHANGE.format("claim.first"))
        await spooling.record_async(conn, AuditEvent(action="claim.second"))
        await async_execute(conn, CHANGE.format("claim.second"))
    assert changes(dsn) == spooled(spooling) == ["claim.first", "claim.second"]


@pytest.mark.parametrize("kept", [True, False], ids=["committed", "rolled back"])
def test_a_spooled_event_is_replayed_as_its_transaction_ended(dsn: str, spooling: AuditLog, kept: bool) -> None:
    """The replay asks the server what became of the transaction."""
    with psycopg.connect(dsn, autocommit=True) as owner, psycopg.connect(dsn) as conn:
        owner.execute("ALTER FUNCTION pgaudit.record(jsonb) RENAME TO broken")
        spooling.record(conn, AuditEvent(action="claim.approved"))
        conn.commit() if kept else conn.rollback()
        owner.execute("ALTER FUNCTION pgaudit.broken(jsonb) RENAME TO record")
    replay.replay_all(dsn, spooling.settings)
    assert recorded(dsn) == ["claim.approved"] * kept


def recorded(dsn: str) -> list[str]:
    """Returns the actions in the queue and in the log."""
    return column(dsn, RECORDED)


def changes(dsn: str) -> list[str]:
    """Returns the names of the changes that were committed."""
    return column(dsn, "SELECT name FROM change ORDER BY name")


def column(dsn: str, query: str) -> list[str]:
    """Returns the one column of a query."""
    with psycopg.connect(dsn) as conn:
        return [str(value) for (value,) in conn.execute(query.encode())]


def spooled(audit: AuditLog) -> list[str]:
    """Returns the actions in the spool; each line knows its transaction."""
    (path,) = audit.settings.require_spool_dir().iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(line["xid"] and line["cluster"] and line["timeline"] for line in lines)
    return [line["event"]["action"] for line in lines]
