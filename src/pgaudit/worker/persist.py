"""The one task of the audit queue: from the queue into the log, batch by batch."""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import psycopg
from procrastinate import JobContext
from psycopg.rows import class_row

from pgaudit import _tracing
from pgaudit._db_errors import is_infrastructure, safe_summary
from pgaudit.settings import Settings
from pgaudit.signals import job_completed, job_failed, job_retried
from pgaudit.worker.state import Registration, connection_of, registration_of, settings_of, state_of

logger = logging.getLogger("pgaudit.worker")

# One message: while the COMMIT travels to the server, no other transaction can append.
BEGIN: Final = """
    -- Whatever the database's default: a snapshot older than the lock would miss the duplicates that it was taken for.
    BEGIN ISOLATION LEVEL READ COMMITTED;
    -- A timeout of the role's or the database's would fail the same batch for ever.
    SET LOCAL statement_timeout = 0;
    -- After that, the application log names the transaction that holds the end of the log.
    SET LOCAL lock_timeout = '10s';
"""
BEGIN_SINCE_17: Final = BEGIN + "SET LOCAL transaction_timeout = 0;"
PERSIST: Final = """
    SELECT taken, failures, traceparents
      FROM pgaudit.persist(%(worker)s, %(first_job)s, %(max_jobs)s, %(max_attempts)s,
                           %(retry_delay)s, %(max_retry_delay)s, %(traced)s);
    COMMIT
"""

# The time as text: psycopg reads no timestamptz in a session whose DateStyle is not ISO.
LOG_HOLDER: Final = """
    SELECT pid, prepared_transaction, role, application_name,
           to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"') AS since
      FROM pgaudit.log_lock_holder
"""

VERSION_17: Final = 170_000

# Between two looks into the queue while events keep coming; the median wait for an event is half of it.
BUSY_POLL_SECONDS: Final = 0.005
# How long a run goes on that stands in the way of others.
MAX_RUN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """How many jobs were taken, and which of them could not be persisted: the database has scheduled their retries.

    ``traceparents``: W3C traceparents of their events, when they were asked for.
    """

    taken: int
    failures: list[dict[str, Any]]
    traceparents: list[str] | None = None


@dataclass(frozen=True, slots=True)
class LogHolder:
    """The transaction that has locked the end of the audit log; prepared ones have no process."""

    pid: int | None
    prepared_transaction: str | None
    role: str | None
    application_name: str | None
    since: str | None

    def __str__(self) -> str:
        who = f"process {self.pid}" if self.pid else f"the prepared transaction {self.prepared_transaction!r}"
        since = f" since {self.since}" if self.since else ""
        return f"{who} of role {self.role}{f' ({self.application_name})' if self.application_name else ''}{since}"


async def persist(context: JobContext) -> int:
    """Persists the job with as many others as a batch holds, then what has been recorded meanwhile.

    :returns: how many jobs it took.
    """
    run = Run(context, context.job.id)
    while True:
        try:
            async with connection_of(context) as conn:
                await run.persist_with(conn)
                return run.taken
        except psycopg.Error as error:
            state = state_of(context)
            goes_on = state.congestion.should_reconnect(error) and not state.stopping
            if run.first_job is not None and not goes_on:
                raise
            # The transaction was rolled back, so the jobs of this batch are still in the queue.
            if is_infrastructure(error):
                state.congestion.fail(error)
            logger.warning("batch given back to the queue: %s", safe_summary(error))
            if not goes_on:
                return run.taken


