"""Shows the life of a claim, and what it looked like at a moment."""

from collections.abc import Iterator
from datetime import datetime

import psycopg

from pgaudit import AuditEvent, AuditLog, Change, trail

audit = AuditLog()


def approve(conn: psycopg.Connection, claim: int) -> None:
    """Records what the change was, beside the change itself."""
    event = AuditEvent(
        action="claim.approved",
        actor="user:42",
        target=f"claim:{claim}",
        changes=[Change(path="status", before="open", after="approved")],
    )
    with conn.transaction():
        conn.execute("UPDATE claims SET status = 'approved' WHERE id = %s", [claim])
        audit.record(conn, event)


def life(conn: psycopg.Connection, claim: int) -> Iterator[str]:
    """Yields a line for each event of a claim, and one for each field."""
    timeline = trail.timeline(conn, f"claim:{claim}")
    for moment in timeline.moments:
        yield f"{moment.occurred_at:%Y-%m-%d} {moment.action} by {moment.actor}"
    for path, told in timeline.state().items():
        yield f"{path}: {told.value if told.known else 'unknown'}, since {told.by.action}"


def status(conn: psycopg.Connection, claim: int, moment: datetime) -> object:
    """Returns the status at a moment: None if the claim had none, "unknown" if no event tells it."""
    told = trail.timeline(conn, f"claim:{claim}").state(as_of=moment).get("status")
    return told.value if told and told.known else "unknown"


def changed_since(conn: psycopg.Connection, claim: int, moment: datetime) -> list[str]:
    """Returns the fields that are not the same now as at a moment."""
    return [difference.path for difference in trail.timeline(conn, f"claim:{claim}").difference(moment)]
