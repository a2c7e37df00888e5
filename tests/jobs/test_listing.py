"""Acknowledging a failed job: it leaves the queue, and an event records that."""

import json
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, InvalidParameterValue

from pgaudit import AuditLog, Settings, grants, health, jobs, stats
from pgaudit.errors import JobNotFound
from pgaudit.testing.trail import events_of
from tests.support.events import event
from tests.support.jobs import (
    fetch_and_commit,
    insert_poison_and_commit,
    persist_and_commit,
    queue_events,
    register_and_commit,
)
from tests.support.queries import Connection, rows_and_commit, value_and_commit
from tests.support.roles import temporary_roles
from tests.support.worker import drain

pytestmark = pytest.mark.anyio

ROLE = "an_operator"
POISON = '{"id": "no uuid", "action": "claim.approved"}'
QUEUE = "SELECT id, status::text FROM pgaudit.audit_jobs ORDER BY id"
KEPT = """
    SELECT job_id, event, encode(leaf_hash, 'hex'), attempts, error_class, reason, acknowledged_by
      FROM pgaudit.acknowledged_jobs
"""


@pytest.fixture
def as_operator(dsn: str) -> Iterator[Connection]:
    """A connection of a role that was granted an operator's rights."""
    with temporary_roles(dsn, ROLE):
        with psycopg.connect(dsn) as owner:
            grants.grant(owner, operator=ROLE)
        with psycopg.connect(dsn, user=ROLE, autocommit=True) as conn:
            yield conn


async def failed_job(dsn: str, conn: Connection) -> int:
    """Returns the id of a job that has failed for good."""
    job = insert_poison_and_commit(conn, POISON)
    await drain(Settings(dsn=dsn, job_attempts=1))
    assert rows_and_commit(conn, QUEUE) == [(job, "failed")]
    return job


def verdict_and_commit(conn: Connection) -> tuple[str, object]:
    """Returns status and number of the health check of failed jobs, and commits."""
    report = health.check(conn)
    conn.commit()
    ((status, observed),) = [(check.status.value, check.observed) for check in report.checks if check.name == "failed"]
    return status, observed


async def test_an_acknowledged_job_leaves_the_queue_and_its_event_is_kept(
    dsn: str, conn: Connection, as_operator: Connection
) -> None:
    """An acknowledged job is gone; its event, its last error, the reason and the role are kept."""
    job = await failed_job(dsn, conn)
    assert verdict_and_commit(conn) == ("degraded", 1)
    jobs.acknowledge_job(as_operator, job, "inserted by hand, 2026-11-24")
    assert verdict_and_commit(conn) == ("healthy", 0)
    assert rows_and_commit(conn, KEPT) == [
        (job, json.loads(POISON), "00", 1, "DataCorrupted", "inserted by hand, 2026-11-24", ROLE)
    ]
    assert stats.failed_jobs(conn) == []
    assert rows_and_commit(conn, "SELECT job_id FROM pgaudit.job_error") == [(job,)]


async def test_an_acknowledgement_is_an_audit_event(dsn: str, conn: Connection, as_operator: Connection) -> None:
    """The log has an event about who acknowledged which job, and why."""
    job = await failed_job(dsn, conn)
    jobs.acknowledge_job(as_operator, job, "broken")
    await drain(Settings(dsn=dsn))
    assert rows_and_commit(conn, QUEUE) == []
    (recorded,) = events_of(conn)
    assert recorded.action == "audit_job.acknowledged"
    assert recorded.actor
    assert recorded.actor.type == "db_role"
    assert recorded.actor.id == ROLE
    assert recorded.reason == "broken"
    assert [(target.type, target.id) for target in recorded.targets] == [("audit_job", str(job))]
    assert recorded.data == {"event_id": "no uuid", "leaf_hash": "00", "error_class": "DataCorrupted"}
    assert value_and_commit(conn, "SELECT event->>'recorded_by' FROM pgaudit.audit_log") == ROLE


async def test_an_acknowledgement_that_is_rolled_back_changes_nothing(dsn: str, conn: Connection) -> None:
    """The job leaves the queue in the transaction that records why, or not at all."""
    job = await failed_job(dsn, conn)
    with conn.transaction(force_rollback=True):
        jobs.acknowledge_job(conn, job, "broken")
    assert rows_and_commit(conn, QUEUE) == [(job, "failed")]
    assert rows_and_commit(conn, KEPT) == []


