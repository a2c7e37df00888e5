"""The connections of the web application: few, and opened when first needed."""

from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import psycopg
from psycopg_pool import ConnectionPool

from pgaudit.settings import Settings

# What a route waits for a connection, and for all that it asks the database: a probe waits no longer.
CONNECTION_TIMEOUT: Final = 2.0
LIMITS: Final = "SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '2s'"
MOST_CONNECTIONS: Final = 4
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
                    max_size=MOST_CONNECTIONS,
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
