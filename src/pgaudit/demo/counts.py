"""What the demo reads from the database while it runs: how far it is, and who took over."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

# One statement, one snapshot: changes = queued + logged + failed holds at every moment.
FIGURES: Final = """
    SELECT claims, changes, waiting + active + delayed AS queued, failed, completed AS logged,
           (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM claim_rolled_back) AS rolled_back,
           array(SELECT worker_id FROM pgaudit.worker_stats ORDER BY worker_id) AS workers
      FROM pgaudit.queue_stats,
           (SELECT count(*) AS claims, coalesce(sum(version), 0)::bigint AS changes FROM claim) counted
"""
APPENDED_BY: Final = """
    SELECT coalesce(sum(count), 0)::bigint AS events, count(*) AS batches FROM pgaudit.batch WHERE worker_id = %s
"""
TAKEOVER: Final = """
    SELECT e.job_id, e.event_id::uuid, e.message AS error, b.worker_id AS appended_by
      FROM pgaudit.job_error e
      LEFT JOIN pgaudit.event_key k ON k.event_id = e.event_id::uuid
      LEFT JOIN pgaudit.batch b ON k.index >= b.first_index AND k.index < b.first_index + b.count
     WHERE e.error_class = 'JobStalled' AND e.job_id = %s
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """One moment of the demo."""

    claims: int
    changes: int
    queued: int
    failed: int
    logged: int
    rolled_back: int
    workers: list[int]


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker has appended to the log."""

    events: int
    batches: int


@dataclass(frozen=True, slots=True)
class Takeover:
    """A job whose worker vanished, and the worker that has appended its event since, if one has."""

    job_id: int
    event_id: UUID
    error: str
    appended_by: int | None


def figures(conn: psycopg.Connection[Any]) -> Figures:
    """Returns the progress of the demo."""
    with conn.cursor(row_factory=class_row(Figures)) as cursor:
        return cursor.execute(FIGURES).fetchone() or Figures(0, 0, 0, 0, 0, 0, [])


def share_of(conn: psycopg.Connection[Any], worker: int) -> Share:
    """Returns what a worker has done so far."""
    with conn.cursor(row_factory=class_row(Share)) as cursor:
        return cursor.execute(APPENDED_BY, [worker]).fetchone() or Share(0, 0)


def takeover_of(conn: psycopg.Connection[Any], job: int) -> Takeover | None:
    """Returns how the job of a killed worker was taken over; None until another worker has noticed."""
    with conn.cursor(row_factory=class_row(Takeover)) as cursor:
        return cursor.execute(TAKEOVER, [job]).fetchone()
