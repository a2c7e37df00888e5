"""Runs the statements of a reader through any connection that ``record`` takes.

A reader is a generator: it yields statements, receives their rows, and returns its result. So that it can be written
once, it neither knows the library of the connection nor whether it is asynchronous.
"""

import re
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString, TypeVar, cast

import psycopg
from psycopg.rows import tuple_row

from pgaudit._db_errors import add_remedy
from pgaudit._driver import fetch, plain, reading, unknown

T = TypeVar("T")
PLACEHOLDER: Final = re.compile(r"%\((\w+)\)s|%%")
READABLE: Final = (
    "is not an asynchronous connection that can be read through: pass an AsyncConnection of psycopg, an "
    "AsyncConnection or AsyncSession of SQLAlchemy, or a Connection of asyncpg; for a synchronous one there is the "
    "function without _async"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A query, and the values of its placeholders, ``%(name)s``."""

    query: LiteralString
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])


Steps = Generator[Statement, Sequence[Sequence[Any]], T]


def run(conn: object, steps: Steps[T]) -> T:
    """Returns what a reader returns.

    :raises UnknownConnection: ``conn`` is asynchronous, or has no psycopg connection below it.
    """
    driver = reading(conn)
    try:
        statement = next(steps)
        while True:
            statement = steps.send(fetch(driver, tuple_row, statement.query, statement.parameters))
    except StopIteration as done:
        return cast("T", done.value)


async def run_async(conn: object, steps: Steps[T]) -> T:
    """Returns what a reader returns.

    :raises UnknownConnection: ``conn`` is synchronous, or of an unknown kind.
    """
    driver = await async_driver_of(conn)
    try:
        statement = next(steps)
        while True:
            statement = steps.send(await fetch_async(driver, statement))
    except StopIteration as done:
        return cast("T", done.value)


async def async_driver_of(conn: Any) -> Any:
    """Returns the connection of psycopg or asyncpg: the argument itself, or the one below a cursor or SQLAlchemy's."""
    sqlalchemy = sys.modules.get("sqlalchemy.ext.asyncio")
    if sqlalchemy and isinstance(conn, sqlalchemy.async_scoped_session):
        conn = conn()
    if sqlalchemy and isinstance(conn, sqlalchemy.AsyncSession):
        conn = await conn.connection()
    if sqlalchemy and isinstance(conn, sqlalchemy.AsyncConnection):
        if not conn.in_transaction():
            await conn.begin()
        conn = (await conn.get_raw_connection()).driver_connection
    if isinstance(conn, psycopg.AsyncCursor):
        conn = conn.connection
    if isinstance(conn, psycopg.AsyncConnection) or is_of_asyncpg(conn):
        return conn  # pyright: ignore[reportUnknownVariableType] - isinstance() leaves open what rows it returns
    raise unknown(conn, READABLE)


def is_of_asyncpg(conn: object) -> bool:
    """Returns whether this is a connection of asyncpg, or the one that its pool hands out."""
    asyncpg = sys.modules.get("asyncpg")
    return asyncpg is not None and isinstance(conn, asyncpg.Connection | asyncpg.pool.PoolConnectionProxy)


async def fetch_async(driver: Any, statement: Statement) -> Sequence[Sequence[Any]]:
    """Returns the rows of a statement.

    :raises psycopg.Error: or asyncpg's error, with a note of the remedy if the schema or a right is missing.
    """
    try:
        if is_of_asyncpg(driver):
            query, values = numbered(statement)
            return [tuple(row) for row in await driver.fetch(query, *values)]
        async with psycopg.AsyncCursor(driver, row_factory=tuple_row) as cursor:
            await plain(cursor).execute(statement.query, statement.parameters, prepare=False)
            return await cursor.fetchall()
    except Exception as error:
        add_remedy(error)
        raise


def numbered(statement: Statement) -> tuple[str, list[Any]]:
    """Returns the query with the placeholders of asyncpg, ``$1``, and their values.

    >>> numbered(Statement("SELECT %(a)s, %(b)s, %(a)s", {"a": 1, "b": 2}))
    ('SELECT $1, $2, $1', [1, 2])
    """
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] is None:
            return "%"
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return PLACEHOLDER.sub(number, statement.query), [statement.parameters[name] for name in names]
