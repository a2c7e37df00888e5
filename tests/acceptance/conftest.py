"""A server of the test's own."""

from collections.abc import Generator

import pytest

from pgaudit import migrate
from tests.support.crashable_server import CrashableServer


@pytest.fixture
def own_server() -> Generator[CrashableServer]:
    """A migrated server for this test alone."""
    server = CrashableServer()
    try:
        migrate.upgrade(server.conninfo)
        yield server
    finally:
        server.stop()
