"""The connections of a worker: opened when one is needed, kept while they work.

psycopg_pool waits for a second and more after an error, in the background, and whoever asks for a connection waits with
it: backends that are terminated a few times a second stop such a worker. Here an error is the caller's at once, with
its cause, and ``congestion`` decides when the worker tries again.
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

# A session's memory grows with what it has run, and a name may lead to another server by now.
MAX_AGE_SECONDS: Final = 3_600.0
MAX_IDLE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A connection that nobody uses; the times are of the monotonic clock."""

    conn: psycopg.AsyncConnection[Any]
    opened_at: float
    returned_at: float

    def is_outdated(self, drained_at: float) -> bool:
        """Returns whether it has to be replaced."""
        now = time.monotonic()
        too_old = self.opened_at <= max(drained_at, now - MAX_AGE_SECONDS)
        return too_old or self.returned_at <= now - MAX_IDLE_SECONDS


class ConnectionPool:
    """At most ``max_size`` connections; who asks for one more waits.

    :param kwargs: of ``AsyncConnection.connect``.
    """

    def __init__(self, conninfo: str, kwargs: dict[str, Any], max_size: int) -> None:
        self._conninfo = conninfo
        self._kwargs = kwargs
        self._free = asyncio.Semaphore(max_size)
        self._idle: deque[Kept] = deque()  # the one that was used last is on the right
        self._drained_at = 0.0
        self._closed = False

    async def open(self) -> None:
        """Opens the first connection, also again after ``close``.

        :raises psycopg.Error: the server cannot be reached, or refuses this role.
        """
        self._closed = False
        async with self.connection():
            pass

    async def close(self) -> None:
        """Closes the connections; one that is in use, as soon as it is returned."""
        self._closed = True
        await self._close_idle()

    async def drain(self) -> None:
        """Replaces the connections; one that is in use, as soon as it is returned."""
        self._drained_at = time.monotonic()
        await self._close_idle()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
        """Returns a connection that works. Broken, or left in a transaction, it is closed after the block.

        :raises psycopg.Error: none can be opened.
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
    """Returns whether the server has not closed the connection, without asking it."""
    try:
        conn.pgconn.consume_input()  # the server's last words, when it terminates a session
        conn.pgconn.consume_input()  # and the end
    except psycopg.OperationalError:
        return False
    return True
