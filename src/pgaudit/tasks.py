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
from pgaudit.outcomes import connection_of, runs_of, settings_of, settle
from pgaudit.settings import Settings
from pgaudit.signals import job_completed
from pgaudit.sqlstates import in_brief

logger = logging.getLogger("pgaudit.worker")

# One message: nobody else can append while a commit is on its way to the server.
BEGIN: Final = """
    -- Whatever the database's default: a snapshot older than the lock would miss the duplicates that it was taken for.
    BEGIN ISOLATION LEVEL READ COMMITTED;
    -- A timeout of the role's or the database's would fail the same batch for ever.
    SET LOCAL statement_timeout = 0;
"""
BEGIN_SINCE_17: Final = BEGIN + "SET LOCAL transaction_timeout = 0;"
PERSIST: Final = """
    SELECT claimed, failures, traces FROM pgaudit.persist(%s, %s, %s, %s);
    COMMIT
"""

VERSION_17: Final = 170_000

# Between two looks into the queue while events keep coming; the median wait for an event is half of it.
PAUSE: Final = 0.005
# How long a run goes on that stands in the way of others.
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
            return batch.claimed + await persist_following(context, conn, batch, settings)
        except psycopg.Error as error:
            # The lead is settled, and what was tried after it is in the queue as before.
            logger.warning("batch given back to the queue: %s", in_brief(error))
            return batch.claimed


async def persist_following(
    context: JobContext, conn: psycopg.AsyncConnection[Any], batch: Batch, settings: Settings
) -> int:
    """Persists what is left in the queue after that batch, and what comes, until nothing has come for ``linger``."""
    total = 0
    start = last_found = time.monotonic()
    while goes_on(context, batch.claimed == settings.batch_size, start, last_found):
        batch = await persist_batch(conn, context.job.worker_id, None, settings)
        total += batch.claimed
        if batch.claimed:
            last_found = time.monotonic()
        if batch.claimed < settings.batch_size:
            await asyncio.sleep(PAUSE)
    return total


def goes_on(context: JobContext, full: bool, start: float, last_found: float) -> bool:  # noqa: FBT001 - of the last batch
    """Whether a run looks into the queue again.

    The oldest run of a worker waits for what comes. The others help with a backlog, and make room now and then: what
    is to be retried, and what has to run alone, needs a run of its own.
    """
    runs, settings, now = runs_of(context), settings_of(context), time.monotonic()
    if runs.stopping:
        return False
    if not runs.is_oldest(context.job.id or 0):
        return full and now - start < LONGEST_RUN
    return now - last_found <= settings.linger and (settings.worker_concurrency > 1 or now - start < LONGEST_RUN)


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
    """The transaction: what it took from the queue is in the log, or among the failures.

    :param conn: in autocommit.
    """
    # Values go into the text: several statements in one message take no parameters.
    async with psycopg.AsyncClientCursor(conn, row_factory=class_row(Batch)) as cursor:
        try:
            begin = BEGIN_SINCE_17 if conn.info.server_version >= VERSION_17 else BEGIN
            await cursor.execute(begin + PERSIST, [worker_id, lead, settings.batch_size, tracing.is_on()])
        except psycopg.Error:
            if not conn.closed:
                await conn.rollback()
            raise
        while cursor.description is None:
            cursor.nextset()
        return await cursor.fetchone() or Batch(0, [])


async def conclude(conn: psycopg.AsyncConnection[Any], worker_id: int | None, batch: Batch, settings: Settings) -> None:
    """Tells what was persisted, and settles what was not."""
    if completed := batch.claimed - len(batch.failures):
        job_completed.send(count=completed, worker_id=worker_id)
    for failure in map(Failure.from_batch, batch.failures):
        tracing.job_failed(failure.job, failure.error_class, failure.sqlstate)
        await settle(conn, worker_id, failure, settings)
