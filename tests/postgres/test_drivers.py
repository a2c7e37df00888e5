"""record in the transaction of every driver and framework: committed, rolled back, and with savepoints."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import psycopg
import pytest
from django.db import connections as django_connections
from django.db import transaction as django_transaction
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from pgaudit import AuditEvent, AuditLog, NotInTransaction, Settings, UnknownConnection
from pgaudit.testing.database import url_of
from tests import django_project

pytestmark = pytest.mark.anyio
QUEUED = "SELECT event->>'action' FROM pgaudit.audit_jobs ORDER BY id"
TEXT = "Zoë “quoted” \\ 50 % :name $1"


class TakenBack(Exception):
    """Rolls back what it is raised in."""


def url(dsn: str, driver: str) -> str:
    """The database as SQLAlchemy names it."""
    return url_of(dsn, f"postgresql+{driver}")


def queued(dsn: str) -> list[str]:
    """The actions in the queue."""
    with psycopg.connect(dsn) as conn:
        return [action for (action,) in conn.execute(QUEUED)]


def event(action: str) -> AuditEvent:
    """An event with all that a driver might take for a placeholder."""
    return AuditEvent(action=action, data={"text": TEXT})


@contextmanager
def alchemy(dsn: str, kind: Callable[..., Any]) -> Generator[Any]:
    """A SQLAlchemy Connection or Session in a transaction that ends with the block."""
    engine = create_engine(url(dsn, "psycopg"))
    try:
        with kind(engine) as conn, conn.begin():
            yield conn
    finally:
        engine.dispose()


@contextmanager
def django(dsn: str) -> Generator[Any]:
    """A Django connection inside transaction.atomic()."""
    conn = django_connection(dsn)
    try:
        with django_transaction.atomic(using="default"):
            yield conn
    finally:
        conn.close()


def django_connection(dsn: str) -> Any:
    """Django's default connection, to that database."""
    info = psycopg.conninfo.conninfo_to_dict(dsn)
    django_project.configure()
    conn = django_connections["default"]
    conn.close()
    conn.settings_dict.update(NAME=info["dbname"], USER=info["user"], HOST=info["host"], PORT=info["port"])
    return conn


SYNC = {
    "connection": lambda dsn: alchemy(dsn, lambda engine: engine.connect()),
    "session": lambda dsn: alchemy(dsn, Session),
    "django": django,
}


@pytest.mark.parametrize("library", SYNC)
def test_an_event_shares_the_fate_of_its_transaction(dsn: str, settings: Settings, library: str) -> None:
    """Committed with it, rolled back with it, and with a savepoint of it."""
    audit = AuditLog(settings)
    with SYNC[library](dsn) as conn:
        audit.record(conn, event("claim.first"), event("claim.second"))
        savepoint = django_transaction.atomic() if library == "django" else conn.begin_nested()
        with pytest.raises(TakenBack), savepoint:
            audit.record(conn, event("claim.never"))
            raise TakenBack
    with pytest.raises(TakenBack), SYNC[library](dsn) as conn:
        audit.record(conn, event("claim.never"))
        raise TakenBack
    assert queued(dsn) == ["claim.first", "claim.second"]
    assert stored_text(dsn) == TEXT


@pytest.mark.parametrize("library", SYNC)
def test_a_refused_event_is_spooled_and_the_change_goes_on(
    dsn: str, settings: Settings, library: str, tmp_path: Any
) -> None:
    """The savepoint that spooling needs is each library's own."""
    break_recording(dsn)
    audit = AuditLog(settings.model_copy(update={"on_failure": "spool", "spool_dir": tmp_path}))
    with SYNC[library](dsn) as conn:
        audit.record(conn, event("claim.spooled"))
        audit.record(conn, event("claim.spooled"))
    assert spooled(tmp_path) == ["claim.spooled"] * 2


@asynccontextmanager
async def async_alchemy(dsn: str, driver: str, kind: Callable[..., Any]) -> AsyncGenerator[Any]:
    """An AsyncConnection or AsyncSession in a transaction that ends with the block."""
    engine = create_async_engine(url(dsn, driver))
    try:
        async with kind(engine) as conn, conn.begin():
            yield conn
    finally:
        await engine.dispose()


@asynccontextmanager
async def plain_asyncpg(dsn: str) -> AsyncGenerator[Any]:
    """An asyncpg connection, its jsonb encoded by a codec of the application's own."""
    conn = await asyncpg.connect(url(dsn, "asyncpg").replace("+asyncpg", ""))
    try:
        await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        async with conn.transaction():
            yield conn
    finally:
        await conn.close()


