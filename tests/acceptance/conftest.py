"""A server that a test may crash, stop and start."""

from collections.abc import Generator

import pytest

from pgaudit import migrate
from pgaudit.testing.server import TemporaryServer


@pytest.fixture
def own_server() -> Generator[TemporaryServer]:
    """A server for this test alone."""
    server = TemporaryServer()
    try:
        migrate.upgrade(server.conninfo)
        yield server
    finally:
        server.stop()
