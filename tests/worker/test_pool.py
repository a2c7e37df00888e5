"""The connection pool of a worker."""

import asyncio
from collections.abc import AsyncGenerator

import psycopg
import pytest

from pgaudit.worker import pool as pool_module
from pgaudit.worker.pool import ConnectionPool
from tests.support.queries import Connection, value_and_commit
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

TERMINATE = "SELECT pg_terminate_backend(%s, 10000)"
IS_CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"


@pytest.fixture
async def pool(dsn: str) -> AsyncGenerator[ConnectionPool]:
    """A pool of two connections."""
    pool = ConnectionPool(dsn, {"autocommit": True}, max_size=2)
    await pool.open()
    yield pool
    await pool.close()


async def pid_of_next(pool: ConnectionPool) -> int:
    """Returns the backend's process id of the connection that the pool gives next."""
    async with pool.connection() as conn:
        return conn.info.backend_pid


async def test_a_connection_is_used_again(pool: ConnectionPool) -> None:
    """A returned connection is given to the next caller."""
    assert await pid_of_next(pool) == await pid_of_next(pool)


async def test_a_terminated_idle_connection_is_replaced(pool: ConnectionPool, conn: Connection) -> None:
    """After an idle session was terminated, the next caller gets a new connection without an error."""
    old = await pid_of_next(pool)
    assert value_and_commit(conn, TERMINATE, [old]) is True
    async with pool.connection() as new:
        assert new.info.backend_pid != old
        assert await (await new.execute("SELECT 1")).fetchone() == (1,)


async def test_a_connection_left_in_a_transaction_is_closed(pool: ConnectionPool, conn: Connection) -> None:
    """A connection that is returned in a transaction is closed, so that the next caller does not get it."""
    async with pool.connection() as own:
        await own.execute("BEGIN")
        old = own.info.backend_pid
    wait_until("the session has ended", lambda: value_and_commit(conn, IS_CONNECTED, [old]) == 0)
    assert await pid_of_next(pool) != old


async def test_a_refused_connection_is_an_error_at_once(dsn: str) -> None:
    """Each attempt raises the server's message; a failed one does not use up the only connection of the pool."""
    pool = ConnectionPool(psycopg.conninfo.make_conninfo(dsn, user="nobody_at_all"), {}, max_size=1)
    for _ in range(3):
        with pytest.raises(psycopg.OperationalError, match='role "nobody_at_all" does not exist'):
            await pool.open()


async def test_there_are_no_more_connections_than_allowed(pool: ConnectionPool) -> None:
    """With both connections in use, a third caller waits until one is returned."""
    async with pool.connection():
        async with pool.connection() as second:
            waiting = asyncio.create_task(pid_of_next(pool))
            await asyncio.sleep(0)
            assert not waiting.done()
        assert await waiting == second.info.backend_pid


async def test_drained_connections_are_replaced(pool: ConnectionPool) -> None:
    """After drain() a connection in use is closed when it is returned, and a new one is opened."""
    idle = await pid_of_next(pool)
    async with pool.connection() as used:
        await pool.drain()
        old = used.info.backend_pid
    assert old == idle
    assert used.closed
    assert await pid_of_next(pool) != old


@pytest.mark.parametrize("limit", ["MAX_AGE_SECONDS", "MAX_IDLE_SECONDS"])
async def test_old_connections_are_replaced(pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """A connection is replaced after MAX_AGE_SECONDS, or after MAX_IDLE_SECONDS without use."""
    old = await pid_of_next(pool)
    monkeypatch.setattr(pool_module, limit, 0.0)
    assert await pid_of_next(pool) != old


async def test_a_closed_pool_has_no_connection(pool: ConnectionPool) -> None:
    """After close() a connection in use stays open until it is returned."""
    async with pool.connection() as used:
        await pool.close()
        assert not used.closed
    assert used.closed
