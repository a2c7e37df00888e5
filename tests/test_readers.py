"""Reading the log, statistics, jobs and health through each kind of connection that ``record`` accepts."""

from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any

import asyncpg
import psycopg
import pytest
from django.db import connection as django_default
from django.test import override_settings
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from pgaudit import AuditEvent, Settings, UnknownConnection, health, jobs, stats, trail
from pgaudit.errors import JobNotFound
from pgaudit.testing.database import url_of
from tests.support.drivers import SYNC, django_connection, sqlalchemy_sync
from tests.support.jobs import persist_and_commit, record_and_commit
from tests.support.proxies import Proxy
from tests.support.queries import Connection, value, value_in
from tests.support.transactions import psycopg_connection, psycopg_cursor

pytestmark = pytest.mark.anyio

INSERT_FAILED = """
    INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes, status)
    VALUES ('{"id": "1", "amount": 1e5000}', decode('00', 'hex'), 11, 'failed') RETURNING id
"""
SESSION = "SELECT name, setting FROM pg_settings WHERE source = 'session' ORDER BY name"
STATUS = "SELECT status::text FROM pgaudit.audit_jobs"
HAS_CHANGE = "SELECT to_regclass('change') IS NOT NULL"


class Base(DeclarativeBase):
    """The application's tables."""


class Claim(Base):
    """A table that does not exist in the database."""

    __tablename__ = "claim"
    id: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[str]


@contextmanager
def customized(dsn: str) -> Generator[Any]:
    """A psycopg connection with another row factory, cursor class and JSON loader than the defaults."""
    with psycopg.connect(dsn, row_factory=dict_row, cursor_factory=psycopg.RawCursor) as conn:
        set_json_loads(str, conn)
        yield conn


@contextmanager
def django_in_autocommit(dsn: str) -> Generator[Any]:
    """``django.db.connection`` outside a transaction, in a project without time zones."""
    with closing(django_connection(dsn)), override_settings(USE_TZ=False):
        yield django_default


@contextmanager
def not_begun(dsn: str) -> Generator[Any]:
    """A SQLAlchemy Connection that has executed nothing."""
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    with engine.connect() as conn:
        yield conn
    engine.dispose()


@contextmanager
def scoped(dsn: str) -> Generator[Any]:
    """The registry of sessions that Flask applications use."""
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    registry = scoped_session(sessionmaker(engine))
    yield registry
    registry.remove()
    engine.dispose()


def in_proxy(opened: Callable[[str], Any]) -> Callable[[str], Any]:
    """Returns a function that opens the same connection in a transparent proxy."""

    @contextmanager
    def proxied(dsn: str) -> Generator[Any]:
        with opened(dsn) as conn:
            yield Proxy(conn)

    return proxied


CONNECTIONS: dict[str, Callable[[str], Any]] = {
    "psycopg, customized": customized,
    "psycopg in autocommit": lambda dsn: psycopg.connect(dsn, autocommit=True),
    "cursor": psycopg_cursor,
    "django in autocommit": django_in_autocommit,
    "scoped session": scoped,
    "connection that has not begun": not_begun,
    **SYNC,
    "psycopg in a proxy": in_proxy(psycopg_connection),
    "cursor in a proxy": in_proxy(psycopg_cursor),
    **{f"{library} in a proxy": in_proxy(opened) for library, opened in SYNC.items()},
}


def read_all(conn: Any, job: int) -> dict[str, Any]:
    """Returns the result of each reader."""
    return {
        "last": trail.last(conn, 10),
        "after": trail.after(conn, -1),
        "of_target": trail.of_target(conn, "claim", "7"),
        "of_actor": trail.of_actor(conn, "user", "42", limit=1),
        "pages": list(trail.pages(conn, "action:claim.approved")),
        "queue_stats": stats.queue_stats(conn),
        "worker_stats": stats.worker_stats(conn),
        "failed_jobs": stats.failed_jobs(conn),
        "throughput": stats.throughput(conn),
        "storage_stats": {row.table_name for row in stats.storage_stats(conn)},
        "count_jobs": jobs.count_jobs(conn),
        "list_jobs": jobs.list_jobs(conn, "failed"),
        "get_job": jobs.get_job(conn, job),
        "check": [(check.name, check.status) for check in health.check(conn).checks],
    }


@pytest.fixture
def job(conn: Connection) -> int:
    """The id of a failed job; the log has two events."""
    record_and_commit(conn, *(AuditEvent(action="claim.approved", actor="user:42", target="claim:7") for _ in range(2)))
    persist_and_commit(conn)
    failed: int = value(conn, INSERT_FAILED)
    conn.commit()
    return failed


@pytest.mark.parametrize("library", CONNECTIONS)
def test_every_reader_returns_the_same(dsn: str, conn: Connection, job: int, library: str) -> None:
    """Each reader returns the same for each library and configuration of the connection."""
    expected = read_all(conn, job)
    conn.commit()
    assert len(expected["of_target"]) == 2
    assert expected["get_job"].event == {"id": "1", "amount": Decimal("1e5000")}
    with CONNECTIONS[library](dsn) as other:
        assert read_all(other, job) == expected


