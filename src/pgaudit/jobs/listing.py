"""Some jobs of the queue: listing and counting them, and deciding about what has failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, LiteralString

from psycopg.rows import class_row, dict_row, scalar_row

from pgaudit._driver import fetch, reading, undone_on_error
from pgaudit.errors import JobNotFound

QUEUE: Final = "audit"
TASK: Final = "pgaudit.persist"

State = Literal["waiting", "active", "delayed", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """One job of the queue, with the error of its last failed attempt."""

    job_id: int
    state: State
    task_name: str
    event_id: str | None
    action: str | None
    attempts: int
    recorded_at: str | None
    scheduled_at: datetime | None
    worker_id: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class JobError:
    """One failed attempt. ``sqlstate`` is there when Postgres raised it."""

    attempt: int
    failed_at: datetime
    error_class: str
    sqlstate: str | None
    message: str
    traceback: str | None


@dataclass(frozen=True, slots=True)
class JobDetails:
    """A job with its event and all its errors, the oldest first."""

    job: Job
    event: dict[str, Any] | None
    errors: tuple[JobError, ...]


SELECT_JOBS: Final = """
    SELECT j.id AS job_id,
           CASE WHEN status = 'doing' THEN 'active'
                WHEN status = 'todo' AND scheduled_at > clock_timestamp() THEN 'delayed'
                WHEN status = 'todo' THEN 'waiting'
                ELSE status::text END AS state,
           j.task_name, event->>'id' AS event_id, event->>'action' AS action, attempts,
           event->>'recorded_at' AS recorded_at, scheduled_at, worker_id, e.message AS last_error
      FROM pgaudit.audit_jobs j
      LEFT JOIN LATERAL (SELECT message FROM pgaudit.job_error WHERE job_id = j.id ORDER BY id DESC LIMIT 1) e ON true
"""
BY_STATE: Final[dict[State, LiteralString]] = {
    "waiting": "WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= clock_timestamp())",
    "active": "WHERE status = 'doing'",
    "delayed": "WHERE status = 'todo' AND scheduled_at > clock_timestamp()",
    "failed": "WHERE status = 'failed'",
}
# The same as pgaudit.queue_stats, which operators must not read.
COUNT_JOBS: Final = """
    SELECT pgaudit.count_jobs() - not_fresh + due AS waiting, active, delayed, failed FROM pgaudit.queue_state()
"""
PAGE: Final = " ORDER BY j.id LIMIT %s"
ONE: Final = " WHERE j.id = %s"
SELECT_EVENT: Final = "SELECT event FROM pgaudit.audit_jobs WHERE id = %s"
SELECT_ERRORS: Final = """
    SELECT attempt, failed_at, error_class, sqlstate, message, traceback
      FROM pgaudit.job_error WHERE job_id = %s ORDER BY id
"""
ACKNOWLEDGE: Final = "SELECT pgaudit.acknowledge_job(%s, %s)"
RETRY: Final = "SELECT pgaudit.retry_failed(%s)"


def count_jobs(conn: object) -> dict[State, int]:
    """Returns how many jobs are in each state."""
    (counts,) = fetch(reading(conn), dict_row, COUNT_JOBS)
    return {state: counts[state] for state in BY_STATE}


def list_jobs(conn: object, state: State | None, limit: int = 100) -> list[Job]:
    """Returns the jobs in that state, or in any, the oldest first, at most ``limit``."""
    return fetch(reading(conn), class_row(Job), SELECT_JOBS + (BY_STATE[state] if state else "") + PAGE, [limit])


def get_job(conn: object, job_id: int) -> JobDetails:
    """Returns one job with its event and its errors.

    :raises JobNotFound: it is not in the queue; most likely its event is in the log.
    """
    driver = reading(conn)
    found = fetch(driver, class_row(Job), SELECT_JOBS + ONE, [job_id])
    if not found:
        raise JobNotFound(
            f"no job {job_id} in the queue: a job leaves it when its event is in the log, see `pgaudit tail`; jobs of "
            "processors are shown with --processor"
        )
    errors = fetch(driver, class_row(JobError), SELECT_ERRORS, [job_id])
    events = fetch(driver, scalar_row, SELECT_EVENT, [job_id])
    return JobDetails(found[0], events[0] if events else None, tuple(errors))


def retry_jobs(conn: object, job_ids: Sequence[int] | None = None) -> list[int]:
    """Runs failed jobs again, from their first attempt; all of them, unless some are named.

    :returns: the numbers of the jobs that now wait.
    :raises JobNotFound: one of the named jobs has not failed; then none is retried.
    """
    with undone_on_error(conn) as driver:
        retried: list[int]
        (retried,) = fetch(driver, scalar_row, RETRY, [None if job_ids is None else list(job_ids)])
        if missing := set(job_ids or ()) - set(retried):
            raise JobNotFound(
                f"not failed, so not retried: {', '.join(map(str, sorted(missing)))}; see `pgaudit jobs list`"
            )
    return retried


def acknowledge_job(conn: object, job_id: int, reason: str) -> None:
    """Takes a failed job that can never succeed out of the queue, and records that as an audit event.

    Its event is kept in ``pgaudit.acknowledged_jobs``, with the reason.

    :param reason: why it is given up, in 1 to 2,000 characters.
    :raises JobNotFound: there is no failed job of that number.
    """
    with undone_on_error(conn) as driver:
        if fetch(driver, scalar_row, ACKNOWLEDGE, [job_id, reason]) != [True]:
            raise JobNotFound(
                f"job {job_id} cannot be acknowledged: only failed jobs of the log can; see `pgaudit jobs list`, and "
                "`pgaudit jobs discard --processor NAME` for those of a processor"
            )
