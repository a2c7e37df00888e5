"""The queue: filling it, reading it, and doing what a worker does with it."""

from typing import Any
from uuid import UUID

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings
from tests.support.events import events
from tests.support.queries import Connection


def record_and_commit(conn: Connection, *recorded: AuditEvent) -> None:
    """Queues events in one transaction, and commits it; the connection may be in autocommit."""
    with conn.transaction():
        AuditLog(Settings()).record(conn, *recorded)
    conn.commit()


def queue_events(dsn: str, count: int = 1) -> None:
    """Queues that many events, on a connection of its own."""
    with psycopg.connect(dsn) as conn:
        record_and_commit(conn, *events(count))


def queued(conn: Connection) -> list[dict[str, Any]]:
    """Returns event and leaf hash (in hexadecimal) of each job in the queue, the oldest first."""
    rows = conn.execute("SELECT event, encode(leaf_hash, 'hex') FROM pgaudit.audit_jobs ORDER BY id").fetchall()
    return [{"event": event, "leaf_hash": leaf_hash} for event, leaf_hash in rows]


def queued_events(conn: Connection) -> list[dict[str, Any]]:
    """Returns the event of each job in the queue, the oldest first."""
    return [job["event"] for job in queued(conn)]


def queued_events_in(dsn: str) -> list[dict[str, Any]]:
    """Returns the event of each committed job in the queue, on a connection of its own."""
    with psycopg.connect(dsn) as conn:
        return queued_events(conn)


def queued_ids(conn: Connection) -> list[UUID]:
    """Returns the ids of the events in the queue, the oldest first."""
    return [UUID(job["event"]["id"]) for job in queued(conn)]


def insert_poison(conn: Connection, event: str = "{}", leaf_hash: bytes = b"\0") -> int:
    """Inserts a job that cannot be persisted, as the owner of the table can; returns its id."""
    query = """INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
               VALUES (%(event)s::jsonb, %(leaf_hash)s, octet_length(%(event)s::jsonb::text)) RETURNING id"""
    (job,) = conn.execute(query, {"event": event, "leaf_hash": leaf_hash}).fetchone() or (0,)
    return int(job)


def insert_poison_and_commit(conn: Connection, event: str = "{}") -> int:
    """Inserts a job that cannot be persisted, and commits; returns its id."""
    job = insert_poison(conn, event)
    conn.commit()
    return job


def let_jobs_be_edited(conn: Connection) -> None:
    """Disables the trigger that protects the events in the queue, as the owner of the table can."""
    conn.execute("ALTER TABLE pgaudit.audit_jobs DISABLE TRIGGER reject_event_update")


def register(conn: Connection, stalled_after: str = "30 s", max_stalls: int = 5) -> tuple[int, UUID]:
    """Registers a worker; returns its id and its token."""
    query = "SELECT worker_id, token FROM pgaudit.register_worker(%s, %s)"
    ((worker, token),) = conn.execute(query, [stalled_after, max_stalls]).fetchall()
    return worker, token


def register_and_commit(conn: Connection, stalled_after: str = "30 s", max_stalls: int = 5) -> tuple[int, UUID]:
    """Registers a worker, and commits; returns its id and its token."""
    registered = register(conn, stalled_after, max_stalls)
    conn.commit()
    return registered


def date_back_heartbeat_and_commit(conn: Connection, worker: int, age: str = "1 minute") -> None:
    """Makes the last heartbeat of a worker that old, and commits."""
    query = "UPDATE pgaudit.procrastinate_workers SET last_heartbeat = clock_timestamp() - %s::interval WHERE id = %s"
    conn.execute(query, [age, worker])
    conn.commit()


def fetch_and_commit(conn: Connection, token: UUID | None) -> int | None:
    """Fetches a job for the worker with that token, and commits; returns the job's id, None if there is none."""
    row = conn.execute("SELECT job_id FROM pgaudit.fetch_job(%s)", [token]).fetchone()
    conn.commit()
    return row[0] if row else None


def persist_and_commit(conn: Connection, batch_size: int = 1_000) -> list[dict[str, Any]]:
    """Persists a batch of the oldest fresh jobs, and commits; returns the failures."""
    _, failures = persist_with_and_commit(conn, None, None, batch_size)
    return failures


def persist_with_and_commit(
    conn: Connection, token: UUID | None, job: int | None, batch_size: int = 1_000
) -> tuple[int, list[dict[str, Any]]]:
    """Persists the batch of a worker's fetched job, and commits; returns how many jobs were taken, and the failures."""
    query = "SELECT taken, failures FROM pgaudit.persist(%s, %s, %s)"
    ((taken, failures),) = conn.execute(query, [token, job, batch_size]).fetchall()
    conn.commit()
    return taken, failures


def record_persist_and_commit(conn: Connection, *recorded: AuditEvent) -> list[dict[str, Any]]:
    """Records and persists events, each in a transaction that it commits; returns the failures."""
    record_and_commit(conn, *recorded)
    return persist_and_commit(conn)
