"""Reading through the application's connection: the psycopg connection below it, and cursors that do not depend on it.

A reader sends nothing but its query. It neither commits, rolls back nor flushes, and changes no setting of the
connection: row factory, cursor class and loaders are those of a cursor of its own.
"""

import inspect
import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import RowFactory
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import set_json_loads

from pgaudit._db_errors import add_remedy
from pgaudit.errors import UnknownConnection

_Row = TypeVar("_Row")
_AnyCursor = TypeVar("_AnyCursor", psycopg.Cursor[Any], psycopg.AsyncCursor[Any])

STEPS: Final = 4  # a SQLAlchemy session, its connection, its pool's, psycopg's
LONGEST_INT: Final = 4_300  # digits
READABLE: Final = (
    "pass a psycopg Connection or cursor, a SQLAlchemy Connection or Session, or Django's connection, all of them on "
    "psycopg 3, such as psycopg.connect(Settings().conninfo)"
)
ASYNCHRONOUS: Final = (
    "is asynchronous: this needs a synchronous connection of its own, in a thread (`await asyncio.to_thread(...)`); "
    "for health there is `await health.check_async(conn)`"
)
AWAITABLE: Final = (
    "is no asynchronous connection of psycopg: pass an AsyncConnection of psycopg; below SQLAlchemy's on psycopg it is "
    "(await conn.get_raw_connection()).driver_connection"
)


def driver_of(conn: object) -> psycopg.Connection[Any]:
    """Returns the psycopg connection itself, or the one of a cursor, of Django or of SQLAlchemy.

    :raises UnknownConnection: there is none below it, or it is asynchronous.
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
    """Returns the asynchronous connection of psycopg itself, or the one of a cursor.

    :raises UnknownConnection: it is neither.
    """
    below = conn.connection if isinstance(conn, psycopg.AsyncCursor) else conn
    if not isinstance(below, psycopg.AsyncConnection):
        raise unknown(conn, AWAITABLE)
    return below  # pyright: ignore[reportUnknownVariableType] - as above


def unknown(conn: object, why: str) -> UnknownConnection:
    """Returns the error for a connection that cannot be read through."""
    return UnknownConnection(f"{conn.__class__.__name__} {why}")


def is_asynchronous(conn: object) -> bool:
    """Returns whether it is of asyncio: SQLAlchemy's has no connection to ask for, and asyncpg's none below it."""
    return hasattr(conn, "__aenter__") or conn.__class__.__module__.partition(".")[0] == "asyncpg"


def next_below(conn: Any) -> object:
    """Returns what the connection is made of; None when it does not say."""
    if hasattr(conn, "ensure_connection"):  # Django's: its cursor connects when it has to, and checks who may use it
        with conn.cursor() as cursor:
            return cursor.connection
    below = getattr(conn, "driver_connection", None) or getattr(conn, "connection", None)
    if inspect.iscoroutinefunction(below):
        return None
    return below() if inspect.ismethod(below) else below


def reading(conn: Any) -> psycopg.Connection[Any]:
    """Returns the connection to read through; a Connection of SQLAlchemy begins, as for a statement of its own."""
    sqlalchemy = sys.modules.get("sqlalchemy")
    if sqlalchemy and isinstance(conn, sqlalchemy.Connection) and not conn.in_transaction():
        conn.begin()
    return driver_of(conn)


@contextmanager
def undone_on_error(conn: object) -> Generator[psycopg.Connection[Any]]:
    """Yields the connection to change something with: what the block does is undone when it raises.

    It is a savepoint in the application's transaction, or a transaction where there is none. For SQLAlchemy there is
    one before Postgres has heard of it: a statement begins it.
    """
    driver = reading(conn)
    of_library = not isinstance(conn, psycopg.Connection | psycopg.Cursor)
    if of_library and not driver.autocommit and driver.info.transaction_status == TransactionStatus.IDLE:
        psycopg.Cursor(driver).execute("SELECT")
    with driver.transaction():
        yield driver


def fetch(
    driver: psycopg.Connection[Any],
    rows: RowFactory[_Row],
    query: LiteralString,
    parameters: Sequence[object] | dict[str, object] | None = None,
) -> list[_Row]:
    """Returns the rows of a query, each as the factory makes it."""
    try:
        with psycopg.Cursor(driver, row_factory=rows) as cursor:
            return plain(cursor).execute(query, parameters).fetchall()
    except psycopg.Error as error:
        add_remedy(error)
        raise


def plain(cursor: _AnyCursor) -> _AnyCursor:
    """Lets a cursor load values in psycopg's own way, and returns it: Django reads JSON as text, for example."""
    cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
    set_json_loads(loads, cursor)
    return cursor


def loads(document: str | bytes) -> Any:
    """Parses JSON of Postgres: an event inserted by hand may have numbers too long for Python's integers."""
    return json.loads(document, parse_int=lambda digits: int(digits) if len(digits) < LONGEST_INT else Decimal(digits))
