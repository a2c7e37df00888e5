"""What becomes of a job that was not persisted: written down with its error, retried, failed or released."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, cast

import psycopg
from procrastinate import JobContext, PsycopgConnector
from procrastinate.exceptions import JobAborted
from procrastinate.worker import Worker

from pgaudit.failures import Failure
from pgaudit.retries import delay_before_retry, spread
from pgaudit.runs import Registration, Runs
from pgaudit.settings import Settings
from pgaudit.signals import job_failed, job_retried
from pgaudit.sqlstates import in_brief

logger = logging.getLogger("pgaudit.worker")

RECORD_FAILURE: Final = """
    SELECT pgaudit.record_failure(%(job)s, %(worker)s, %(attempts)s, %(counted)s, %(retry_in)s,
                                  %(error_class)s, %(sqlstate)s, %(message)s, %(traceback)s)
"""
RELEASE_JOBS: Final = "SELECT pgaudit.release_jobs(%s::bigint[], %s)"


class NotPersisted(Exception):
    """What Procrastinate logs in place of a database error, which may quote the event."""


async def settle(
    conn: psycopg.AsyncConnection[Any], worker: Registration, failure: Failure, settings: Settings
) -> None:
    """Writes a failure down, and retries the job or ends it as failed. Infrastructure errors never count."""
    retry_in = delay_before_retry(failure.attempts + 1, settings)
    if failure.infrastructure:
        retry_in = spread(settings.job_backoff_delay / 1_000)
    cursor = await conn.execute(
        RECORD_FAILURE,
        {
            "job": failure.job,
            "worker": worker.token,
            "attempts": failure.attempts,
            "counted": not failure.infrastructure,
            "retry_in": retry_in,
            "error_class": failure.error_class,
            "sqlstate": failure.sqlstate,
            "message": failure.message,
            "traceback": failure.traceback,
        },
    )
    if await cursor.fetchone() != (True,):
        return  # the job has moved on: somebody else has settled it
    details = {"job_id": failure.job, "error_class": failure.error_class, "sqlstate": failure.sqlstate}
    if retry_in is None:
        job_failed.send(**details)
    else:
        job_retried.send(**details, attempt=failure.attempts + 1, retry_in=retry_in)


async def settle_outcome(call_next: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker) -> Any:  # noqa: ARG001 - Procrastinate's signature
    """Worker middleware: a job whose task raised is settled before Procrastinate hears of it."""
    try:
        return await call_next()
    except (asyncio.CancelledError, JobAborted):
        await asyncio.shield(attempt(release_first_job, context))
        raise
    except Exception as error:
        failure = Failure.from_exception(context.job.id or 0, context.job.attempts, error)
        if failure.infrastructure:
            pause(context)
        await attempt(settle_first_job, context, failure)
        if isinstance(error, psycopg.Error):
            raise NotPersisted(in_brief(error)) from None
        raise


def pause(context: JobContext) -> None:
    """Lets the worker wait before it fetches again: what keeps this job from the log keeps the next from it, too."""
    delay = settings_of(context).job_backoff_delay / 1_000
    runs_of(context).paused_until = time.monotonic() + spread(delay)


async def release(conn: psycopg.AsyncConnection[Any], worker: Registration, jobs: Collection[int]) -> None:
    """Gives a worker's jobs back as they were: another one takes them at once."""
    await conn.execute(RELEASE_JOBS, [list(jobs), worker.token])


async def release_first_job(conn: psycopg.AsyncConnection[Any], context: JobContext, worker: Registration) -> None:
    """Gives the job back that the worker fetched."""
    await release(conn, worker, [context.job.id or 0])


async def settle_first_job(
    conn: psycopg.AsyncConnection[Any], context: JobContext, worker: Registration, failure: Failure
) -> None:
    """Settles the job that the worker fetched."""
    await settle(conn, worker, failure, settings_of(context))


async def attempt(action: Callable[..., Awaitable[None]], context: JobContext, *arguments: Any) -> None:
    """Runs it on a connection of the worker's. Without one, the job stays ours until it is found lost."""
    worker = registration_of(context)
    if worker is None:
        return  # its row is gone, and with it its hold on the job, which counts as stalled
    try:
        async with connection_of(context) as conn:
            await action(conn, context, worker, *arguments)
    except psycopg.Error as error:
        logger.warning(
            "could not save the outcome of job %s, it is released later: %s", context.job.id, in_brief(error)
        )


def connection_of(context: JobContext) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
    """A connection of the worker that runs the job."""
    return cast("PsycopgConnector", context.app.connector).pool.connection()


def settings_of(context: JobContext) -> Settings:
    """The settings of the worker that runs the job."""
    return cast("Settings", context.additional_context["settings"])


def runs_of(context: JobContext) -> Runs:
    """What the worker that runs the job is running."""
    return cast("Runs", context.additional_context["runs"])


def registration_of(context: JobContext) -> Registration | None:
    """The worker that runs the job, as the database knows it."""
    return runs_of(context).registration
