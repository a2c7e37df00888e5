"""Servers of a test's own, for settings that the shared server does not have."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

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


def back_up(server: TemporaryServer) -> Path:
    """Stops a server, copies its data as an operator may, and starts it again. Returns the copy, for ``restore``."""
    copy = server.home / "backup"
    server.halt()
    copy_data(server.home / "data", copy)
    server.start()
    return copy


def restore(server: TemporaryServer, copy: Path) -> None:
    """Stops a server, and starts it with the data of a copy instead of its own."""
    server.halt()
    rmtree(server.home / "data")
    copy_data(copy, server.home / "data")
    server.start()


def copy_data(source: Path, target: Path) -> None:
    """Copies the files of a server that is stopped, with their owner."""
    subprocess.run(["cp", "--archive", str(source), str(target)], check=True)
