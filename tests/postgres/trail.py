"""What the tests look at: the queue, the log, and the way from one to the other."""

from typing import Any
from uuid import UUID

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings

Connection = psycopg.Connection[Any]


def event(number: int = 0) -> AuditEvent:
    """An event like any other."""
    return AuditEvent(action="claim.approved", actor="user:42", target=f"claim:{number}")


def queued(conn: Connection) -> list[dict[str, Any]]:
    """The args of the jobs in the queue, the oldest first."""
    return [row[0] for row in conn.execute("SELECT args FROM pgaudit.procrastinate_jobs ORDER BY id").fetchall()]


def queued_ids(conn: Connection) -> list[UUID]:
    """The ids of the events in the queue, the oldest first."""
    return [UUID(args["event"]["id"]) for args in queued(conn)]


def logged(conn: Connection) -> list[tuple[int, UUID]]:
    """Index and event of each row of the log, in its order."""
    return conn.execute("SELECT index, event_id FROM pgaudit.audit_log ORDER BY index").fetchall()


def logged_ids(conn: Connection) -> list[UUID]:
    """The ids of the events in the log, in its order."""
    return [identity for _, identity in logged(conn)]


def is_dense(conn: Connection) -> bool:
    """Whether the indexes are 0, 1, 2 … up to the head, and the batches cover them."""
    query = """
        SELECT (SELECT array_agg(index ORDER BY index) FROM pgaudit.audit_log),
               (SELECT array_agg(i ORDER BY i)
                  FROM pgaudit.batch, generate_series(first_index, first_index + count - 1) i),
               (SELECT array_agg(i) FROM generate_series(0, (SELECT size FROM pgaudit.log_head) - 1) i)
    """
    indexes, batches, expected = conn.execute(query).fetchone() or ((), (), ())
    return bool(indexes == batches == expected)


def persist(conn: Connection, batch_size: int = 1_000) -> list[dict[str, Any]]:
    """Persists one batch as a worker would, and commits; what could not be persisted."""
    query = "SELECT failures FROM pgaudit.persist(1, NULL, %s)"
    (failures,) = conn.execute(query, [batch_size]).fetchone() or ([],)
    conn.commit()
    return list(failures)


def record_and_persist(conn: Connection, settings: Settings, *events: AuditEvent) -> list[dict[str, Any]]:
    """Records events, commits and persists them."""
    AuditLog(settings).record(conn, *events)
    conn.commit()
    return persist(conn)


def let_jobs_be_edited(conn: Connection) -> None:
    """As the owner of the tables can: without the triggers that refuse it."""
    for table in ("procrastinate_jobs", "audit_jobs"):
        conn.execute(f"DROP TRIGGER IF EXISTS refuse_edit ON pgaudit.{table}")
