"""A failed attempt at a job: whether the event or the database is to blame, when it runs again, and its record.

This is the only place that decides it. ``persist`` in the database decides by the same rules for what it takes itself.
"""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Self

import psycopg
from procrastinate import JobContext
from procrastinate.exceptions import ConnectorException, JobAborted
from procrastinate.worker import Worker

from pgaudit import _db_errors
from pgaudit._db_errors import safe_summary
from pgaudit.settings import Settings
from pgaudit.signals import job_failed, job_retried
from pgaudit.worker.retry_policy import NotPersisted, delay_before_retry
from pgaudit.worker.state import Registration, connection_of, connector_of, registration_of, settings_of, state_of

logger = logging.getLogger("pgaudit.worker")

RECORD_FAILURE: Final = """
    SELECT pgaudit.record_failure(%(job)s, %(worker)s, %(attempts)s, %(counted)s, %(retry_in)s,
                                  %(error_class)s, %(sqlstate)s, %(message)s, %(traceback)s)
"""
RELEASE_JOBS: Final = "SELECT pgaudit.release_jobs(%s::bigint[], %s)"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt at a job that had failed ``attempts`` times before."""

    job: int
    attempts: int
    counted: bool
    """Whether it counts as an attempt: not when the infrastructure is to blame."""
    retry_in: float | None
    """Seconds until the next attempt; None when this was the last one."""
    error_class: str
    sqlstate: str | None
    message: str
    traceback: str

    @classmethod
    def from_exception(cls, job: int, attempts: int, error: Exception, settings: Settings, pause: float) -> Self:
        """Returns the failure that an exception of the task stands for.

        :param pause: seconds until the next attempt when the infrastructure is to blame.
        """
        origin = _db_errors.origin(error) or error
        infrastructure = is_infrastructure(error)
        return cls(
            job=job,
            attempts=attempts,
            counted=not infrastructure,
            retry_in=pause if infrastructure else delay_before_retry(attempts + 1, settings),
            error_class=type(origin).__name__,
            sqlstate=getattr(origin, "sqlstate", None),
            message=str(origin),
            traceback="".join(traceback.format_exception(error)),
        )


def is_infrastructure(error: BaseException) -> bool:
    """Returns whether the database or the way to it is to blame, and not the event."""
    return _db_errors.is_infrastructure(error) or (
        isinstance(error, ConnectorException) and _db_errors.origin(error) is None
    )


async def handle_failure(call_next: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker) -> Any:  # noqa: ARG001 - Procrastinate's signature
    """Runs a job as worker middleware: when its task raises, the failure is recorded before Procrastinate sees it."""
    try:
        return await call_next()
    except (asyncio.CancelledError, JobAborted):
        await asyncio.shield(with_connection(context, release_first_job))
        raise
    except Exception as error:  # noqa: BLE001 - it is recorded, and raised as NotPersisted
        pause = state_of(context).congestion.fail(error) if is_infrastructure(error) else 0.0
        job = context.job
        failure = Failure.from_exception(job.id or 0, job.attempts, error, settings_of(context), pause)
        await connector_of(context).leave_read_only_server(error)
        await with_connection(context, record_failure, failure)
        # Procrastinate logs the error with its traceback: a database error may quote the event.
        shown = None if _db_errors.origin(error) else error
        raise NotPersisted(safe_summary(error), failure.retry_in) from shown


async def record_failure(conn: psycopg.AsyncConnection[Any], worker: Registration, failure: Failure) -> None:
    """Records a failure, which schedules the job's retry or ends it as failed, and sends the signal."""
    cursor = await conn.execute(
        RECORD_FAILURE,
        {
            "job": failure.job,
            "worker": worker.token,
            "attempts": failure.attempts,
            "counted": failure.counted,
            "retry_in": failure.retry_in,
            "error_class": failure.error_class,
            "sqlstate": failure.sqlstate,
            "message": failure.message,
            "traceback": failure.traceback,
        },
    )
    if await cursor.fetchone() != (True,):
        return  # the worker does not hold the job any more
    details = {"job_id": failure.job, "error_class": failure.error_class, "sqlstate": failure.sqlstate}
    if failure.retry_in is None:
        job_failed.send(**details)
    else:
        job_retried.send(**details, attempt=failure.attempts + 1, retry_in=failure.retry_in)


async def release(conn: psycopg.AsyncConnection[Any], worker: Registration, jobs: Collection[int]) -> None:
    """Gives jobs of this worker back as they were: another worker can take them at once."""
    await conn.execute(RELEASE_JOBS, [list(jobs), worker.token])


async def release_first_job(conn: psycopg.AsyncConnection[Any], worker: Registration, job: int) -> None:
    """Gives back the job that the worker has fetched."""
    await release(conn, worker, [job])


async def with_connection(context: JobContext, action: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """Awaits the action with a connection of the worker. Without one, the job stays fetched until it is found lost."""
    worker = registration_of(context)
    if worker is None:
        return  # the worker was removed as stalled, and its jobs with it
    try:
        async with connection_of(context) as conn:
            await action(conn, worker, *(arguments or [context.job.id or 0]))
    except psycopg.Error as error:
        logger.warning(
            "cannot save the outcome of job %s, it is released later: %s", context.job.id, safe_summary(error)
        )
