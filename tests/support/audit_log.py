"""What the tests look at: the queue, the log, and the way from one to the other."""

from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings

Connection = psycopg.Connection[Any]


def event(number: int = 0) -> AuditEvent:
    """An event like any other."""
    return AuditEvent(action="claim.approved", actor="user:42", target=f"claim:{number}")


def queued(conn: Connection) -> list[dict[str, Any]]:
    """Event and leaf hash (in hexadecimal) of each job in the queue, the oldest first."""
    rows = conn.execute("SELECT event, encode(leaf_hash, 'hex') FROM pgaudit.audit_jobs ORDER BY id").fetchall()
    return [{"event": event, "leaf_hash": leaf_hash} for event, leaf_hash in rows]


def queued_ids(conn: Connection) -> list[UUID]:
    """The ids of the events in the queue, the oldest first."""
    return [UUID(job["event"]["id"]) for job in queued(conn)]


def logged(conn: Connection) -> list[tuple[int, UUID]]:
    """Index and event of each row of the log, in its order."""
    return conn.execute("SELECT index, event_id FROM pgaudit.audit_log ORDER BY index").fetchall()


def logged_ids(conn: Connection) -> list[UUID]:
    """The ids of the events in the log, in its order."""
    return [identity for _, identity in logged(conn)]


def first_gap(conn: Connection) -> str | None:
    """Where the indexes are not 0, 1, 2 … up to the end, or the batches do not cover them; None when all is dense."""
    query = """
        WITH expected AS (SELECT generate_series(0, (SELECT size FROM pgaudit.log_head) - 1) AS index)
        SELECT index, log.index IS NOT NULL, expected.index IS NOT NULL
          FROM (SELECT index FROM pgaudit.audit_log) log FULL JOIN expected USING (index)
         WHERE log.index IS NULL OR expected.index IS NULL ORDER BY index LIMIT 1
    """
    for index, in_log, expected in conn.execute(query).fetchall():
        return f"index {index}: {'in the log' if in_log else 'missing'}, {'below' if expected else 'beyond'} its end"
    batches = conn.execute("SELECT first_index, count FROM pgaudit.batch ORDER BY first_index").fetchall()
    for (first, count), (following, _) in pairwise([(0, 0), *batches]):
        if first + count != following:
            return f"batches: {first} with {count} events is followed by {following}"
    return None


def is_dense(conn: Connection) -> bool:
    """Whether the indexes are 0, 1, 2 … up to the end, and the batches cover them."""
    return first_gap(conn) is None


def assert_dense(conn: Connection) -> None:
    """Fails with the first gap unless the indexes are 0, 1, 2 … up to the end, and the batches cover them."""
    gap = first_gap(conn)
    assert gap is None, gap


def register(conn: Connection) -> UUID:
    """The token of a new worker."""
    (token,) = conn.execute("SELECT token FROM pgaudit.register_worker()").fetchone() or (None,)
    assert isinstance(token, UUID)
    return token


def persist(conn: Connection, batch_size: int = 1_000) -> list[dict[str, Any]]:
    """Persists the oldest fresh jobs, and commits; what could not be persisted."""
    query = "SELECT failures FROM pgaudit.persist(NULL, NULL, %s)"
    (failures,) = conn.execute(query, [batch_size]).fetchone() or ([],)
    conn.commit()
    return list(failures)


def record_and_persist(conn: Connection, settings: Settings, *events: AuditEvent) -> list[dict[str, Any]]:
    """Records events, commits and persists them."""
    AuditLog(settings).record(conn, *events)
    conn.commit()
    return persist(conn)


def insert_poison(conn: Connection, event: str = "{}", hash: bytes | None = None) -> int:  # noqa: A002
    """Inserts a job by hand, as the owner can; its id. Without a leaf hash of its own, it has a wrong one."""
    query = """INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
               VALUES (%(event)s::jsonb, %(hash)s, octet_length(%(event)s::jsonb::text)) RETURNING id"""
    (job,) = conn.execute(query, {"event": event, "hash": hash or b"\0"}).fetchone() or (0,)
    return int(job)


def let_jobs_be_edited(conn: Connection) -> None:
    """As the owner of the table can: without the trigger that refuses it."""
    conn.execute("ALTER TABLE pgaudit.audit_jobs DISABLE TRIGGER reject_event_update")


def make_small_partitions(conn: Connection, size: int = 256) -> None:
    """Replaces the partitions of the empty log by small ones: the one to be filled, and the next."""
    conn.execute("UPDATE pgaudit.settings SET partition_size = %s", [size])
    for (partition,) in conn.execute("SELECT partition::text FROM pgaudit.log_partitions()").fetchall():
        conn.execute(f"DROP TABLE {partition}")
    conn.execute("SELECT pgaudit.ensure_partitions()")
    conn.commit()
