"""Streams in tests: a destination that does as it is told, and sending without a worker."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from pgaudit import AuditLog, Settings
from pgaudit.streams import positions
from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.outcomes import DeliveryFailed, EventsRefused, Receipt
from pgaudit.streams.shipping import Shipper
from pgaudit.streams.stream_thread import StreamThread
from pgaudit.streams.throttle import Throttle
from pgaudit.testing import run_worker_once
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from pgaudit.trail.entry import Entry
from tests.support.events import events


@dataclass
class Receiver(BaseDestination):
    """A destination in the test's memory: it takes events, refuses some of them, or fails.

    :ivar chunks: the size of each chunk that it has taken.
    :ivar poison: the indexes that it refuses, each together with all that is sent with it.
    :ivar failure: what it raises instead of taking anything.
    :ivar seconds: that it takes for an answer.
    """

    limits: Limits = field(default_factory=Limits)
    taken: list[int] = field(default_factory=list[int])
    chunks: list[int] = field(default_factory=list[int])
    poison: set[int] = field(default_factory=set[int])
    failure: DeliveryFailed | None = None
    seconds: float = 0.0
    closed: bool = False

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Takes all of the events, or none."""
        time.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        if any(entry.index in self.poison for entry in entries):
            raise EventsRefused("poison")
        self.taken += [entry.index for entry in entries]
        self.chunks.append(len(entries))
        return Receipt(sum(len(entry.text) for entry in entries))

    def close(self) -> None:
        """Notes that it was closed."""
        self.closed = True


def ship(dsn: str, name: str, receiver: Receiver, settings: Settings | None = None) -> None:
    """Sends what a stream has to a receiver, as a worker does, until there is nothing more to send now."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        shipment = Shipper(conn, receiver, settings or Settings(dsn=dsn, job_backoff_delay=0))
        while (due := positions.look(conn, name)) and shipment.ship(due):
            pass


def lines(directory: Path) -> list[dict[str, Any]]:
    """Returns what the files of a directory have, in the order of their names."""
    return [json.loads(line) for path in sorted(directory.glob("*.ndjson")) for line in path.read_text().splitlines()]


def send_all(dsn: str, name: str, settings: Settings | None = None) -> None:
    """Sends what a stream has to its own destination, as a worker does."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        thread = StreamThread(conn, name, settings or Settings(dsn=dsn), threading.Event(), Throttle())
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