@pytest.mark.parametrize("state", ["fresh", "running", "waiting for a retry", "in the log", "unknown"])
async def test_only_a_failed_job_can_be_acknowledged(dsn: str, conn: Connection, state: str) -> None:
    """A job that may still succeed cannot be taken out of the queue."""
    queue_events(dsn)
    job = value_and_commit(conn, "SELECT id FROM pgaudit.audit_jobs")
    if state == "running":
        _, token = register_and_commit(conn)
        assert fetch_and_commit(conn, token) == job
    elif state == "waiting for a retry":
        conn.execute("UPDATE pgaudit.audit_jobs SET attempts = 1, scheduled_at = now() + interval '1 hour'")
    elif state == "in the log":
        persist_and_commit(conn)
    before = rows_and_commit(conn, QUEUE)
    with pytest.raises(JobNotFound, match="only failed jobs of the log can"):
        jobs.acknowledge_job(conn, job + (state == "unknown"), "in the way")
    conn.rollback()
    assert rows_and_commit(conn, QUEUE) == before
    assert rows_and_commit(conn, KEPT) == []


@pytest.mark.parametrize("reason", ["", "  \t", "x" * 2_001], ids=["empty", "blank", "too long"])
async def test_an_acknowledgement_needs_a_reason(dsn: str, conn: Connection, reason: str) -> None:
    """A reason has 1 to 2,000 characters that are not all blank."""
    job = await failed_job(dsn, conn)
    with pytest.raises(InvalidParameterValue, match=r"give a reason of 1 to 2,000 characters"):
        jobs.acknowledge_job(conn, job, reason)
    conn.rollback()
    assert rows_and_commit(conn, QUEUE) == [(job, "failed")]


@pytest.mark.parametrize("statement", ["DELETE FROM", "TRUNCATE", "UPDATE"])
async def test_an_acknowledgement_cannot_be_undone(
    dsn: str, conn: Connection, as_operator: Connection, statement: str
) -> None:
    """Neither the owner nor an operator can change or delete an acknowledged event."""
    job = await failed_job(dsn, conn)
    jobs.acknowledge_job(conn, job, "broken")
    conn.commit()
    tampering = f"{statement} pgaudit.acknowledged_jobs" + (" SET reason = 'none'" if statement == "UPDATE" else "")
    for connection in (conn, as_operator):
        with pytest.raises(InsufficientPrivilege):
            connection.execute(tampering)
        connection.rollback()
    assert [kept for kept, *_ in rows_and_commit(conn, KEPT)] == [job]


async def test_an_acknowledged_job_covers_no_other_event(dsn: str, conn: Connection) -> None:
    """An acknowledgement lets its own job be deleted, and no other job with the same event or the same number."""
    job = await failed_job(dsn, conn)
    again = insert_poison_and_commit(conn, POISON)
    jobs.acknowledge_job(conn, job, "broken")
    conn.commit()
    with pytest.raises(InsufficientPrivilege, match="not in the audit log yet"):
        conn.execute("DELETE FROM pgaudit.audit_jobs WHERE id = %s", [again])
    conn.rollback()
    made = event()
    AuditLog(Settings(dsn=dsn)).record(conn, made)
    conn.execute("DELETE FROM pgaudit.audit_jobs WHERE false")
    (other,) = conn.execute("SELECT id FROM pgaudit.audit_jobs WHERE event->>'id' = %s", [str(made.id)]).fetchone() or (
        0,
    )
    conn.execute("ALTER TABLE pgaudit.audit_jobs DISABLE TRIGGER reject_event_update")
    conn.execute("UPDATE pgaudit.audit_jobs SET id = %s WHERE id = %s", [job, other])
    with pytest.raises(InsufficientPrivilege, match="not in the audit log yet"):
        conn.execute("DELETE FROM pgaudit.audit_jobs WHERE id = %s", [job])
    conn.rollback()


async def test_an_event_of_any_shape_can_be_acknowledged(dsn: str, conn: Connection) -> None:
    """A failed job can be acknowledged even if its event is no object or has a very long id."""
    odd = [
        insert_poison_and_commit(conn, "7"),
        insert_poison_and_commit(conn, "[]"),
        insert_poison_and_commit(conn, json.dumps({"id": "x" * 9_000})),
    ]
    await drain(Settings(dsn=dsn, job_attempts=1))
    for job in odd:
        jobs.acknowledge_job(conn, job, "odd")
        conn.commit()
    await drain(Settings(dsn=dsn))
    assert rows_and_commit(conn, QUEUE) == []
    ids = [recorded.data["event_id"] for recorded in events_of(conn)]
    assert ids == [None, None, "x" * 100]
    assert all(isinstance(recorded.id, UUID) for recorded in events_of(conn))
