"""A server of the test's own."""

from collections.abc import Generator

import pytest

from pgaudit import migrate
from pgaudit.testing.server import TemporaryServer


@pytest.fixture
def own_server() -> Generator[TemporaryServer]:
    """A migrated server for this test alone."""
    server = TemporaryServer()
    try:
        migrate.upgrade(server.conninfo)
        yield server
    finally:
        server.stop()
