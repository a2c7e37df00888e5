"""The verification: every committed change against every event in the log, by SQL."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

# A claim counts its own changes: version 3 has been changed three times, and each event says which time it is.
VERIFY: Final = """
    WITH change AS (
        SELECT id AS claim, n AS version FROM claim, generate_series(1, claim.version) n
    ), event AS (
        SELECT target_id::bigint AS claim, (event->'data'->>'version')::integer AS version, count(*) AS times
          FROM pgaudit.audit_log WHERE target_type = 'claim' GROUP BY 1, 2
    ), matched AS (
        SELECT change.claim AS changed, event.claim AS logged, times
          FROM change FULL JOIN event USING (claim, version)
    )
    SELECT count(changed) AS changes,
           coalesce(sum(times), 0)::bigint AS events,
           count(*) FILTER (WHERE logged IS NULL) AS missing,
           count(*) FILTER (WHERE times > 1) AS doubled,
           count(*) FILTER (WHERE changed IS NULL) AS unfounded,
           (SELECT coalesce(max(index) + 1, 0) - count(*) FROM pgaudit.audit_log) AS gaps,
           (SELECT count(*) FROM pgaudit.audit_log
             WHERE leaf_hash <> pgaudit.leaf_hash(event)) AS altered
      FROM matched
"""
TRAIL: Final = """
    SELECT l.index, l.event_id, l.occurred_at, l.action, l.actor_type || ':' || l.actor_id AS actor,
           coalesce(l.event->'data'->>'amount', l.event->'data'->>'approval_amount', l.event->'data'->>'payment',
                    l.event->'data'->>'reason') AS detail,
           extract(epoch FROM l.persisted_at - l.recorded_at)::double precision AS lag, b.worker_id AS worker
      FROM pgaudit.audit_log l
      JOIN pgaudit.batch b ON l.index >= b.first_index AND l.index < b.first_index + b.count
     WHERE l.target_type = 'claim' AND l.target_id = %s
     ORDER BY l.occurred_at, l.index
"""
# The claim whose event was taken over; without one, the last that was settled.
CLAIM: Final = """
    SELECT target_id FROM pgaudit.audit_log
     WHERE target_type = 'claim' AND (event_id = %(event)s OR %(event)s::uuid IS NULL AND action = 'claim.settled')
     ORDER BY index DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Verification:
    """Both sides, and what does not match: all of it is 0 when the trail is right."""

    changes: int
    events: int
    missing: int
    doubled: int
    unfounded: int
    gaps: int
    altered: int

    @property
    def right(self) -> bool:
        """Returns whether every committed change has its event, once, and the audit log holds nothing else."""
        wrong = self.missing + self.doubled + self.unfounded + self.gaps + self.altered
        return self.changes == self.events > 0 and wrong == 0


@dataclass(frozen=True, slots=True)
class Step:
    """An event of one claim. ``lag``: seconds from the change to the log; ``worker``: who appended it."""

    index: int
    event_id: UUID
    occurred_at: datetime
    action: str
    actor: str
    detail: str | None
    lag: float
    worker: int | None


def verify(conn: psycopg.Connection[Any]) -> Verification:
    """Counts the changes and the events."""
    with conn.cursor(row_factory=class_row(Verification)) as cursor:
        return cursor.execute(VERIFY).fetchone() or Verification(0, 0, 0, 0, 0, 0, 0)


def claim_to_show(conn: psycopg.Connection[Any], event: UUID | None) -> str | None:
    """Returns the number of a claim whose trail is interesting."""
    with psycopg.Cursor(conn) as cursor:
        row = cursor.execute(CLAIM, {"event": event}).fetchone()
    return row[0] if row else None


def trail_of(conn: psycopg.Connection[Any], claim: str) -> list[Step]:
    """Returns the trail of a claim."""
    with conn.cursor(row_factory=class_row(Step)) as cursor:
        return cursor.execute(TRAIL, [claim]).fetchall()