ASYNC = {
    "psycopg connection": lambda dsn: async_alchemy(dsn, "psycopg", lambda engine: engine.connect()),
    "psycopg session": lambda dsn: async_alchemy(dsn, "psycopg", AsyncSession),
    "asyncpg connection": lambda dsn: async_alchemy(dsn, "asyncpg", lambda engine: engine.connect()),
    "asyncpg session": lambda dsn: async_alchemy(dsn, "asyncpg", AsyncSession),
    "asyncpg": plain_asyncpg,
}


@pytest.mark.parametrize("library", ASYNC)
async def test_an_async_event_shares_the_fate_of_its_transaction(dsn: str, settings: Settings, library: str) -> None:
    """Committed with it, rolled back with it, and with a savepoint of it."""
    audit = AuditLog(settings)
    async with ASYNC[library](dsn) as conn:
        await audit.record_async(conn, event("claim.first"), event("claim.second"))
        with pytest.raises(TakenBack):
            async with conn.transaction() if library == "asyncpg" else conn.begin_nested():
                await audit.record_async(conn, event("claim.never"))
                raise TakenBack
    with pytest.raises(TakenBack):
        async with ASYNC[library](dsn) as conn:
            await audit.record_async(conn, event("claim.never"))
            raise TakenBack
    assert queued(dsn) == ["claim.first", "claim.second"]
    assert stored_text(dsn) == TEXT


@pytest.mark.parametrize("library", ASYNC)
async def test_a_refused_async_event_is_spooled(dsn: str, settings: Settings, library: str, tmp_path: Any) -> None:
    """The savepoint that spooling needs is each library's own."""
    break_recording(dsn)
    audit = AuditLog(settings.model_copy(update={"on_failure": "spool", "spool_dir": tmp_path}))
    async with ASYNC[library](dsn) as conn:
        await audit.record_async(conn, event("claim.spooled"))
        await audit.record_async(conn, event("claim.spooled"))
    assert spooled(tmp_path) == ["claim.spooled"] * 2


async def test_a_pooled_asyncpg_connection_is_one(dsn: str, settings: Settings) -> None:
    """What asyncpg's pool lends is a proxy."""
    server = url(dsn, "asyncpg").replace("+asyncpg", "")
    async with asyncpg.create_pool(server, min_size=1) as pool, pool.acquire() as conn, conn.transaction():
        await AuditLog(settings).record_async(conn, event("claim.pooled"))
    assert queued(dsn) == ["claim.pooled"]


def test_a_scoped_session_is_one(dsn: str, settings: Settings) -> None:
    """Flask applications hold a registry of sessions rather than a session."""
    engine = create_engine(url(dsn, "psycopg"))
    registry = scoped_session(sessionmaker(engine))
    AuditLog(settings).record(registry, event("claim.scoped"))
    registry.commit()
    registry.remove()
    engine.dispose()
    assert queued(dsn) == ["claim.scoped"]


def test_autocommit_is_refused(dsn: str, settings: Settings) -> None:
    """No library may commit an event on its own."""
    audit, engine = AuditLog(settings), create_engine(url(dsn, "psycopg"), isolation_level="AUTOCOMMIT")
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
    """The asynchronous half of the test above."""
    for driver in ("psycopg", "asyncpg"):
        engine = create_async_engine(url(dsn, driver), isolation_level="AUTOCOMMIT")
        async with engine.connect() as conn:
            with pytest.raises(NotInTransaction):
                await audit.record_async(conn, event("claim.alone"))
        await engine.dispose()
    conn = await asyncpg.connect(url(dsn, "asyncpg").replace("+asyncpg", ""))
    with pytest.raises(NotInTransaction, match=r"conn\.transaction"):
        await audit.record_async(conn, event("claim.alone"))
    await conn.close()


async def test_a_mixup_of_sync_and_async_is_refused(dsn: str, settings: Settings) -> None:
    """The error names the method to use."""
    audit, engine = AuditLog(settings), create_async_engine(url(dsn, "asyncpg"))
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
    """The text of the first event in the queue."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT event->'data'->>'text' FROM pgaudit.audit_jobs").fetchone()
    return row and row[0]


def break_recording(dsn: str) -> None:
    """Takes ``pgaudit.record`` away."""
    with psycopg.connect(dsn) as conn:
        conn.execute("ALTER FUNCTION pgaudit.record(jsonb) RENAME TO broken")


def spooled(directory: Any) -> list[str]:
    """The actions in the spool."""
    lines = [json.loads(line) for path in directory.iterdir() for line in path.read_text().splitlines()]
    assert all(line["xid"] for line in lines)
    return [line["event"]["action"] for line in lines]
