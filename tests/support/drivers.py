"""Connections of every driver and framework, each in a transaction that ends with its block."""

import json
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import psycopg
from django.db import connections as django_connections
from django.db import transaction as django_transaction
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from pgaudit.testing.database import url_of
from tests.support import django_project


class RollBack(Exception):
    """Ends the transaction or savepoint in which a test raises it."""


@contextmanager
def sqlalchemy_sync(dsn: str, kind: Callable[..., Any]) -> Generator[Any]:
    """Opens a SQLAlchemy Connection or Session."""
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    try:
        with kind(engine) as conn, conn.begin():
            yield conn
    finally:
        engine.dispose()


@contextmanager
def django_atomic(dsn: str) -> Generator[Any]:
    """Opens Django's default connection inside transaction.atomic()."""
    conn = django_connection(dsn)
    try:
        with django_transaction.atomic(using="default"):
            yield conn
    finally:
        conn.close()


def django_connection(dsn: str) -> Any:
    """Returns Django's default connection, pointed at that database."""
    info = conninfo_to_dict(dsn)
    django_project.configure()
    conn = django_connections["default"]
    conn.close()
    conn.settings_dict.update(NAME=info["dbname"], USER=info["user"], HOST=info["host"], PORT=info["port"])
    return conn


@asynccontextmanager
async def sqlalchemy_async(dsn: str, driver: str, kind: Callable[..., Any]) -> AsyncGenerator[Any]:
    """Opens an AsyncConnection or AsyncSession."""
    engine = create_async_engine(url_of(dsn, f"postgresql+{driver}"))
    try:
        async with kind(engine) as conn, conn.begin():
            yield conn
    finally:
        await engine.dispose()


@asynccontextmanager
async def plain_asyncpg(dsn: str) -> AsyncGenerator[Any]:
    """Opens an asyncpg connection whose jsonb has a codec of the application."""
    conn = await asyncpg.connect(url_of(dsn))
    try:
        await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        async with conn.transaction():
            yield conn
    finally:
        await conn.close()


@asynccontextmanager
async def psycopg_async(dsn: str) -> AsyncGenerator[Any]:
    """Opens an asynchronous psycopg connection."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        yield conn


SYNC: dict[str, Callable[[str], Any]] = {
    "connection": lambda dsn: sqlalchemy_sync(dsn, lambda engine: engine.connect()),
    "session": lambda dsn: sqlalchemy_sync(dsn, Session),
    "django": django_atomic,
}
ASYNC: dict[str, Callable[[str], Any]] = {
    "psycopg connection": lambda dsn: sqlalchemy_async(dsn, "psycopg", lambda engine: engine.connect()),
    "psycopg session": lambda dsn: sqlalchemy_async(dsn, "psycopg", AsyncSession),
    "asyncpg connection": lambda dsn: sqlalchemy_async(dsn, "asyncpg", lambda engine: engine.connect()),
    "asyncpg session": lambda dsn: sqlalchemy_async(dsn, "asyncpg", AsyncSession),
    "asyncpg": plain_asyncpg,
}
