"""Transactions of each library that ``record`` takes, driven alike."""

import json
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import psycopg
from django.db import connections as django_connections
from django.db import transaction as django_transaction
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from pgaudit.testing.database import url_of
from tests.support import django_project


@contextmanager
def plain_psycopg(dsn: str) -> Generator[Any]:
    """Yields a psycopg connection."""
    with psycopg.connect(dsn) as conn:
        yield conn


@contextmanager
def psycopg_cursor(dsn: str) -> Generator[Any]:
    """Yields a cursor of a psycopg connection in autocommit, inside a transaction block."""
    with psycopg.connect(dsn, autocommit=True) as conn, conn.transaction(), conn.cursor() as cursor:
        yield cursor


@contextmanager
def alchemy(dsn: str, kind: Callable[..., Any]) -> Generator[Any]:
    """Yields a SQLAlchemy Connection or Session in a transaction that ends with the block."""
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    try:
        with kind(engine) as conn, conn.begin():
            yield conn
    finally:
        engine.dispose()


@contextmanager
def django(dsn: str) -> Generator[Any]:
    """Yields a Django connection inside transaction.atomic()."""
    info = psycopg.conninfo.conninfo_to_dict(dsn)
    django_project.configure()
    conn = django_connections["default"]
    conn.close()
    conn.settings_dict.update(NAME=info["dbname"], USER=info["user"], HOST=info["host"], PORT=info["port"])
    try:
        with django_transaction.atomic(using="default"):
            yield conn
    finally:
        conn.close()


SYNC: dict[str, Callable[[str], Any]] = {
    "psycopg": plain_psycopg,
    "psycopg cursor": psycopg_cursor,
    "sqlalchemy connection": lambda dsn: alchemy(dsn, lambda engine: engine.connect()),
    "sqlalchemy session": lambda dsn: alchemy(dsn, Session),
    "django": django,
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
async def async_psycopg(dsn: str) -> AsyncGenerator[Any]:
    """Yields an asynchronous psycopg connection."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        yield conn


@asynccontextmanager
async def async_alchemy(dsn: str, driver: str, kind: Callable[..., Any]) -> AsyncGenerator[Any]:
    """Yields an AsyncConnection or AsyncSession in a transaction that ends with the block."""
    engine = create_async_engine(url_of(dsn, f"postgresql+{driver}"))
    try:
        async with kind(engine) as conn, conn.begin():
            yield conn
    finally:
        await engine.dispose()


@asynccontextmanager
async def plain_asyncpg(dsn: str) -> AsyncGenerator[Any]:
    """Yields an asyncpg connection, its jsonb encoded by a codec of the application's own."""
    conn = await asyncpg.connect(url_of(dsn))
    try:
        await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        async with conn.transaction():
            yield conn
    finally:
        await conn.close()


ASYNC: dict[str, Callable[[str], Any]] = {
    "psycopg": async_psycopg,
    "sqlalchemy connection": lambda dsn: async_alchemy(dsn, "asyncpg", lambda engine: engine.connect()),
    "sqlalchemy session": lambda dsn: async_alchemy(dsn, "psycopg", AsyncSession),
    "asyncpg": plain_asyncpg,
}


@asynccontextmanager
async def async_savepoint(conn: Any) -> AsyncGenerator[None]:
    """Opens a savepoint, as the library does."""
    async with conn.begin_nested() if hasattr(conn, "begin_nested") else conn.transaction():
        yield


async def async_execute(conn: Any, statement: str) -> None:
    """Executes a statement, as the library does."""
    await conn.execute(text(statement) if hasattr(conn, "begin_nested") else statement)
