"""The ``conftest.py`` of a suite that has a database of its own, and commits to it."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from pgaudit.testing import empty_trail, prepare_database


@pytest.fixture(scope="session")
def owner_dsn() -> str:
    """The DSN of the owner: it creates the schema, once."""
    dsn = os.environ["TEST_DSN"]
    prepare_database(dsn)
    return dsn


@pytest.fixture
def conn(owner_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection; the trail is empty when a test begins."""
    with psycopg.connect(owner_dsn) as conn:
        empty_trail(conn)
        yield conn