@dataclass(slots=True)
class Run:
    """A run of the task: persists batch after batch, in a new session when the old one was terminated."""

    context: JobContext
    first_job: int | None
    """Id of the job that Procrastinate started the run for; None once it is persisted."""
    taken: int = 0
    """Number of jobs that the run has taken."""

    async def persist_with(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Persists the first job, then further jobs until none has arrived for ``linger`` seconds."""
        start = last_found = time.monotonic()
        full = self.first_job is None or await self.persist_next(conn)
        while should_continue(self.context, full, start, last_found):
            before = self.taken
            full = await self.persist_next(conn)
            if self.taken > before:
                last_found = time.monotonic()
            if not full:
                await asyncio.sleep(BUSY_POLL_SECONDS)

    async def persist_next(self, conn: psycopg.AsyncConnection[Any]) -> bool:
        """Persists a batch as large as the worker takes now. Returns whether it was full."""
        state = state_of(self.context)
        congestion = state.congestion
        max_jobs = congestion.max_jobs
        worker, settings = registration_of(self.context), settings_of(self.context)
        batch = await persist_batch(conn, worker, self.first_job, settings, max_jobs)
        congestion.succeed()
        self.first_job = None
        self.taken += batch.taken
        if batch.taken == max_jobs:
            state.throttle.note_backlog()
        return batch.taken == max_jobs


def should_continue(context: JobContext, full: bool, start: float, last_found: float) -> bool:  # noqa: FBT001 - of the last batch
    """Returns whether a run looks into the queue again.

    The oldest run of a worker waits for what comes. The others help with a backlog, and make room now and then: what
    is to be retried, and what has to run alone, needs a run of its own.
    """
    state, settings, now = state_of(context), settings_of(context), time.monotonic()
    if state.stopping:
        return False
    if not state.is_oldest(context.job.id or 0):
        return full and now - start < MAX_RUN_SECONDS
    return now - last_found <= settings.linger and (settings.worker_concurrency > 1 or now - start < MAX_RUN_SECONDS)


async def persist_batch(
    conn: psycopg.AsyncConnection[Any],
    worker: Registration | None,
    first_job: int | None,
    settings: Settings,
    max_jobs: int | None = None,
) -> Batch:
    """Persists one batch in one transaction, and sends the signals.

    :param worker: None for a drain after the worker was unregistered.
    :param first_job: the job that the worker has fetched; None for the oldest fresh ones.
    :param max_jobs: ``batch_size`` when left out.
    """
    start = time.time_ns()
    try:
        batch = await run_batch(conn, worker, first_job, settings, max_jobs or settings.batch_size)
    except psycopg.Error as error:
        with _tracing.persist_span(start):
            if isinstance(error, psycopg.errors.LockNotAvailable):
                await warn_of_log_holder(conn)
            raise
    if batch.taken:
        with _tracing.persist_span(start, batch.taken, batch.traceparents):
            report_batch(batch, worker)
    return batch


async def run_batch(
    conn: psycopg.AsyncConnection[Any],
    worker: Registration | None,
    first_job: int | None,
    settings: Settings,
    max_jobs: int,
) -> Batch:
    """Runs the transaction: what it took from the queue is in the log, or among the failures.

    :param conn: in autocommit.
    """
    # Values go into the text: several statements in one message take no parameters.
    async with psycopg.AsyncClientCursor(conn, row_factory=class_row(Batch)) as cursor:
        try:
            begin = BEGIN_SINCE_17 if conn.info.server_version >= VERSION_17 else BEGIN
            await cursor.execute(
                begin + PERSIST,
                {
                    "worker": worker and worker.token,
                    "first_job": first_job,
                    "max_jobs": max_jobs,
                    "max_attempts": settings.job_attempts,
                    "retry_delay": timedelta(milliseconds=settings.job_backoff_delay),
                    "max_retry_delay": timedelta(milliseconds=settings.job_backoff_max),
                    "traced": _tracing.can_export(),
                },
            )
        except psycopg.Error:
            if not conn.closed:
                await conn.rollback()
            raise
        while cursor.description is None:
            cursor.nextset()
        return await cursor.fetchone() or Batch(0, [])


async def warn_of_log_holder(conn: psycopg.AsyncConnection[Any]) -> None:
    """Writes to the application log which transaction has locked the end of the audit log."""
    async with conn.cursor(row_factory=class_row(LogHolder)) as cursor:
        for holder in await (await cursor.execute(LOG_HOLDER)).fetchall():
            logger.warning("the end of the audit log is locked by %s: no event can be appended until it ends", holder)


def report_batch(batch: Batch, worker: Registration | None) -> None:
    """Sends the signals of what was persisted, and of what was not."""
    if completed := batch.taken - len(batch.failures):
        job_completed.send(count=completed, worker_id=worker and worker.id)
    for failure in batch.failures:
        details = {"job_id": failure["job_id"], "error_class": failure["error_class"], "sqlstate": failure["sqlstate"]}
        _tracing.record_job_failure(details["job_id"], details["error_class"], details["sqlstate"])
        if failure["retry_in"] is None:
            job_failed.send(**details)
        else:
            job_retried.send(**details, attempt=failure["attempt"], retry_in=failure["retry_in"])
