"""Follows the log for the processors that a worker knows, and adds a job for each event that they want.

The jobs are added in the transaction that moves the position, so each event gets exactly one, whatever is killed.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import psycopg
from psycopg.rows import scalar_row, tuple_row

from pgaudit import signals
from pgaudit._db_errors import safe_summary
from pgaudit._driver import fetch
from pgaudit._reading import run
from pgaudit.processors.declaration import Processor
from pgaudit.settings import Settings
from pgaudit.streams import positions
from pgaudit.streams.positions import Connection
from pgaudit.streams.throttle import Throttle
from pgaudit.trail.chunks import Chunk, read_chunk
from pgaudit.trail.entry import Entry

logger = logging.getLogger("pgaudit.worker")

REGISTER: Final = """
    SELECT pgaudit.register_processor(%(name)s, %(query)s, %(start)s, %(concurrency)s, %(rate)s, %(break_after)s)
"""
DUE: Final = "SELECT name, backfill, next_index, end_index FROM pgaudit.due_processors(%(names)s)"
DISPATCH: Final = """
    SELECT pgaudit.dispatch_events(%(name)s, %(next_index)s, %(moved_to)s, %(indexes)s, %(unchecked)s, %(last_index)s,
                                   %(last_hash)s, %(started_at)s)
"""
DISPATCH_BACKFILL: Final = """
    SELECT pgaudit.dispatch_backfill(%(backfill)s, %(next_index)s, %(moved_to)s, %(indexes)s, %(unchecked)s)
"""
RECLAIM: Final = "SELECT job_id, processor, stalls, failed FROM pgaudit.reclaim_stalled_processor_jobs()"
REFUSED: Final = "PA003"
MOST_EVENTS: Final = 1_000  # of a chunk
MOST_BYTES: Final = 4_000_000
REGISTER_EVERY_SECONDS: Final = 60.0
LOOK_EVERY_SECONDS: Final = 0.5


@dataclass
class Dispatcher:
    """Dispatches events in a thread of its own.

    :ivar connect: returns a connection in autocommit mode, for this thread.
    :ivar reclaim_every: seconds between two looks for jobs of stalled workers.
    """

    processors: Mapping[str, Processor]
    settings: Settings
    connect: Callable[[Settings, str], Connection]
    stopping: threading.Event
    reclaim_every: float
    throttle: Throttle = field(default_factory=Throttle)
    _registered_at: float = field(default=float("-inf"), init=False)
    _reclaimed_at: float = field(default=float("-inf"), init=False)

    def run(self) -> None:
        """Dispatches until the worker stops, through outages of any length."""
        while not self.stopping.is_set():
            try:
                with self.throttle.share(), self.connect(self.settings, "pgaudit processors") as conn:
                    self.dispatch(conn)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
                logger.warning("cannot dispatch to processors, will retry: %s", safe_summary(error))
                self.stopping.wait(LOOK_EVERY_SECONDS)

    def dispatch(self, conn: Connection) -> None:
        """Dispatches chunk after chunk; gives way while the queue has a backlog."""
        used = math.inf
        while not self.stopping.is_set():
            self.keep_house(conn)
            self.throttle.wait(used, self.stopping)
            before = time.thread_time()
            more = self.dispatch_due(conn)
            used = time.thread_time() - before
            if not more:
                self.stopping.wait(LOOK_EVERY_SECONDS)

    def keep_house(self, conn: Connection) -> None:
        """Registers the processors, and takes jobs from stalled workers, when that is due."""
        now = time.monotonic()
        if now - self._registered_at >= REGISTER_EVERY_SECONDS:
            self.register(conn)
            self._registered_at = now
        if now - self._reclaimed_at >= self.reclaim_every:
            reclaim(conn)
            self._reclaimed_at = now

    def register(self, conn: Connection) -> None:
        """Says which processors this worker knows. New ones begin here."""
        for one in self.processors.values():
            given: dict[str, object] = {
                "name": one.name, "query": str(one.query), "start": one.start, "concurrency": one.concurrency,
                "rate": one.rate, "break_after": one.break_after,
            }  # fmt: skip
            try:
                fetch(conn, tuple_row, REGISTER, given)
            except Exception as error:  # noqa: BLE001 - the others are registered
                logger.warning("cannot register the processor %s, will retry: %s", one.name, reason_of(error))

    def dispatch_due(self, conn: Connection) -> bool:
        """Dispatches a chunk for each processor that is due. Returns whether one of them has moved."""
        if not self.settings.run_streams:
            return False
        moved = False
        for name, backfill, start, end in fetch(conn, tuple_row, DUE, {"names": list(self.processors)}):
            if self.stopping.is_set():
                return False
            one = self.processors[name]
            moved |= follow(conn, one) if backfill is None else fill(conn, one, backfill, start, end)
        return moved


def reason_of(error: Exception) -> str:
    """Returns why a processor could not be registered: our own sentence, if the database has one."""
    if isinstance(error, psycopg.Error) and error.sqlstate == REFUSED:
        return error.diag.message_primary or ""
    return safe_summary(error)


def follow(conn: Connection, processor: Processor) -> bool:
    """Dispatches the next chunk of the log. Returns whether there was one, and nobody else was faster."""
    started = datetime.now(UTC)
    due = positions.look(conn, processor.name)
    if due is None:
        return False
    if due.mismatch is not None:
        signals.stream_paused.send(stream=due.name, kind="mismatch", reason=due.mismatch)
        return False
    chunk = run(conn, read_chunk(processor.query, due.next_index, MOST_EVENTS, MOST_BYTES))
    if chunk.next_index <= due.next_index or positions.pause_if_hidden(conn, due, chunk.next_index):
        return False
    last = chunk.entries[-1] if chunk.entries else None
    given: dict[str, object] = wanted(processor, chunk.entries) | {
        "name": due.name, "next_index": due.next_index, "moved_to": chunk.next_index, "started_at": started,
        "last_index": last and last.index, "last_hash": last and last.leaf_hash,
    }  # fmt: skip
    return fetch(conn, scalar_row, DISPATCH, given) == [True]


def fill(conn: Connection, processor: Processor, backfill: int, start: int, end: int) -> bool:
    """Dispatches the next chunk of a backfill, which ends before the index ``end``."""
    chunk = run(conn, read_chunk(processor.query, start, MOST_EVENTS, MOST_BYTES))
    entries = [entry for entry in chunk.entries if entry.index < end]
    given: dict[str, object] = wanted(processor, entries) | {
        "backfill": backfill, "next_index": start, "moved_to": moved_to(chunk, end)
    }  # fmt: skip
    return fetch(conn, scalar_row, DISPATCH_BACKFILL, given) == [True]


def moved_to(chunk: Chunk, end: int) -> int:
    """Returns where a backfill goes on: at its end, too, if the log has nothing more to look at."""
    return min(chunk.next_index, end) if chunk.is_full else end


def wanted(processor: Processor, entries: Sequence[Entry]) -> dict[str, object]:
    """Returns the indexes of the events that a processor wants.

    One for which ``when`` raises is among them, and among those that are unchecked: its job asks again, and fails. So
    it is neither lost nor in the way of others.
    """
    indexes: list[int] = []
    unchecked: list[int] = []
    for entry in entries:
        try:
            if processor.wants(entry):
                indexes.append(entry.index)
        except Exception:  # noqa: BLE001 - see above
            indexes.append(entry.index)
            unchecked.append(entry.index)
    return {"indexes": indexes, "unchecked": unchecked}


def reclaim(conn: Connection) -> None:
    """Gives the jobs of stalled workers back."""
    for job, name, stalls, failed in fetch(conn, tuple_row, RECLAIM):
        details = {"processor": name, "job_id": job, "error_class": "JobStalled"}
        if failed:
            signals.processor_job_failed.send(**details)
        else:
            signals.processor_job_retried.send(**details, attempt=stalls, retry_in=0.0)
