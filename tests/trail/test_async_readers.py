"""Asynchronous readers find the same as the others, through each library."""

from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import trail
from pgaudit.errors import UnknownConnection
from tests.support.drivers import ASYNC, psycopg_async

QUERIES = (
    "",
    "target:claim:1 -outcome:success",
    "action:claim.*,user.login tenant:north,south",
    'data:{"amount": "10.50"} after:1d',
    "request:r-1",
    "data.n:3 actor:user:*",
)
OPENED = ASYNC | {"psycopg": psycopg_async}


async def read(conn: Any, first: trail.Entry) -> list[Any]:
    """Returns what each asynchronous reader finds."""
    pages = [await trail.search_async(conn, query, limit=20) for query in QUERIES]
    older = await trail.search_async(conn, after=pages[0].next, limit=20)
    events = [await trail.find_async(conn, first.index), await trail.find_async(conn, first.event_id)]
    thing, person = await trail.timeline_async(conn, "claim:1"), await trail.actor_timeline_async(conn, "user:1")
    return [pages, older, events, thing.moments, person.moments]


@pytest.mark.parametrize("library", OPENED)
async def test_a_reader_finds_the_same_through_each_library(log: psycopg.Connection, library: str) -> None:
    """Pages, events and timelines are those of the synchronous readers; jsonb may have a codec of the application."""
    pages = [trail.search(log, query, limit=20) for query in QUERIES]
    first = pages[0].entries[0]
    thing, person = trail.timeline(log, "claim:1"), trail.actor_timeline(log, "user:1")
    older = trail.search(log, after=pages[0].next, limit=20)
    expected = [pages, older, [first, first], thing.moments, person.moments]
    info = log.info
    dsn = make_conninfo(host=info.host, port=info.port, user=info.user, dbname=info.dbname)
    async with OPENED[library](dsn) as conn:
        assert await read(conn, first) == expected


async def test_a_synchronous_connection_is_refused_with_a_sentence(log: psycopg.Connection) -> None:
    """The error says what to pass, and that there is a function without _async."""
    with pytest.raises(UnknownConnection, match=r"Connection is not an asynchronous connection .* without _async"):
        await trail.search_async(log)
