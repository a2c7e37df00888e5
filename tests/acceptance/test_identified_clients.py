"""Who makes a change, with many clients on few connections: nobody is taken for another."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from typing import Any

import asyncpg
import psycopg
import pytest
from django.db import connections as django_connections
from django.db import transaction
from psycopg_pool import ConnectionPool
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pgaudit import bind, identify, identify_async
from pgaudit.sqlalchemy import identify_transactions
from pgaudit.testing.database import url_of
from tests.support import django_project, pgbouncer, told
from tests.support.drivers import RollBack, django_connection

CLIENTS = 200
INSERT = "INSERT INTO visits (visitor) VALUES (%s)"
NAMED = text("INSERT INTO visits (visitor) VALUES (:visitor)")


@pytest.fixture
def table(dsn: str) -> str:
    """A database with the table; returns its DSN."""
    told.create_table(dsn)
    return dsn


@pytest.fixture
def one_session(table: str) -> Iterator[str]:
    """A DSN through PgBouncer, all of whose clients use one server session."""
    with pgbouncer.running(table, pool_size=1) as through:
        yield through


def in_threads(work: Callable[[str], None]) -> None:
    """Does the work of each client, in 20 threads; of three, one ends with a rollback, one binds nothing."""
    with ThreadPoolExecutor(20) as threads:
        for done in [threads.submit(serve, work, number) for number in range(CLIENTS)]:
            done.result(60)


def serve(work: Callable[[str], None], number: int) -> None:
    """Does the work of one client."""
    if number % 3 == 0:
        work("nobody")
        return
    with bind(actor=f"user:{number}", request_id=f"r-{number}"):
        if number % 3 == 1:
            work(f"user:{number}")
            return
        with pytest.raises(RollBack):
            work(f"rollback user:{number}")


async def in_tasks(work: Callable[[str], Awaitable[None]]) -> None:
    """``in_threads`` with a task for each client."""

    async def serve_async(number: int) -> None:
        with bind(actor=f"user:{number}" if number % 3 else None):
            await work(f"user:{number}" if number % 3 else "nobody")

    await asyncio.gather(*(serve_async(number) for number in range(CLIENTS)))


def roll_back_some(visitor: str) -> None:
    """Raises RollBack for those visitors who want that."""
    if visitor.startswith("rollback"):
        raise RollBack


def assert_nobody_is_taken_for_another(dsn: str, count: int) -> None:
    """Each row was told of its visitor, or of nobody."""
    visits = told.visits(dsn)
    assert len(visits) == count
    assert [(visitor, actor) for visitor, actor in visits if visitor != (actor or "nobody")] == []


def sqlalchemy_work(engine: Engine) -> Callable[[str], None]:
    """Returns what a client does: it reads, writes, and goes back to a savepoint that another actor has written in."""

    def work(visitor: str) -> None:
        with engine.begin() as conn:
            conn.execute(text("SELECT 1"))
            with pytest.raises(RollBack), bind(actor="service:audit"), conn.begin_nested():
                conn.execute(NAMED, {"visitor": "lost"})
                raise RollBack
            conn.execute(NAMED, {"visitor": visitor})
            roll_back_some(visitor)

    return work


def test_threads_on_a_pool_of_sqlalchemy(table: str) -> None:
    """Five connections."""
    engine = create_engine(url_of(table, "postgresql+psycopg"), pool_size=5, max_overflow=0)
    identify_transactions(engine)
    in_threads(sqlalchemy_work(engine))
    engine.dispose()
    assert_nobody_is_taken_for_another(table, 67 + 67)


def test_threads_on_a_pool_of_psycopg(table: str) -> None:
    """Each transaction calls identify()."""
    with ConnectionPool(table, min_size=5, max_size=5) as pool:

        def work(visitor: str) -> None:
            with pool.connection() as conn:
                if visitor != "nobody":
                    identify(conn)
                conn.execute(INSERT, [visitor])
                roll_back_some(visitor)

        in_threads(work)
    assert_nobody_is_taken_for_another(table, 67 + 67)


@pytest.mark.pgbouncer
def test_threads_of_django_behind_pgbouncer(table: str) -> None:
    """Five server sessions; in autocommit, too."""
    django_project.configure()
    wrapper: Any = import_module("pgaudit.django.identified_writes").IdentifiedWrites

    def work(visitor: str) -> None:
        conn = django_connections["default"]
        try:
            with conn.execute_wrapper(wrapper()), conn.cursor() as cursor:
                with suppress(RollBack), transaction.atomic():
                    cursor.execute(INSERT, [visitor])
                    roll_back_some(visitor)
                cursor.execute(INSERT, [visitor.removeprefix("rollback ")])
            roll_back_some(visitor)
        finally:
            conn.close()

    with pgbouncer.running(table, pool_size=5) as through:
        django_connection(through)
        in_threads(work)
    assert_nobody_is_taken_for_another(table, 2 * 67 + 2 * 67 + 66)


def asynchronous(dsn: str, driver: str) -> AsyncEngine:
    """Returns an engine of five connections whose transactions are identified."""
    engine = create_async_engine(url_of(dsn, f"postgresql+{driver}"), pool_size=5, max_overflow=0)
    identify_transactions(engine)
    return engine


@pytest.mark.anyio
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_tasks_on_an_asynchronous_pool_of_sqlalchemy(table: str, driver: str) -> None:
    """Five connections for all tasks."""
    engine = asynchronous(table, driver)

    async def work(visitor: str) -> None:
        async with engine.begin() as conn:
            await conn.execute(NAMED, {"visitor": visitor})

    await in_tasks(work)
    await engine.dispose()
    assert_nobody_is_taken_for_another(table, CLIENTS)


@pytest.mark.anyio
async def test_tasks_on_a_pool_of_asyncpg(table: str) -> None:
    """Each transaction calls identify_async()."""
    async with asyncpg.create_pool(url_of(table), min_size=5, max_size=5) as pool:

        async def work(visitor: str) -> None:
            async with pool.acquire() as conn, conn.transaction():
                await identify_async(conn)
                await conn.execute("INSERT INTO visits (visitor) VALUES ($1)", visitor)

        await in_tasks(work)
    assert_nobody_is_taken_for_another(table, CLIENTS)


@pytest.mark.pgbouncer
def test_the_next_client_of_a_server_session_sees_nothing(table: str, one_session: str) -> None:
    """PgBouncer gives the session of one client to another after each transaction, whatever has identified it."""
    engine = create_engine(
        url_of(one_session, "postgresql+psycopg"), connect_args={"prepare_threshold": None}, pool_size=2
    )
    identify_transactions(engine)
    django = django_connection(one_session)
    wrapper: Any = import_module("pgaudit.django.identified_writes").IdentifiedWrites
    with psycopg.connect(one_session, autocommit=True, prepare_threshold=None) as other:

        def seen() -> tuple[int, str]:
            row = other.execute("SELECT pg_backend_pid(), coalesce(current_setting('audit.context', true), '')")
            return row.fetchone() or (0, "")

        session, _ = seen()
        with bind(actor="user:1"):
            with psycopg.connect(one_session, prepare_threshold=None) as conn:
                identify(conn)
                conn.execute(INSERT, ["user:1"])
            assert seen() == (session, "")
            with engine.begin() as identified:
                identified.execute(NAMED, {"visitor": "user:1"})
            assert seen() == (session, "")
            with engine.connect() as identified:
                identified.execution_options(isolation_level="AUTOCOMMIT").execute(NAMED, {"visitor": "user:1"})
            assert seen() == (session, "")
            with django.execute_wrapper(wrapper()), django.cursor() as cursor:
                cursor.execute(INSERT, ["user:1"])
                assert seen() == (session, "")
                with transaction.atomic():
                    cursor.execute(INSERT, ["user:1"])
            assert seen() == (session, "")
        django.close()
        other.execute(INSERT, ["nobody"])
    engine.dispose()
    assert_nobody_is_taken_for_another(table, 6)
