"""Streams in tests: what a directory has, and sending without a worker."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from pgaudit import AuditLog, Settings
from pgaudit.streams.runner import StreamThread
from pgaudit.testing import run_worker_once
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.events import events


def lines(directory: Path) -> list[dict[str, Any]]:
    """Returns what the files of a directory have, in the order of their names."""
    return [json.loads(line) for path in sorted(directory.glob("*.ndjson")) for line in path.read_text().splitlines()]


def send_all(dsn: str, name: str, settings: Settings | None = None) -> None:
    """Sends what a stream has, as a worker does."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        thread = StreamThread(conn, name, settings or Settings(dsn=dsn), threading.Event())
        while thread.step():
            pass
        thread.close()


def append(dsn: str, count: int) -> None:
    """Appends that many events to the log: one about each claim, from claim 0 on."""
    with psycopg.connect(dsn) as conn:
        AuditLog(Settings(dsn=dsn)).record(conn, *events(count))
        conn.commit()
        run_worker_once(conn)


@contextmanager
def fresh_directory(server: Server) -> Iterator[tuple[str, Path]]:
    """Yields the DSN of a new database, and a new directory: for each example of a property."""
    with fresh_database(server) as database, TemporaryDirectory() as directory:
        yield database.dsn, Path(directory)
