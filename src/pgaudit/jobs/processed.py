"""The jobs of processors: listing them, with each attempt that did not succeed, and deciding about what has failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import class_row, dict_row, scalar_row

from pgaudit._driver import fetch, reading, undone_on_error
from pgaudit.errors import JobNotFound
from pgaudit.jobs.listing import JobError, State

QUEUE: Final = "audit_processors"
REFUSED: Final = "PA003"


@dataclass(frozen=True, slots=True)
class ProcessorJob:
    """A job of a processor, with the event's index, and the error of its last attempt.

    :ivar action: of the event; None for a role that may not read the log, such as an operator.
    """

    job_id: int
    processor: str
    state: State
    index: int
    action: str | None
    attempts: int
    scheduled_at: datetime
    started_at: datetime | None
    worker_id: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class ProcessorJobDetails:
    """A job with all its errors, the oldest first."""

    job: ProcessorJob
    errors: tuple[JobError, ...]


MAY_READ: Final = "SELECT has_table_privilege('pgaudit.audit_log', 'SELECT')"
ACTION: Final = "(SELECT action FROM pgaudit.audit_log l WHERE l.index = j.index)"
SELECT_JOBS: Final = """
    SELECT j.id AS job_id, j.task_name AS processor,
           CASE WHEN j.status = 'doing' THEN 'active'
                WHEN j.status = 'todo' AND j.scheduled_at > clock_timestamp() THEN 'delayed'
                WHEN j.status = 'todo' THEN 'waiting'
                ELSE j.status::text END AS state,
           j.index, {action} AS action, j.attempts,
           j.scheduled_at, j.started_at, j.worker_id, e.message AS last_error
      FROM pgaudit.processor_jobs j
      LEFT JOIN LATERAL (SELECT message FROM pgaudit.job_error WHERE job_id = j.id ORDER BY id DESC LIMIT 1) e ON true
     WHERE j.task_name = %(processor)s
"""
BY_STATE: Final[dict[State, LiteralString]] = {
    "waiting": " AND j.status = 'todo' AND j.scheduled_at <= clock_timestamp()",
    "active": " AND j.status = 'doing'",
    "delayed": " AND j.status = 'todo' AND j.scheduled_at > clock_timestamp()",
    "failed": " AND j.status = 'failed'",
}
PAGE: Final = " ORDER BY j.id LIMIT %(limit)s"
ONE: Final = " AND j.id = %(job)s"
COUNT: Final = """
    SELECT waiting, running AS active, delayed, failed FROM pgaudit.processor_stats WHERE name = %(processor)s
"""
ERRORS: Final = """
    SELECT attempt, failed_at, error_class, sqlstate, message, traceback
      FROM pgaudit.job_error WHERE job_id = %(job)s AND task_name = %(processor)s ORDER BY id
"""
RETRY: Final = "SELECT pgaudit.retry_processor_jobs(%(processor)s, %(jobs)s)"
DROP: Final = "SELECT pgaudit.drop_processor_jobs(%(processor)s, %(jobs)s, %(reason)s)"


def count_jobs(conn: object, processor: str) -> dict[State, int]:
    """Returns how many jobs of a processor are in each state.

    :raises JobNotFound: there is no such processor.
    """
    rows = fetch(reading(conn), dict_row, COUNT, {"processor": processor})
    if not rows:
        raise JobNotFound(f"there is no processor {processor}: pgaudit processors list names them all")
    return {state: rows[0][state] for state in BY_STATE}


def list_jobs(conn: object, processor: str, state: State | None, limit: int = 100) -> list[ProcessorJob]:
    """Returns the jobs of a processor in that state, or in any, the oldest first, at most ``limit``."""
    given: dict[str, object] = {"processor": processor, "limit": limit}
    driver = reading(conn)
    query = jobs_as_seen_by(driver) + (BY_STATE[state] if state else "") + PAGE
    return fetch(driver, class_row(ProcessorJob), query, given)


def jobs_as_seen_by(driver: psycopg.Connection[Any]) -> LiteralString:
    """Returns the query for jobs. A role that may not read the log gets no actions; naming the table would fail."""
    (may_read,) = fetch(driver, scalar_row, MAY_READ)
    return SELECT_JOBS.format(action=ACTION if may_read else "NULL")


def get_job(conn: object, processor: str, job_id: int) -> ProcessorJobDetails:
    """Returns one job with each attempt that did not succeed.

    :raises JobNotFound: the processor has no such job; most likely it is done.
    """
    driver, given = reading(conn), {"processor": processor, "job": job_id}
    found = fetch(driver, class_row(ProcessorJob), jobs_as_seen_by(driver) + ONE, dict[str, object](given))
    if not found:
        raise JobNotFound(f"the processor {processor} has no job {job_id}: a job leaves the queue when it is done")
    return ProcessorJobDetails(found[0], tuple(fetch(driver, class_row(JobError), ERRORS, dict[str, object](given))))


def retry_jobs(conn: object, processor: str, job_ids: Sequence[int] | None = None) -> list[int]:
    """Runs failed jobs again, from their first attempt; all of that processor, unless some are named.

    :returns: the numbers of the jobs that now wait.
    :raises JobNotFound: one of the named jobs has not failed, or there is no such processor; then none is retried.
    """
    return decide(conn, RETRY, processor, job_ids, {})


def discard_jobs(conn: object, processor: str, job_ids: Sequence[int] | None, reason: str) -> list[int]:
    """Gives failed jobs up; all of that processor if ``job_ids`` is None. Their history keeps the reason.

    :returns: their numbers.
    :raises JobNotFound: one of the named jobs has not failed, or there is no such processor; then none is discarded.
    """
    return decide(conn, DROP, processor, job_ids, {"reason": reason})


def decide(
    conn: object, statement: LiteralString, processor: str, job_ids: Sequence[int] | None, given: dict[str, object]
) -> list[int]:
    """Runs a statement about failed jobs; all or none of those that are named."""
    jobs = None if job_ids is None else list(job_ids)
    try:
        with undone_on_error(conn) as driver:
            decided: list[int]
            (decided,) = fetch(driver, scalar_row, statement, given | {"processor": processor, "jobs": jobs})
            if missing := set(job_ids or ()) - set(decided):
                numbers = ", ".join(map(str, sorted(missing)))
                look = f"see `pgaudit jobs list --processor {processor}`"
                raise JobNotFound(f"the processor {processor} has no failed job {numbers}; {look}")
    except psycopg.Error as error:
        if error.sqlstate != REFUSED:
            raise
        raise JobNotFound(f"{error.diag.message_primary}: pgaudit processors list names them all") from None
    return decided
