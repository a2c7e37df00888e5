"""Recording in the transaction of each driver and framework: committed, rolled back, and with savepoints."""

import asyncio
from typing import Any

import asyncpg
import psycopg
import pytest
from django.db import transaction as django_transaction
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker

from pgaudit import AuditEvent, AuditLog, NotInTransaction, Settings, UnknownConnection
from pgaudit.testing.database import url_of
from tests.support.drivers import ASYNC, SYNC, RollBack, django_connection
from tests.support.spool import break_record, spooled_lines

pytestmark = pytest.mark.anyio
QUEUED = "SELECT event->>'action' FROM pgaudit.audit_jobs ORDER BY id"
TEXT = "Zoë “quoted” \\ 50 % :name $1"


def queued(dsn: str) -> list[str]:
    """Returns the actions in the queue."""
    with psycopg.connect(dsn) as conn:
        return [action for (action,) in conn.execute(QUEUED)]


def event(action: str) -> AuditEvent:
    """Returns an event whose text has everything that a driver could take for a placeholder."""
    return AuditEvent(action=action, data={"text": TEXT})


@pytest.mark.parametrize("library", SYNC)
def test_an_event_commits_and_rolls_back_with_its_transaction(dsn: str, settings: Settings, library: str) -> None:
    """An event is committed or rolled back with its transaction, or with a savepoint of it."""
    audit = AuditLog(settings)
    with SYNC[library](dsn) as conn:
        audit.record(conn, event("claim.first"), event("claim.second"))
        savepoint = django_transaction.atomic() if library == "django" else conn.begin_nested()
        with pytest.raises(RollBack), savepoint:
            audit.record(conn, event("claim.never"))
            raise RollBack
    with pytest.raises(RollBack), SYNC[library](dsn) as conn:
        audit.record(conn, event("claim.never"))
        raise RollBack
    assert queued(dsn) == ["claim.first", "claim.second"]
    assert stored_text(dsn) == TEXT


@pytest.mark.parametrize("library", SYNC)
def test_an_event_that_cannot_be_recorded_is_spooled(dsn: str, settings: Settings, library: str, tmp_path: Any) -> None:
    """Spooling uses a savepoint of the library, and the transaction goes on."""
    with psycopg.connect(dsn) as owner:
        break_record(owner)
    audit = AuditLog(settings.model_copy(update={"on_failure": "spool", "spool_dir": tmp_path}))
    with SYNC[library](dsn) as conn:
        audit.record(conn, event("claim.spooled"))
        audit.record(conn, event("claim.spooled"))
    lines = spooled_lines(tmp_path)
    assert [line["event"]["action"] for line in lines] == ["claim.spooled"] * 2
    assert all(line["xid"] for line in lines)


@pytest.mark.parametrize("library", ASYNC)
async def test_an_async_event_commits_and_rolls_back_with_its_transaction(
    dsn: str, settings: Settings, library: str
) -> None:
    """An event is committed or rolled back with its transaction, or with a savepoint of it."""
    audit = AuditLog(settings)
    async with ASYNC[library](dsn) as conn:
        await audit.record_async(conn, event("claim.first"), event("claim.second"))
        with pytest.raises(RollBack):
            async with conn.transaction() if library == "asyncpg" else conn.begin_nested():
                await audit.record_async(conn, event("claim.never"))
                raise RollBack
    with pytest.raises(RollBack):
        async with ASYNC[library](dsn) as conn:
            await audit.record_async(conn, event("claim.never"))
            raise RollBack
    assert queued(dsn) == ["claim.first", "claim.second"]
    assert stored_text(dsn) == TEXT


@pytest.mark.parametrize("library", ASYNC)
async def test_an_async_event_that_cannot_be_recorded_is_spooled(
    dsn: str, settings: Settings, library: str, tmp_path: Any
) -> None:
    """Spooling uses a savepoint of the library, and the transaction goes on."""
    with psycopg.connect(dsn) as owner:
        break_record(owner)
    audit = AuditLog(settings.model_copy(update={"on_failure": "spool", "spool_dir": tmp_path}))
    async with ASYNC[library](dsn) as conn:
        await audit.record_async(conn, event("claim.spooled"))
        await audit.record_async(conn, event("claim.spooled"))
    lines = spooled_lines(tmp_path)
    assert [line["event"]["action"] for line in lines] == ["claim.spooled"] * 2
    assert all(line["xid"] for line in lines)


async def test_a_pooled_asyncpg_connection_is_accepted(dsn: str, settings: Settings) -> None:
    """The proxy that asyncpg's pool lends is accepted."""
    server = url_of(dsn)
    async with asyncpg.create_pool(server, min_size=1) as pool, pool.acquire() as conn, conn.transaction():
        await AuditLog(settings).record_async(conn, event("claim.pooled"))
    assert queued(dsn) == ["claim.pooled"]


def test_a_scoped_session_is_accepted(dsn: str, settings: Settings) -> None:
    """The registry of sessions that Flask applications use is accepted."""
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    registry = scoped_session(sessionmaker(engine))
    AuditLog(settings).record(registry, event("claim.scoped"))
    registry.commit()
    registry.remove()
    engine.dispose()
    assert queued(dsn) == ["claim.scoped"]


def test_autocommit_is_refused(dsn: str, settings: Settings) -> None:
    """In autocommit each library's connection is refused, with the way to begin a transaction."""
    audit, engine = AuditLog(settings), create_engine(url_of(dsn, "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as conn, pytest.raises(NotInTransaction, match=r"engine\.begin"):
        audit.record(conn, event("claim.alone"))
    engine.dispose()
    django_conn = django_connection(dsn)
    with pytest.raises(NotInTransaction, match=r"transaction\.atomic"):
        audit.record(django_conn, event("claim.alone"))
    django_conn.close()
    asyncio.run(refuse_async_autocommit(dsn, audit))
    assert queued(dsn) == []


async def refuse_async_autocommit(dsn: str, audit: AuditLog) -> None:
    """Fails unless each asynchronous connection in autocommit is refused."""
    for driver in ("psycopg", "asyncpg"):
        engine = create_async_engine(url_of(dsn, f"postgresql+{driver}"), isolation_level="AUTOCOMMIT")
        async with engine.connect() as conn:
            with pytest.raises(NotInTransaction):
                await audit.record_async(conn, event("claim.alone"))
        await engine.dispose()
    conn = await asyncpg.connect(url_of(dsn))
    with pytest.raises(NotInTransaction, match=r"conn\.transaction"):
        await audit.record_async(conn, event("claim.alone"))
    await conn.close()


async def test_an_async_connection_is_refused_by_record(dsn: str, settings: Settings) -> None:
    """The error names the method to use."""
    audit, engine = AuditLog(settings), create_async_engine(url_of(dsn, "postgresql+asyncpg"))
    async with engine.connect() as conn:
        with pytest.raises(UnknownConnection, match=r"await audit\.record_async"):
            audit.record(conn, event("claim.mixed"))
    async with async_sessionmaker(engine)() as session:
        with pytest.raises(UnknownConnection, match=r"await audit\.record_async"):
            audit.record(session, event("claim.mixed"))
    await engine.dispose()
    with pytest.raises(UnknownConnection, match="not a connection"):
        audit.record(engine, event("claim.mixed"))
    with pytest.raises(UnknownConnection, match=r"asyncpg Connection$"):
        audit.record(object(), event("claim.mixed"))


def stored_text(dsn: str) -> object:
    """Returns the text of the first event in the queue."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT event->'data'->>'text' FROM pgaudit.audit_jobs").fetchone()
    return row and row[0]
