"""Reads through the application's connection: finds the psycopg connection below it, and opens cursors on that.

A reader sends only its query. It never commits, rolls back or flushes, and it changes no setting of the connection:
its cursor has its own row factory, class and loaders.
"""

import inspect
import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import RowFactory
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import set_json_loads

from pgaudit._db_errors import add_remedy
from pgaudit._exact_json import parse_int
from pgaudit.errors import UnknownConnection

_Row = TypeVar("_Row")
_AnyCursor = TypeVar("_AnyCursor", psycopg.Cursor[Any], psycopg.AsyncCursor[Any])

STEPS: Final = 4  # SQLAlchemy: Session, Connection, the connection of its pool, the connection of psycopg
READABLE: Final = (
    "pass a psycopg Connection or cursor, a SQLAlchemy Connection or Session, or Django's connection, all of them on "
    "psycopg 3, such as psycopg.connect(Settings().conninfo)"
)
ASYNCHRONOUS: Final = (
    "is asynchronous: this needs a synchronous connection of its own, in a thread (`await asyncio.to_thread(...)`); "
    "for health there is `await health.check_async(conn)`"
)
AWAITABLE: Final = (
    "is not an AsyncConnection of psycopg: pass one; SQLAlchemy's AsyncConnection on psycopg has it as "
    "(await conn.get_raw_connection()).driver_connection"
)

DECODER: Final = json.JSONDecoder(parse_int=parse_int)  # json.loads would make one for each document


def driver_of(conn: object) -> psycopg.Connection[Any]:
    """Returns the psycopg connection: the argument itself, or the one below a cursor, or below Django or SQLAlchemy.

    :raises UnknownConnection: ``conn`` is asynchronous, or has no psycopg connection below it.
    """
    below = conn
    for _ in range(STEPS):
        if isinstance(below, psycopg.Connection):
            return below  # pyright: ignore[reportUnknownVariableType] - isinstance() leaves open what rows it returns
        if is_asynchronous(below):
            raise unknown(conn, ASYNCHRONOUS)
        below = next_below(below)
    raise unknown(conn, f"has no synchronous psycopg connection below it: {READABLE}")


def async_driver_of(conn: object) -> psycopg.AsyncConnection[Any]:
    """Returns the AsyncConnection of psycopg: the argument itself, or the one of a cursor.

    :raises UnknownConnection: ``conn`` is neither.
    """
    below = conn.connection if isinstance(conn, psycopg.AsyncCursor) else conn
    if not isinstance(below, psycopg.AsyncConnection):
        raise unknown(conn, AWAITABLE)
    return below  # pyright: ignore[reportUnknownVariableType] - as above


def unknown(conn: object, why: str) -> UnknownConnection:
    """Returns the error for a connection that cannot be read through."""
    return UnknownConnection(f"{conn.__class__.__name__} {why}")


def is_asynchronous(conn: object) -> bool:
    """Returns whether the connection is for asyncio: that of psycopg, SQLAlchemy or asyncpg."""
    return hasattr(conn, "__aenter__") or conn.__class__.__module__.partition(".")[0] == "asyncpg"


def next_below(conn: Any) -> object:
    """Returns the connection that this one wraps; None if it has no such attribute."""
    if hasattr(conn, "ensure_connection"):  # Django's: cursor() connects if necessary, and checks the thread
        with conn.cursor() as cursor:
            return cursor.connection
    below = getattr(conn, "driver_connection", None) or getattr(conn, "connection", None)
    if inspect.iscoroutinefunction(below):
        return None
    return below() if inspect.ismethod(below) else below


def reading(conn: Any) -> psycopg.Connection[Any]:
    """Returns the psycopg connection to read through. A SQLAlchemy Connection begins a transaction first, as usual.

    :raises UnknownConnection: ``conn`` is asynchronous, or has no psycopg connection below it.
    """
    sqlalchemy = sys.modules.get("sqlalchemy")
    if sqlalchemy and isinstance(conn, sqlalchemy.Connection) and not conn.in_transaction():
        conn.begin()
    return driver_of(conn)


@contextmanager
def undone_on_error(conn: object) -> Generator[psycopg.Connection[Any]]:
    """Yields the psycopg connection, and rolls back the changes of the block when it raises.

    The block is a savepoint in the application's transaction, or a transaction of its own if there is none. SQLAlchemy
    and Django are in a transaction before Postgres is: then an empty statement begins it, so that the block is a
    savepoint and does not commit.
    """
    driver = reading(conn)
    is_wrapped = not isinstance(conn, psycopg.Connection | psycopg.Cursor)
    if is_wrapped and not driver.autocommit and driver.info.transaction_status == TransactionStatus.IDLE:
        psycopg.Cursor(driver).execute("SELECT")
    with driver.transaction():
        yield driver


def fetch(
    driver: psycopg.Connection[Any],
    rows: RowFactory[_Row],
    query: LiteralString,
    parameters: Sequence[object] | dict[str, object] | None = None,
) -> list[_Row]:
    """Returns the rows of a query, made by the row factory.

    :raises psycopg.Error: with a note of the remedy, if the schema or a right is missing.
    """
    try:
        with psycopg.Cursor(driver, row_factory=rows) as cursor:
            return (
                plain(cursor).execute(query, parameters, prepare=False).fetchall()
            )  # a generic plan locks all partitions
    except psycopg.Error as error:
        add_remedy(error)
        raise


def plain(cursor: _AnyCursor) -> _AnyCursor:
    """Gives a cursor psycopg's default loaders, and returns it. Django's connection, for one, reads JSON as text."""
    cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
    set_json_loads(loads, cursor)
    return cursor


def loads(document: str | bytes) -> Any:
    """Parses JSON. Integers too long for Python, which an event inserted by hand may have, become Decimals."""
    return DECODER.decode(document if isinstance(document, str) else document.decode())
