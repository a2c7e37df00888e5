"""Servers of a test's own, for settings that the shared server does not have."""

from collections.abc import Iterator
from contextlib import contextmanager

from pgaudit import migrate
from pgaudit.testing.server import TemporaryServer


@contextmanager
def migrated_server(**settings: str | int) -> Iterator[TemporaryServer]:
    """Starts a server with these settings, migrates its database, and removes the server after the block."""
    server = TemporaryServer(None, **settings)
    try:
        migrate.upgrade(server.conninfo)
        yield server
    finally:
        server.stop()
