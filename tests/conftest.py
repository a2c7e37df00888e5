"""Fixtures: one server for the whole run, and for each test a database of its own, migrated."""

from collections.abc import Iterator
from itertools import count

import psycopg
import pytest

from pgaudit import Settings, migrate
from tests.server import Server

numbers = count()
TEMPLATE = "migrated"


@pytest.fixture
def anyio_backend() -> str:
    """Procrastinate and psycopg run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server of the version that PGAUDIT_TEST_PG names, with a migrated database to copy."""
    server = Server()
    try:
        create_database(server, TEMPLATE)
        migrate.upgrade(database_conninfo(server, TEMPLATE))
        yield server
    finally:
        server.stop()


@pytest.fixture
def empty_dsn(server: Server) -> Iterator[str]:
    """An empty database."""
    yield from database(server, "template1")


@pytest.fixture
def dsn(server: Server) -> Iterator[str]:
    """A migrated database, its log and queue empty."""
    yield from database(server, TEMPLATE)


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection to the migrated database, in the driver's default (transactional) mode."""
    with psycopg.connect(dsn) as conn:
        yield conn


@pytest.fixture
def settings(dsn: str) -> Settings:
    """Settings for the migrated database."""
    return Settings(dsn=dsn)


def database(server: Server, template: str) -> Iterator[str]:
    """A database made from a template, dropped at the end, whoever is still connected."""
    name = f"test_{next(numbers)}"
    create_database(server, name, template)
    try:
        yield database_conninfo(server, name)
    finally:
        with psycopg.connect(server.conninfo, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def create_database(server: Server, name: str, template: str = "template1") -> None:
    """Creates a database from a template."""
    with psycopg.connect(server.conninfo, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


def database_conninfo(server: Server, name: str) -> str:
    """Where that database is, as libpq reads it."""
    return server.conninfo.replace("dbname=test", f"dbname={name}")
