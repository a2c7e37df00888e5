"""Follows the log: every event from an index on, and then each new one, through outages of the database."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row

from pgaudit._db_errors import is_infrastructure, safe_summary
from pgaudit._reading import run_async
from pgaudit.settings import Settings
from pgaudit.trail.chunks import read_chunk
from pgaudit.trail.entry import Entry
from pgaudit.trail.query import Query, as_query

logger = logging.getLogger(__name__)

SIZE: Final = "SELECT size FROM pgaudit.log_head"
MOST_EVENTS: Final = 1_000
MOST_BYTES: Final = 16_000_000
LONGEST_PAUSE: Final = 15.0  # seconds between two attempts to connect
CONNECTION: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": None,  # behind PgBouncer the next statement may run in another session
    "application_name": "pgaudit follow",
    "client_encoding": "utf8",
}


async def stream(
    from_index: int | None = None, query: Query | str = "", settings: Settings | None = None
) -> AsyncGenerator[Entry]:
    """Yields the events from an index on, in the order of the log, and waits for new ones; it does not end by itself.

    ``async for entry in pgaudit.stream(from_index=last_seen + 1): …``

    Index order is commit order, so no event is missed, and none comes twice. A connection that is lost is opened again,
    for as long as it takes; the first one has to succeed.

    :param from_index: the first index; the next one that is appended when it is None.
    :param query: which events; all when empty.
    :param settings: where the database is; ``poll_interval`` is the time between two looks at the end of the log.
    :raises psycopg.Error: the first connection fails, or the log cannot be read.
    """
    wanted, settings = as_query(query), settings or Settings()
    following = Following(settings, wanted, from_index)
    pause = settings.poll_interval
    while True:
        try:
            async with aclosing(following.entries()) as entries:
                async for entry in entries:
                    pause = settings.poll_interval
                    yield entry
        except psycopg.Error as error:
            if not (following.has_connected and is_infrastructure(error)):
                raise
            logger.warning("cannot follow the log, will retry in %.1f s: %s", pause, safe_summary(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


class Following:
    """Where a reader is that follows the log; it is kept while connections come and go."""

    def __init__(self, settings: Settings, query: Query, next_index: int | None) -> None:
        self._settings = settings
        self._query = query
        self._next_index = next_index
        self.has_connected = False

    async def entries(self) -> AsyncGenerator[Entry]:
        """Yields events on one connection, until that is lost."""
        async with await psycopg.AsyncConnection.connect(self._settings.conninfo, **CONNECTION) as conn:
            self.has_connected = True
            while True:
                if self._next_index is None:
                    self._next_index = await size_of_log(conn)
                chunk = await run_async(conn, read_chunk(self._query, self._next_index, MOST_EVENTS, MOST_BYTES))
                self._next_index = chunk.next_index
                for entry in chunk.entries:
                    yield entry
                if not chunk.is_full:
                    await asyncio.sleep(self._settings.poll_interval)


async def size_of_log(conn: psycopg.AsyncConnection[Any]) -> int:
    """Returns the index of the next event that is appended."""
    async with psycopg.AsyncCursor(conn, row_factory=scalar_row) as cursor:
        await cursor.execute(SIZE)
        size: int = await cursor.fetchone() or 0
    return size
