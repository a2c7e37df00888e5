"""Fixtures of the tests of streams."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server


@pytest.fixture
def backup(server: Server, dsn: str) -> Iterator[Callable[[], str]]:
    """A function that copies the database as it is now, as an older backup; returns the DSN of the copy."""
    with ExitStack() as stack:

        def copied() -> str:
            name = str(conninfo_to_dict(dsn)["dbname"])
            return stack.enter_context(fresh_database(server, template=name)).dsn

        yield copied


@pytest.fixture
def admin(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection of the owner, in autocommit mode."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn
