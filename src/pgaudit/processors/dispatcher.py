"""The thread of a worker that dispatches events to processors, and registers these."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg.rows import tuple_row

from pgaudit import signals
from pgaudit._db_errors import is_infrastructure, safe_summary
from pgaudit._driver import fetch
from pgaudit.processors.declaration import Processor
from pgaudit.processors.dispatching import dispatch_backfill, dispatch_log
from pgaudit.settings import Settings
from pgaudit.streams.positions import Connection
from pgaudit.streams.throttle import Throttle

logger = logging.getLogger("pgaudit.worker")
REGISTER: Final = """
    SELECT pgaudit.register_processor(%(name)s, %(query)s, %(start)s, %(concurrency)s, %(rate)s, %(break_after)s)
"""
DUE: Final = "SELECT name, backfill, next_index, end_index FROM pgaudit.due_processors(%(names)s)"
RECLAIM: Final = "SELECT job_id, processor, stalls, failed FROM pgaudit.reclaim_stalled_processor_jobs()"
REFUSED: Final = "PA003"
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
            self.run_maintenance(conn)
            self.throttle.wait(used, self.stopping)
            before = time.thread_time()
            more = self.dispatch_due(conn)
            used = time.thread_time() - before
            if not more:
                self.stopping.wait(LOOK_EVERY_SECONDS)

    def run_maintenance(self, conn: Connection) -> None:
        """Registers the processors, and takes jobs from stalled workers, when that is due."""
        now = time.monotonic()
        if now - self._registered_at >= REGISTER_EVERY_SECONDS:
            self.register(conn)
            self._registered_at = now
        if now - self._reclaimed_at >= self.reclaim_every:
            reclaim(conn)
            self._reclaimed_at = now

    def register(self, conn: Connection) -> None:
        """Registers the processors of this worker in the database; a new one gets its first position."""
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
            try:
                moved |= (
                    dispatch_log(conn, one) if backfill is None else dispatch_backfill(conn, one, backfill, start, end)
                )
            except Exception as error:
                if is_infrastructure(error):
                    raise
                logger.warning("cannot dispatch to the processor %s, will retry: %s", name, safe_summary(error))
        return moved


def reason_of(error: Exception) -> str:
    """Returns why a processor could not be registered: our own sentence, if the database has one."""
    if isinstance(error, psycopg.Error) and error.sqlstate == REFUSED:
        return error.diag.message_primary or ""
    return safe_summary(error)


def reclaim(conn: Connection) -> None:
    """Returns the jobs of stalled workers to the queue."""
    for job, name, stalls, failed in fetch(conn, tuple_row, RECLAIM):
        details = {"processor": name, "job_id": job, "error_class": "JobStalled"}
        if failed:
            signals.processor_job_failed.send(**details)
        else:
            signals.processor_job_retried.send(**details, attempt=stalls, retry_in=0.0)
