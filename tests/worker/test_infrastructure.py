"""Workers whose database fails or is read-only."""

import signal
import time

import pytest

from pgaudit import Settings
from pgaudit.worker.connector import with_defaults
from pgaudit.worker.supervisor import ONE_SIGNAL_SECONDS, Stopping
from tests.support.jobs import queue_events
from tests.support.queries import LOG_SIZE, Connection, value_and_commit
from tests.support.waiting import wait_until_async
from tests.support.worker import working

pytestmark = pytest.mark.anyio


async def test_connections_to_a_server_that_became_read_only_are_replaced(dsn: str, conn: Connection) -> None:
    """After a failover the worker's sessions are on a server that refuses writes: it opens others."""
    async with working(Settings(dsn=dsn)) as worker:
        pool = worker.app.connector.pool
        async with pool.connection() as own:
            await own.execute("SET default_transaction_read_only = on")
            old = own.info.backend_pid
        queue_events(dsn, 10)
        await wait_until_async("the log has 10 events", lambda: value_and_commit(conn, LOG_SIZE) == 10)
        async with pool.connection() as own:
            assert own.info.backend_pid != old


def test_a_worker_looks_for_a_primary() -> None:
    """Of several hosts it uses the one that can be written to, unless the DSN says otherwise."""
    assert "target_session_attrs=read-write" in with_defaults("host=a,b dbname=claims")
    assert "target_session_attrs=any" in with_defaults("host=a target_session_attrs=any")


def test_a_worker_does_not_wait_for_long_where_nobody_answers() -> None:
    """A worker's connect_timeout is 5 s by default, because its shutdown waits as long; the DSN can override it."""
    assert "connect_timeout=5" in with_defaults("host=a dbname=claims")
    assert "connect_timeout=30" in with_defaults("host=a connect_timeout=30")


def test_two_signals_within_a_second_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a later one ends the process at once."""
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    stopping = Stopping()
    stopping.handle_signal(signal.SIGINT)
    stopping.handle_signal(signal.SIGTERM)
    assert stopping.stop.is_set()
    assert ended == []
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + ONE_SIGNAL_SECONDS + 0.1)
    stopping.handle_signal(signal.SIGTERM)
    assert ended == [128 + signal.SIGTERM]
