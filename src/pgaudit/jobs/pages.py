"""The jobs of a queue of any size: page by page, filtered, and run again in batches.

A reader's rights are enough to look, an operator's to run jobs again.

>>> page = list_page(conn, "failed", Filter(action="claim.*"))
>>> retry_batch(conn, Filter(error_class="CheckViolation"))
"""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.rows import class_row, scalar_row

from pgaudit._driver import fetch, reading, undone_on_error
from pgaudit.jobs import page_queries
from pgaudit.jobs.listing import RETRY, JobError
from pgaudit.jobs.page_queries import LOOK, PLANS, Filter, Place, State

__all__ = [
    "LOOK",
    "Filter",
    "Place",
    "State",
    "count",
    "find",
    "list_page",
    "newest_failed",
    "retry_batch",
    "retry_named",
]

ANY: Final = Filter()
START: Final = Place()
BATCH: Final = 1_000  # jobs that are retried in one transaction
MOST_ERRORS: Final = 100
SELECT_ERRORS: Final = """
    SELECT attempt, failed_at, error_class, sqlstate, message, traceback
      FROM pgaudit.job_error WHERE job_id = %s ORDER BY id DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job with its last error.

    ``text`` is the event as it is stored. ``silent_seconds`` is the time since the last heartbeat of the worker of a
    stalled job, infinite if that worker was removed.
    """

    job_id: int
    state: State
    text: str
    attempts: int
    scheduled_at: datetime | None
    worker_id: int | None
    silent_seconds: float | None
    failed_at: datetime | None
    error_class: str | None
    sqlstate: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, and where the next page begins; None at the end. With a filter, a page may be short before the end."""

    jobs: list[QueuedJob]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Count:
    """A number of jobs; if it is not exact, there are that many at least."""

    number: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Retried:
    """The jobs that wait again, and where to go on; None at the end."""

    job_ids: list[int]
    next: Place | None


def list_page(conn: object, state: State, wanted: Filter = ANY, after: Place = START, limit: int = 50) -> JobPage:
    """Returns the jobs in a state behind a place: the oldest first, delayed ones in the order in which they run."""
    given = wanted.parameters() | after.parameters() | {"limit": limit + 1}
    with planned(conn) as driver:
        found = fetch(driver, class_row(QueuedJob), page_queries.page(state), given)
        if len(found) <= limit:
            return JobPage(found, _end_of_look(driver, state, wanted, after))
    last = found[limit - 1]
    return JobPage(found[:limit], Place(last.job_id, last.scheduled_at if state == "delayed" else None))


@contextmanager
def planned(conn: object) -> Generator[psycopg.Connection[Any]]:
    """Yields the psycopg connection, whose queries are planned for a queue inside the block; it must not write."""
    driver = reading(conn)
    with driver.transaction(force_rollback=True):  # the rollback restores the settings
        psycopg.Cursor(driver).execute(PLANS)
        yield driver


def _end_of_look(driver: psycopg.Connection[Any], state: State, wanted: Filter, after: Place) -> Place | None:
    """Returns where a filter has stopped to look; None if it has seen all jobs, or there is none."""
    if not wanted.excludes:
        return None
    places = fetch(driver, class_row(Place), page_queries.last_looked_at(state), after.parameters())
    return places[0] if places else None


def find(conn: object, job_id: int, wanted: Filter = ANY) -> tuple[QueuedJob, list[JobError]] | None:
    """Returns a job and its last errors, the newest first; None if no such job is in the queue, or it is excluded."""
    driver = reading(conn)
    found = fetch(driver, class_row(QueuedJob), page_queries.named(), wanted.parameters() | {"ids": [job_id]})
    if not found:
        return None
    return found[0], fetch(driver, class_row(JobError), SELECT_ERRORS, [job_id, MOST_ERRORS])


def newest_failed(conn: object, wanted: Filter = ANY, limit: int = 5) -> list[QueuedJob]:
    """Returns the failed jobs with the highest numbers, the newest first, among the last ``LOOK``."""
    given = wanted.parameters() | START.parameters() | {"limit": limit}
    with planned(conn) as driver:
        return fetch(driver, class_row(QueuedJob), page_queries.NEWEST_FAILED, given)


def count(conn: object, state: State, wanted: Filter = ANY, most: int = 1_000) -> Count:
    """Returns the number of jobs in a state, up to ``most``, among the first ``LOOK``."""
    given = wanted.parameters() | START.parameters() | {"limit": most + 1}
    with planned(conn) as driver:
        (number,) = fetch(driver, scalar_row, page_queries.count(state), given)
        if number > most:
            return Count(most, exact=False)
        return Count(number, exact=_end_of_look(driver, state, wanted, START) is None)


def retry_named(conn: object, job_ids: Collection[int], wanted: Filter = ANY) -> list[int]:
    """Runs those of the jobs again that have failed and are not excluded; returns their numbers."""
    with undone_on_error(conn) as driver:
        found = fetch(driver, class_row(QueuedJob), page_queries.named(), wanted.parameters() | {"ids": list(job_ids)})
        return _retry(driver, [job.job_id for job in found])


def retry_batch(conn: object, wanted: Filter = ANY, after: Place = START, limit: int = BATCH) -> Retried:
    """Runs failed jobs again, from their first attempt: the oldest ones behind a place, at most ``limit``."""
    with undone_on_error(conn) as driver:
        page = list_page(driver, "failed", wanted, after, limit)
        return Retried(_retry(driver, [job.job_id for job in page.jobs]), page.next)


def _retry(conn: object, job_ids: list[int]) -> list[int]:
    """Returns those of the jobs that had failed and wait now."""
    if not job_ids:
        return []
    retried: list[int]
    (retried,) = fetch(reading(conn), scalar_row, RETRY, [job_ids])
    return retried