def test_a_reader_leaves_a_connection_as_it_was(dsn: str, job: int) -> None:
    """A reader changes neither session settings nor the row factory, and does not end the transaction."""
    with psycopg.connect(dsn, row_factory=dict_row) as conn:
        conn.execute("CREATE TABLE change ()")
        before = conn.execute(SESSION).fetchall(), conn.execute("SELECT pg_current_xact_id()").fetchall()
        read_all(conn, job)
        assert (conn.execute(SESSION).fetchall(), conn.execute("SELECT pg_current_xact_id()").fetchall()) == before
        assert not value_in(dsn, HAS_CHANGE)
        assert conn.row_factory is dict_row
        conn.rollback()
    assert not value_in(dsn, HAS_CHANGE)


def test_a_reader_flushes_no_session(dsn: str, job: int) -> None:
    """A reader does not flush a pending object of the session; a flush would fail, because its table is missing."""
    with sqlalchemy_sync(dsn, Session) as session:
        claim = Claim()
        session.add(claim)
        read_all(session, job)
        assert list(session.new) == [claim]
        session.expunge(claim)


def test_a_connection_of_sqlalchemy_knows_that_it_is_in_a_transaction(dsn: str) -> None:
    """After a reader, a SQLAlchemy Connection is in a transaction that ``rollback`` ends, as after execute()."""
    with not_begun(dsn) as conn:
        trail.last(conn, 1)
        assert conn.in_transaction()
        conn.rollback()
        assert conn.connection.driver_connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@pytest.mark.parametrize("library", ["psycopg", *SYNC])
def test_a_job_is_retried_in_the_transaction_of_the_application(dsn: str, job: int, library: str) -> None:
    """retry_jobs is rolled back with the transaction of the application, even if it sent the first statement in it."""
    opened = psycopg_connection if library == "psycopg" else SYNC[library]

    class RolledBack(Exception):
        """Ends the application's transaction."""

    with pytest.raises(RolledBack), opened(dsn) as conn:
        if library == "psycopg":  # its transaction begins with its first statement
            conn.execute("SELECT")
        with pytest.raises(JobNotFound):
            jobs.retry_jobs(conn, [job, job + 1])
        assert jobs.count_jobs(conn)["failed"] == 1
        assert jobs.retry_jobs(conn, [job]) == [job]
        raise RolledBack
    assert value_in(dsn, STATUS) == "failed"


def test_a_failed_check_does_not_break_the_transaction(empty_dsn: str) -> None:
    """A check that fails is a verdict, and the application can still commit its change."""
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("CREATE TABLE change ()")
        assert health.check(conn).status is health.Status.UNHEALTHY
    assert value_in(empty_dsn, HAS_CHANGE)


async def test_a_failed_asynchronous_check_does_not_break_the_transaction(empty_dsn: str) -> None:
    """A failed asynchronous check, here through a cursor, lets the application commit its change."""
    async with await psycopg.AsyncConnection.connect(empty_dsn) as conn:
        await conn.execute("CREATE TABLE change ()")
        assert (await health.check_async(conn.cursor())).status is health.Status.UNHEALTHY
    assert value_in(empty_dsn, HAS_CHANGE)


def test_a_database_that_sqlalchemy_cannot_reach_is_a_verdict(dsn: str) -> None:
    """A connection that SQLAlchemy cannot open is reported as a verdict, not raised."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn, dbname="no_such_database"))
    with Session(engine) as session:
        (check,) = health.check(session).checks
    assert "does not exist" in check.message


@pytest.mark.parametrize("read", [lambda conn: trail.last(conn, 1), jobs.count_jobs, stats.queue_stats, health.check])
async def test_an_asynchronous_connection_is_refused(dsn: str, read: Callable[[Any], Any]) -> None:
    """Readers refuse asynchronous connections, and the message says to use a thread or check_async."""
    engine, expected = create_async_engine(url_of(dsn, "postgresql+psycopg")), r"asyncio\.to_thread.*check_async"
    async with await psycopg.AsyncConnection.connect(dsn) as conn, engine.connect() as other, AsyncSession(engine) as s:
        for given in (conn, conn.cursor(), other, s):
            with pytest.raises(UnknownConnection, match=f"^{type(given).__name__} is asynchronous.*{expected}"):
                read(given)
    await engine.dispose()
    plain = await asyncpg.connect(url_of(dsn))
    with pytest.raises(UnknownConnection, match=f"^Connection is asynchronous.*{expected}"):
        read(plain)
    await plain.close()


@pytest.mark.parametrize("given", [create_engine("sqlite://"), create_engine("sqlite://").connect(), None, object()])
def test_an_object_without_a_psycopg_connection_is_refused(given: Any) -> None:
    """The message names the connections that a reader accepts."""
    with pytest.raises(UnknownConnection, match=r"pass a psycopg Connection or cursor, a SQLAlchemy"):
        trail.last(given, 1)


async def test_check_async_refuses_a_connection_of_sqlalchemy(dsn: str) -> None:
    """The message says how to get psycopg's connection from it, and check_async accepts that one."""
    engine = create_async_engine(url_of(dsn, "postgresql+psycopg"))
    async with engine.connect() as conn:
        with pytest.raises(UnknownConnection, match="AsyncConnection of psycopg"):
            await health.check_async(conn)
        below = (await conn.get_raw_connection()).driver_connection
        assert (await health.check_async(below, Settings(dsn=dsn))).checks
    await engine.dispose()
