"""Transactions of each library that ``record`` takes, driven alike."""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from django.db import transaction as django_transaction
from sqlalchemy import text

from tests.support import drivers


@contextmanager
def psycopg_connection(dsn: str) -> Generator[Any]:
    """Yields a psycopg connection."""
    with psycopg.connect(dsn) as conn:
        yield conn


@contextmanager
def psycopg_cursor(dsn: str) -> Generator[Any]:
    """Yields a cursor of a psycopg connection in autocommit, inside a transaction block."""
    with psycopg.connect(dsn, autocommit=True) as conn, conn.transaction(), conn.cursor() as cursor:
        yield cursor


SYNC: dict[str, Callable[[str], Any]] = {
    "psycopg": psycopg_connection,
    "psycopg cursor": psycopg_cursor,
    "sqlalchemy connection": drivers.SYNC["connection"],
    "sqlalchemy session": drivers.SYNC["session"],
    "django": drivers.SYNC["django"],
}
ASYNC: dict[str, Callable[[str], Any]] = {
    "psycopg": drivers.psycopg_async,
    "sqlalchemy connection": drivers.ASYNC["asyncpg connection"],
    "sqlalchemy session": drivers.ASYNC["psycopg session"],
    "asyncpg": drivers.ASYNC["asyncpg"],
}


@contextmanager
def savepoint(conn: Any) -> Generator[None]:
    """Opens a savepoint, as the library does."""
    if hasattr(conn, "begin_nested"):
        opened = conn.begin_nested()
    elif hasattr(conn, "vendor"):
        opened = django_transaction.atomic()
    else:
        opened = getattr(conn, "connection", conn).transaction()
    with opened:
        yield


def execute(conn: Any, statement: str) -> None:
    """Executes a statement, as the library does."""
    if hasattr(conn, "vendor"):
        with conn.cursor() as cursor:
            cursor.execute(statement)
    else:
        conn.execute(text(statement) if hasattr(conn, "begin_nested") else statement)


@asynccontextmanager
async def async_savepoint(conn: Any) -> AsyncGenerator[None]:
    """Opens a savepoint, as the library does."""
    async with conn.begin_nested() if hasattr(conn, "begin_nested") else conn.transaction():
        yield


async def async_execute(conn: Any, statement: str) -> None:
    """Executes a statement, as the library does."""
    await conn.execute(text(statement) if hasattr(conn, "begin_nested") else statement)
