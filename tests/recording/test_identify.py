"""identify(conn): what is bound becomes known to the triggers of the transaction."""

import json
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import pytest
from django.db import connections as django_connections
from psycopg.rows import namedtuple_row
from sqlalchemy import create_engine

from pgaudit import InvalidEvent, NotInTransaction, UnknownConnection, bind, identify, identify_async
from pgaudit.recording.connections import async_transaction_of, transaction_of
from pgaudit.recording.context import Request
from pgaudit.testing.database import url_of
from tests.support import drivers, told, transactions

READ = "SELECT coalesce(current_setting('audit.context', true), '')"
Open = Callable[[str], Any]
SYNC = pytest.mark.parametrize("opened", transactions.SYNC.values(), ids=transactions.SYNC)
ASYNC = pytest.mark.parametrize("opened", transactions.ASYNC.values(), ids=transactions.ASYNC)


def known(conn: Any) -> str:
    """Returns what the transaction says."""
    return str(transaction_of(conn).fetch_row(READ)[0])


async def known_async(conn: Any) -> str:
    """Returns what the transaction says."""
    return str((await (await async_transaction_of(conn)).fetch_row(READ))[0])


@SYNC
def test_a_transaction_knows_what_was_bound(dsn: str, opened: Open) -> None:
    """Actor, tenant and context, as events that are recorded there inherit them; until it is told something else."""
    with opened(dsn) as conn:
        with bind(actor="user:1", request_id="r-1"), bind(actor="user:é", tenant="acme"):
            identify(conn)
        assert json.loads(known(conn)) == {
            "actor": {"type": "user", "id": "é"},
            "tenant": "acme",
            "context": {"request_id": "r-1"},
        }
        identify(conn)
        assert known(conn) == ""


@SYNC
def test_what_is_given_wins(dsn: str, opened: Open) -> None:
    """Values of the call are added to what is bound."""
    with opened(dsn) as conn, bind(actor="user:1", request_id="r-1"):
        identify(conn, actor="service:import", correlation_id="b-7")
        said = json.loads(known(conn))
        assert said["actor"] == {"type": "service", "id": "import"}
        assert said["context"] == {"request_id": "r-1", "correlation_id": "b-7"}


@SYNC
def test_a_savepoint_that_is_rolled_back_takes_its_identity_with_it(dsn: str, opened: Open) -> None:
    """What was known at its start is known again."""
    with opened(dsn) as conn:
        identify(conn, actor="user:1")
        with pytest.raises(drivers.RollBack), transactions.savepoint(conn):
            identify(conn, actor="user:2")
            assert told.actor_of(known(conn)) == "user:2"
            raise drivers.RollBack
        assert told.actor_of(known(conn)) == "user:1"


@ASYNC
@pytest.mark.anyio
async def test_an_asynchronous_transaction_knows_it(dsn: str, opened: Open) -> None:
    """The same, and an actor that has to be awaited."""

    async def lookup() -> str:
        return "user:7"

    async with opened(dsn) as conn:
        with Request({"request_id": "r-1"}, lookup_async=lookup).serving():
            await identify_async(conn, tenant="acme")
        said = json.loads(await known_async(conn))
        assert (said["actor"]["id"], said["tenant"], said["context"]) == ("7", "acme", {"request_id": "r-1"})
        with pytest.raises(drivers.RollBack):
            async with transactions.async_savepoint(conn):
                await identify_async(conn, actor="user:8")
                raise drivers.RollBack
        assert told.actor_of(await known_async(conn)) == "user:7"


def test_the_next_transaction_of_a_connection_knows_nothing(dsn: str) -> None:
    """After a commit and after a rollback; whatever rows the connection returns."""
    with psycopg.connect(dsn, row_factory=namedtuple_row) as conn:
        for end in (conn.commit, conn.rollback):
            identify(conn, actor="user:1")
            assert told.actor_of(known(conn)) == "user:1"
            end()
            assert known(conn) == ""
            end()


@pytest.mark.anyio
async def test_the_next_transaction_of_an_asyncpg_connection_knows_nothing(dsn: str) -> None:
    """Without the reset of its pool."""
    conn = await asyncpg.connect(url_of(dsn))
    async with conn.transaction():
        await identify_async(conn, actor="user:1")
        assert told.actor_of(await known_async(conn)) == "user:1"
    assert await conn.fetchval(READ) == ""
    await conn.close()


def test_the_actor_of_a_request_is_looked_up(conn: psycopg.Connection) -> None:
    """And what the lookup raises reaches the caller, as that of record does."""

    def fails() -> str:
        raise RuntimeError("no directory")

    with Request({}, lambda: "user:5").serving():
        identify(conn)
    assert told.actor_of(known(conn)) == "user:5"
    with Request({}, fails).serving(), pytest.raises(RuntimeError, match="no directory"):
        identify(conn)


def test_a_connection_outside_a_transaction_is_refused(dsn: str) -> None:
    """What it would say there would be forgotten at once."""
    engine = create_engine(url_of(dsn, "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with psycopg.connect(dsn, autocommit=True) as conn, pytest.raises(NotInTransaction, match=r"conn\.transaction"):
        identify(conn)
    with engine.connect() as other, pytest.raises(NotInTransaction, match=r"engine\.begin"):
        identify(other)
    engine.dispose()
    drivers.django_connection(dsn)
    with pytest.raises(NotInTransaction, match="atomic"):
        identify(django_connections["default"])
    django_connections["default"].close()


@pytest.mark.anyio
async def test_what_cannot_be_identified_is_refused(dsn: str) -> None:
    """An actor in the place of the connection, another kind of connection, a value that no event could hold."""
    with pytest.raises(UnknownConnection, match="str is not a connection"):
        identify("user:42")
    with pytest.raises(UnknownConnection, match="NoneType is not a connection"):
        identify(None)
    async with drivers.psycopg_async(dsn) as conn:
        with pytest.raises(UnknownConnection, match=r"await .*identify_async\(conn"):
            identify(conn)
    with psycopg.connect(dsn) as other:
        with pytest.raises(UnknownConnection, match=r"identify\(conn"):
            await identify_async(other)
        with pytest.raises(InvalidEvent, match="actor"):
            identify(other, actor="nobody")
