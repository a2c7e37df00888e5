"""The connections of the web application: few, and opened when first needed."""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from threading import Lock
from typing import Any, Final

import psycopg
from psycopg_pool import ConnectionPool
from starlette.concurrency import run_in_threadpool

from pgaudit.settings import Settings
from pgaudit.web.forks import renew_in_child

# Limits on waiting for a connection and on each query, so that a health probe is answered in time.
CONNECTION_TIMEOUT: Final = 2.0
LIMITS: Final = "SET LOCAL statement_timeout = '4s'; SET LOCAL lock_timeout = '2s'"
MAX_CONNECTIONS: Final = 4
OPTIONS: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": None,  # behind PgBouncer the next session knows nothing of it
    "application_name": "pgaudit web",
    "connect_timeout": 2,
    "tcp_user_timeout": 5_000,
}


class Database:
    """A pool of synchronous connections: it belongs to no event loop, and needs no lifespan to be open."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._pool: ConnectionPool | None = None
        # Pools of parent processes: kept, because a pool closes its connections when it is garbage-collected.
        self._inherited_pools: list[ConnectionPool] = []
        renew_in_child(self)

    def renew(self) -> None:
        """Opens new connections in a forked process: those of the parent stay the parent's."""
        self._lock = Lock()
        if self._pool is not None:
            self._inherited_pools.append(self._pool)
            self._pool = None

    @contextmanager
    def connection(self) -> Generator[psycopg.Connection[Any]]:
        """Returns a connection in a transaction that gives up after some seconds.

        :raises psycopg.OperationalError: the database is away, or all connections are in use.
        """
        with self._opened().connection() as conn, conn.transaction():
            conn.execute(LIMITS)
            yield conn

    def _opened(self) -> ConnectionPool:
        with self._lock:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._settings.conninfo,
                    kwargs=OPTIONS,
                    min_size=0,
                    max_size=MAX_CONNECTIONS,
                    timeout=CONNECTION_TIMEOUT,
                    reconnect_timeout=CONNECTION_TIMEOUT,
                    check=ConnectionPool.check_connection,
                    num_workers=1,
                    name="pgaudit web",
                    open=True,
                )
            return self._pool

    def close(self) -> None:
        """Closes the connections. A later request opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()


def close_on_shutdown(database: Database) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """Returns the lifespan of an application that closes its connections on shutdown."""

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await run_in_threadpool(database.close)

    return lifespan
