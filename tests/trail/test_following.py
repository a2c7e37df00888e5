"""Following the log: every event once, in its order, through outages of the database."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import psycopg
import pytest

import pgaudit
from pgaudit import Settings
from tests.support.queries import value_in
from tests.support.streams import append
from tests.support.waiting import wait_until_async

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgaudit follow'"
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgaudit follow'"
WAITING = CONNECTED + " AND state = 'idle' AND query <> ''"


async def take(entries: AsyncGenerator[pgaudit.trail.Entry], count: int) -> list[int]:
    """Returns the indexes of the next events."""
    return [(await asyncio.wait_for(anext(entries), 20)).index for _ in range(count)]


async def test_old_and_new_events(dsn: str, settings: Settings) -> None:
    """It yields what is in the log from the index on, then what is appended."""
    append(dsn, 5)
    async with aclosing(pgaudit.stream(2, settings=settings)) as entries:
        assert await take(entries, 3) == [2, 3, 4]
        await asyncio.to_thread(append, dsn, 2)
        assert await take(entries, 2) == [5, 6]


async def test_from_now(dsn: str, settings: Settings) -> None:
    """Without an index, it begins with what is appended next."""
    append(dsn, 5)
    async with aclosing(pgaudit.stream(settings=settings)) as entries:
        first = asyncio.create_task(anext(entries))
        await wait_until_async("it has looked at the log", lambda: value_in(dsn, WAITING) == 1)
        await asyncio.to_thread(append, dsn, 1)
        assert (await asyncio.wait_for(first, 20)).index == 5


async def test_query(dsn: str, settings: Settings) -> None:
    """It yields what a query finds."""
    append(dsn, 9)
    async with aclosing(pgaudit.stream(0, "target:claim:3,claim:8", settings)) as entries:
        assert await take(entries, 2) == [3, 8]


async def test_lost_connections(dsn: str, settings: Settings) -> None:
    """Whatever happens to its connections, it yields each event once, in order."""
    async with aclosing(pgaudit.stream(0, settings=settings)) as entries:
        seen: list[int] = []
        for _ in range(5):
            await asyncio.to_thread(append, dsn, 10)
            seen += await take(entries, 10)
            with psycopg.connect(dsn) as conn:
                conn.execute(TERMINATE)
    assert seen == list(range(50))


async def test_first_connection_fails(settings: Settings) -> None:
    """A database that cannot be reached at the beginning is named at once: most probably the setting is wrong."""
    with pytest.raises(psycopg.Error):
        await anext(pgaudit.stream(0, settings=Settings(dsn=settings.dsn.replace("user=postgres", "user=nobody_here"))))


async def test_closing_ends_the_connection(dsn: str, settings: Settings) -> None:
    """A reader that leaves the loop and closes the iterator leaves no connection behind."""
    append(dsn, 1)
    async with aclosing(pgaudit.stream(0, settings=settings)) as entries:
        await take(entries, 1)
    await wait_until_async("its connection is closed", lambda: value_in(dsn, CONNECTED) == 0)
