"""The low watermark of the queue, and what moves it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings
from tests.support.jobs import register
from tests.support.queries import Connection, value

PERSIST = "SELECT taken FROM pgaudit.persist(NULL, NULL, %s)"
WATERMARK = "SELECT max(low_watermark) FROM pgaudit.queue_watermark"
PASSED = "SELECT cardinality(passed_xids) FROM pgaudit.queue_watermark ORDER BY low_watermark DESC LIMIT 1"
ISSUED = "SELECT last_value FROM pgaudit.procrastinate_jobs_id_seq"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
BUFFERS = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "


def record_uncommitted(conn: Connection, count: int) -> list[UUID]:
    """Queues that many events in the open transaction; returns their ids."""
    made = [AuditEvent(action="claim.approved") for _ in range(count)]
    AuditLog(Settings()).record(conn, *made)
    return [each.id for each in made]


def persist_all(dsn: str, size: int = 1_000) -> int:
    """Persists the fresh jobs, batch by batch, on a connection of its own; returns how many."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return sum(iter(lambda: int(value(conn, PERSIST, [size])), 0))


def work_all(dsn: str, size: int = 1_000) -> int:
    """Fetches and persists all due jobs as a worker does, on a connection of its own; returns how many."""
    count = 0
    with psycopg.connect(dsn, autocommit=True) as conn:
        _, worker = register(conn)
        while (job := value(conn, "SELECT job_id FROM pgaudit.fetch_job(%s)", [worker])) is not None:
            count += value(conn, "SELECT taken FROM pgaudit.persist(%s, %s, %s)", [worker, job, size])
    return count


def pages(conn: Connection, query: str) -> int:
    """Returns the number of pages that a query reads."""
    (plan,) = json.loads(json.dumps(value(conn, BUFFERS + query)))
    return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


@contextmanager
def old_snapshot(dsn: str) -> Iterator[None]:
    """Keeps a REPEATABLE READ transaction open inside the block, as a long report does."""
    with psycopg.connect(dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM pgaudit.audit_log")
        yield


def commit_and_drain(dsn: str, conn: Connection, rounds: int) -> None:
    """Commits 2,000 events and persists them; repeats that ``rounds`` times."""
    for _ in range(rounds):
        record_uncommitted(conn, 2_000)
        conn.commit()
        assert persist_all(dsn) == 2_000


def behind(conn: Connection) -> int:
    """Returns the number of ids between the watermark and the last id."""
    return int(value(conn, ISSUED) - value(conn, WATERMARK))
