"""Filters and queries for the jobs of the queue. A reader's rights are enough.

A page begins behind the last job of the one before, and a filter looks through ``LOOK`` jobs at most: what a query
costs does not depend on how many jobs there are.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, LiteralString

State = Literal["waiting", "active", "delayed", "failed", "stalled"]

LOOK: Final = 10_000


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects jobs; without arguments, all of them."""

    action: str = ""
    """An action, or the beginning of one and an asterisk: ``claim.*``."""
    error_class: str = ""
    """The class of the last error."""
    tenants: frozenset[str] | None = None
    """Tenants of the events; None for any, also for events without a tenant."""

    @property
    def excludes(self) -> bool:
        """Returns whether there may be jobs that it excludes."""
        return bool(self.action or self.error_class or self.tenants is not None)

    def parameters(self) -> dict[str, object]:
        """Returns the parameters of ``MATCHING``."""
        is_prefix = self.action.endswith("*")
        return {
            "action": None if is_prefix else self.action or None,
            "prefix": self.action[:-1] if is_prefix else None,
            "error_class": self.error_class or None,
            "tenants": None if self.tenants is None else sorted(self.tenants),
        }


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list: behind that job. Delayed jobs are ordered by when they run, the others by number."""

    job_id: int = 0
    scheduled_at: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """Returns the parameters of ``looked_at``."""
        return {"id": self.job_id, "scheduled_at": self.scheduled_at, "look": LOOK}


# The queue's statistics are always stale, as 30_queue.sql says: the planner would sort, where an index has the order.
PLANS: Final = """
    SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; SET LOCAL jit = off
"""
JOBS: Final = "pgaudit.audit_jobs WHERE"
# Few jobs run at a time: OFFSET 0 makes the planner find these first, and not look for them along the primary key.
RUNNING: Final = "(SELECT * FROM pgaudit.audit_jobs WHERE status = 'doing' OFFSET 0) running WHERE"
IN_STATE: Final[dict[State, LiteralString]] = {
    "waiting": JOBS + " status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= clock_timestamp())",
    "active": RUNNING + " true",
    "delayed": JOBS + " status = 'todo' AND scheduled_at > clock_timestamp()",
    "failed": JOBS + " status = 'failed'",
    "stalled": RUNNING + " id IN (SELECT job_id FROM pgaudit.stalled_workers_jobs())",  # noqa: S608 - constants
}
BY_ID: Final = " AND id > %(id)s ORDER BY id"
# audit_jobs_not_fresh_idx has them in this order.
BY_SCHEDULE: Final = """
    AND (scheduled_at, id) > (coalesce(%(scheduled_at)s, '-infinity'::timestamptz), %(id)s) ORDER BY scheduled_at, id
"""
COLUMNS: Final[LiteralString] = """
    SELECT j.id AS job_id,
           CASE WHEN status = 'doing' THEN 'active'
                WHEN status = 'todo' AND scheduled_at > clock_timestamp() THEN 'delayed'
                WHEN status = 'todo' THEN 'waiting'
                ELSE status::text END AS state,
           j.event::text AS text, j.attempts, j.scheduled_at, j.worker_id,
           (SELECT coalesce(heartbeat_age_seconds, 'infinity') FROM pgaudit.stalled_workers_jobs() s
             WHERE s.job_id = j.id AND j.status = 'doing') AS silent_seconds,
           e.failed_at, e.error_class, e.sqlstate, e.message
      FROM"""
ANY_JOB: Final = " pgaudit.audit_jobs j"
# The last error of each job, by job_error_job_idx.
LAST_ERROR: Final = """
      LEFT JOIN LATERAL (SELECT failed_at, error_class, sqlstate, message FROM pgaudit.job_error
                          WHERE job_id = j.id ORDER BY id DESC LIMIT 1) e ON true
"""
MATCHING: Final = """
     WHERE (%(action)s::text IS NULL OR j.event->>'action' = %(action)s)
       AND (%(prefix)s::text IS NULL OR starts_with(j.event->>'action', %(prefix)s))
       AND (%(error_class)s::text IS NULL OR e.error_class = %(error_class)s)
       AND (%(tenants)s::text[] IS NULL OR j.event->>'tenant' = ANY (%(tenants)s))
"""
NEWEST: Final = " (SELECT * FROM pgaudit.audit_jobs WHERE status = 'failed' ORDER BY id DESC LIMIT %(look)s) j"
NEWEST_FAILED: Final[LiteralString] = COLUMNS + NEWEST + LAST_ERROR + MATCHING + " ORDER BY j.id DESC LIMIT %(limit)s"
NAMED: Final = " AND j.id = ANY (%(ids)s)"


def looked_at(state: State) -> LiteralString:
    """Returns the jobs that a filter looks through for one page, in their order."""
    behind = BY_SCHEDULE if state == "delayed" else BY_ID
    return " (SELECT * FROM " + IN_STATE[state] + behind + " LIMIT %(look)s) j"  # noqa: S608 - constants


def page(state: State) -> LiteralString:
    """Returns the query of a page."""
    order = " ORDER BY j.scheduled_at, j.id" if state == "delayed" else " ORDER BY j.id"
    return COLUMNS + looked_at(state) + LAST_ERROR + MATCHING + order + " LIMIT %(limit)s"


def last_looked_at(state: State) -> LiteralString:
    """Returns the query of the last job that a filter looks at; no row if it looks at all there are."""
    behind = BY_SCHEDULE if state == "delayed" else BY_ID
    key = "SELECT id AS job_id, scheduled_at FROM "
    return key + IN_STATE[state] + behind + " OFFSET %(look)s - 1 LIMIT 1"


def count(state: State) -> LiteralString:
    """Returns the query of the number of jobs."""
    counted = looked_at(state) + LAST_ERROR + MATCHING + " LIMIT %(limit)s"
    return "SELECT count(*) FROM (SELECT FROM" + counted + ") counted"  # noqa: S608 - constants


def named() -> LiteralString:
    """Returns the query of the jobs of certain numbers, in any state."""
    return COLUMNS + ANY_JOB + LAST_ERROR + MATCHING + NAMED + " ORDER BY j.id"
