"""The one task of the audit queue: from the queue into the log, batch by batch."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from procrastinate import JobContext
from psycopg.rows import class_row

from pgaudit import tracing
from pgaudit.failures import Failure
from pgaudit.outcomes import connection_of, settings_of, settle
from pgaudit.settings import Settings
from pgaudit.signals import job_completed
from pgaudit.sqlstates import in_brief

logger = logging.getLogger("pgaudit.worker")

PERSIST: Final = "SELECT claimed, failures, traces FROM pgaudit.persist(%s, %s, %s, %s)"

# Between two looks into the queue while events keep coming; the median wait for an event is half of it.
PAUSE: Final = 0.005
# How long one run of the task goes on at most: so long may a shutdown have to wait for it.
LONGEST_RUN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """How many jobs were taken, and what ``pgaudit.persist`` says of those that could not be persisted.

    ``traces``: the W3C traceparents of their events, when they were asked for.
    """

    claimed: int
    failures: list[dict[str, Any]]
    traces: list[str] | None = None


async def persist(context: JobContext) -> int:
    """Persists the job with as many others as a batch holds, then goes on with what has come meanwhile.

    :returns: how many jobs it took.
    """
    settings = settings_of(context)
    worker_id = context.job.worker_id
    async with connection_of(context) as conn:
        batch = await persist_batch(conn, worker_id, context.job.id, settings)
        try:
            return batch.claimed + await persist_following(conn, worker_id, settings)
        except psycopg.Error as error:
            # The lead is settled, and what was tried after it is in the queue as before.
            logger.warning("batch given back to the queue: %s", in_brief(error))
            return batch.claimed


async def persist_following(conn: psycopg.AsyncConnection[Any], worker_id: int | None, settings: Settings) -> int:
    """Persists what is in the queue and what comes, until nothing has come for ``linger`` or time is up."""
    total = 0
    end = time.monotonic() + LONGEST_RUN
    last_found = time.monotonic()
    while (now := time.monotonic()) < end and now - last_found <= settings.linger:
        batch = await persist_batch(conn, worker_id, None, settings)
        total += batch.claimed
        if batch.claimed:
            last_found = time.monotonic()
        if batch.claimed < settings.batch_size:
            await asyncio.sleep(PAUSE)
    return total


async def persist_batch(
    conn: psycopg.AsyncConnection[Any], worker_id: int | None, lead: int | None, settings: Settings
) -> Batch:
    """One batch in one transaction; then, one by one, those that could not be persisted."""
    start = time.time_ns()
    try:
        batch = await take_batch(conn, worker_id, lead, settings)
    except psycopg.Error:
        with tracing.persisting(start):
            raise
    if batch.claimed:
        with tracing.persisting(start, batch.claimed, batch.traces):
            await conclude(conn, worker_id, batch, settings)
    return batch


async def take_batch(
    conn: psycopg.AsyncConnection[Any], worker_id: int | None, lead: int | None, settings: Settings
) -> Batch:
    """The transaction: what it took from the queue is in the log, or among the failures."""
    # READ COMMITTED, whatever the database's default: a snapshot older than the head's lock would
    # miss the duplicates that it was taken for.
    await conn.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
    async with conn.transaction(), conn.cursor(row_factory=class_row(Batch)) as cursor:
        # A timeout of the role's or the database's would fail the same batch for ever.
        await cursor.execute("SET LOCAL statement_timeout = 0")
        await cursor.execute(PERSIST, [worker_id, lead, settings.batch_size, tracing.is_on()])
        return await cursor.fetchone() or Batch(0, [])


async def conclude(conn: psycopg.AsyncConnection[Any], worker_id: int | None, batch: Batch, settings: Settings) -> None:
    """Tells what was persisted, and settles what was not."""
    if completed := batch.claimed - len(batch.failures):
        job_completed.send(count=completed, worker_id=worker_id)
    for failure in map(Failure.from_batch, batch.failures):
        tracing.job_failed(failure.job, failure.error_class, failure.sqlstate)
        await settle(conn, worker_id, failure, settings)
