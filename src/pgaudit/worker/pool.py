"""The connection pool of a worker. It opens a connection when one is needed, and keeps it while it works.

After an error psycopg_pool pauses for a second or more before it reconnects, and every caller waits as long: a worker
whose sessions are terminated a few times a second would stop. This pool raises the error to the caller at once, and
``congestion`` decides when the worker tries again.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus

# A session's memory grows with the statements it has run, and the host name may meanwhile resolve to another server.
MAX_AGE_SECONDS: Final = 3_600.0
MAX_IDLE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Kept:
    """An idle connection. Times are in seconds of the monotonic clock."""

    conn: psycopg.AsyncConnection[Any]
    opened_at: float
    returned_at: float

    def is_outdated(self, drained_at: float) -> bool:
        """Returns whether to replace it: too old, idle for too long, or opened before the pool was drained."""
        now = time.monotonic()
        too_old = self.opened_at <= max(drained_at, now - MAX_AGE_SECONDS)
        return too_old or self.returned_at <= now - MAX_IDLE_SECONDS


class ConnectionPool:
    """Holds at most ``max_size`` connections. Further callers wait until one is returned.

    :param kwargs: arguments of ``AsyncConnection.connect``.
    """

    def __init__(self, conninfo: str, kwargs: dict[str, Any], max_size: int) -> None:
        self._conninfo = conninfo
        self._kwargs = kwargs
        self._free = asyncio.Semaphore(max_size)
        self._idle: deque[Kept] = deque()  # the most recently used one is on the right
        self._drained_at = 0.0
        self._closed = False

    async def open(self) -> None:
        """Opens the first connection. A closed pool can be opened again.

        :raises psycopg.Error: the server cannot be reached, or refuses this role.
        """
        self._closed = False
        async with self.connection():
            pass

    async def close(self) -> None:
        """Closes idle connections now, and the others when they are returned."""
        self._closed = True
        await self._close_idle()

    async def drain(self) -> None:
        """Closes idle connections now, and the others when they are returned. New ones are opened when needed."""
        self._drained_at = time.monotonic()
        await self._close_idle()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
        """Yields a working connection. It is closed after the block if it is broken or still in a transaction.

        :raises psycopg.Error: no connection can be opened.
        """
        async with self._free:
            conn, opened_at = await self._take()
            try:
                yield conn
            finally:
                await self._give_back(Kept(conn, opened_at, time.monotonic()))

    async def _take(self) -> tuple[psycopg.AsyncConnection[Any], float]:
        while self._idle:
            kept = self._idle.pop()
            if not kept.is_outdated(self._drained_at) and is_alive(kept.conn):
                return kept.conn, kept.opened_at
            await kept.conn.close()
        opened_at = time.monotonic()
        return await psycopg.AsyncConnection.connect(self._conninfo, **self._kwargs), opened_at

    async def _give_back(self, kept: Kept) -> None:
        is_idle = kept.conn.pgconn.transaction_status == TransactionStatus.IDLE
        if self._closed or not is_idle or kept.is_outdated(self._drained_at):
            await kept.conn.close()
        else:
            self._idle.append(kept)
        while self._idle and self._idle[0].is_outdated(self._drained_at):
            await self._idle.popleft().conn.close()

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().conn.close()


def is_alive(conn: psycopg.AsyncConnection[Any]) -> bool:
    """Returns whether the connection is open, as far as the socket shows; sends nothing to the server."""
    try:
        conn.pgconn.consume_input()  # reads the error message of a session that was terminated
        conn.pgconn.consume_input()  # reads the end of the stream, and raises
    except psycopg.OperationalError:
        return False
    return True
