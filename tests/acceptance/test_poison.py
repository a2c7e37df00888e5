"""Events that no worker can persist, among many that it can."""

import json
from uuid import uuid4

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings, jobs, stats
from tests.processes import query, worker
from tests.waiting import wait_until

GOOD, POISON = 9_900, 100
INSERT = "INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name, args) VALUES ('audit', 'pgaudit.persist', %s)"
FAILED = "SELECT count(*) FROM pgaudit.failed_jobs"
# The waits between the first and second, and the second and third attempt of each job, in seconds.
WAITS = """
    SELECT min(second.at - first.at) >= '1.6 s', min(third.at - second.at) >= '3.2 s'
      FROM pgaudit.job_error first
      JOIN pgaudit.job_error second USING (job_id)
      JOIN pgaudit.job_error third USING (job_id)
     WHERE (first.attempt, second.attempt, third.attempt) = (1, 2, 3)
"""


def poison(number: int) -> dict[str, object]:
    """One of five ways in which an event, made past validation, can be impossible to persist."""
    event: dict[str, object] = {
        "id": str(uuid4()),
        "action": "claim.approved",
        "outcome": "success",
        "occurred_at": "2026-11-24T12:00:00Z",
        "recorded_at": "2026-11-24T12:00:00Z",
    }
    match number % 5:
        case 0:
            del event["id"]
        case 1:
            event["id"] = "no uuid"
        case 2:
            event["occurred_at"] = "yesterday evening"
        case 3:
            event["action"] = None
        case _:
            return {"event": event, "leaf_hash": "00", "xid": "1"}
    return {"event": event, "xid": "1"}


def queue_events(dsn: str) -> None:
    """Queues the good events, with a poison one after every 99th."""
    audit = AuditLog(Settings(dsn=dsn))
    with psycopg.connect(dsn) as conn:
        for number in range(POISON):
            audit.record(conn, *(AuditEvent(action="claim.approved") for _ in range(GOOD // POISON)))
            conn.execute(INSERT, [json.dumps(poison(number))])


def test_poison_fails_alone(dsn: str) -> None:
    """The good events get through; each bad one fails after three attempts, with its error, and can be retried."""
    queue_events(dsn)
    with worker(dsn):
        wait_until(lambda: query(dsn, FAILED) == POISON, seconds=60)
        assert query(dsn, "SELECT size FROM pgaudit.log_head") == GOOD
        with psycopg.connect(dsn) as conn:
            failed = stats.failed_jobs(conn, limit=1_000)
            assert {job.attempts for job in failed} == {3}
            assert all(job.error_class and job.error_message for job in failed)
            assert conn.execute(WAITS).fetchone() == (True, True)
            assert len(jobs.retry(conn)) == POISON
        wait_until(lambda: query(dsn, "SELECT count(*) FROM pgaudit.job_error") == POISON * 6, seconds=60)
    assert query(dsn, "SELECT count(*) FROM pgaudit.procrastinate_jobs") == POISON
