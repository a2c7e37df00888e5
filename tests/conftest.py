"""Fixtures: one server for the whole run, and for each test a database of its own, migrated."""

from collections.abc import Iterator

import psycopg
import pytest

from pgaudit import Settings
from pgaudit.testing.copies import fresh_database, migrated_server
from pgaudit.testing.server import Server
from tests.support.processors import no_others


@pytest.fixture
def anyio_backend() -> str:
    """Procrastinate and psycopg run on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _only_processors_of_the_test() -> Iterator[None]:
    """Workers in a test run no processors that another one has declared."""
    with no_others():
        yield


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server of the version that PGAUDIT_TEST_PG names, with a migrated database to copy."""
    with migrated_server() as server:
        yield server


@pytest.fixture
def empty_dsn(server: Server) -> Iterator[str]:
    """An empty database."""
    with fresh_database(server, template="template1") as database:
        yield database.dsn


@pytest.fixture
def dsn(server: Server) -> Iterator[str]:
    """A migrated database, its log and queue empty."""
    with fresh_database(server) as database:
        yield database.dsn


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection to the migrated database, in the driver's default (transactional) mode."""
    with psycopg.connect(dsn) as conn:
        yield conn


@pytest.fixture
def settings(dsn: str) -> Settings:
    """Settings for the migrated database."""
    return Settings(dsn=dsn)
