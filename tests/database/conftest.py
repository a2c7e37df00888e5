"""A session that the tests of ``pgaudit.record`` share: each rolls back what it does."""

from collections.abc import Iterator

import psycopg
import pytest

from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.queries import Connection


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[str]:
    """A migrated database for all tests of a module, none of which commits to it."""
    with fresh_database(server) as database:
        yield database.dsn


@pytest.fixture(scope="module")
def session(database: str) -> Iterator[Connection]:
    """One session for tests that roll back what they do."""
    with psycopg.connect(database) as conn:
        yield conn
        conn.rollback()


@pytest.fixture
def scratch(session: Connection) -> Iterator[Connection]:
    """A transaction that is rolled back at the end."""
    session.rollback()
    yield session
    session.rollback()


@pytest.fixture
def small(conn: Connection) -> Connection:
    """An empty log with partitions of 256 events; a statement that waits for a lock fails after ten seconds."""
    conn.execute("SET lock_timeout = '10s'")
    make_small_partitions_and_commit(conn)
    return conn
