"""Poison events among many good ones."""

import json
from uuid import uuid4

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings, jobs, stats
from tests.support.jobs import insert_poison
from tests.support.processes import worker_process
from tests.support.queries import COUNT_JOB_ERRORS, COUNT_JOBS, LOG_SIZE, value_in
from tests.support.waiting import wait_until

GOOD, POISON = 9_900, 100
FAILED = "SELECT count(*) FROM pgaudit.failed_jobs"
# The waits between the first and second, and the second and third attempt of each job, in seconds.
WAITS = """
    SELECT min(second.failed_at - first.failed_at) >= '1.6 s', min(third.failed_at - second.failed_at) >= '3.2 s'
      FROM pgaudit.job_error first
      JOIN pgaudit.job_error second USING (job_id)
      JOIN pgaudit.job_error third USING (job_id)
     WHERE (first.attempt, second.attempt, third.attempt) = (1, 2, 3)
"""


def poison(number: int) -> dict[str, object]:
    """Returns one of five kinds of events that cannot be persisted."""
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
            pass  # its hash is wrong
    return event


def insert(conn: psycopg.Connection, number: int) -> int:
    """Inserts a poison event as the owner can: every fifth with a wrong hash, the others with theirs."""
    event = json.dumps(poison(number))
    (own_hash,) = conn.execute("SELECT pgaudit.leaf_hash(%s::jsonb)", [event]).fetchone() or (b"",)
    return insert_poison(conn, event, b"\0" if number % 5 == 4 else own_hash)


def queue_events(dsn: str) -> dict[int, str]:
    """Queues good events with a poison one after each 99th; returns the SQLSTATE that each poison job will have."""
    audit = AuditLog(Settings(dsn=dsn))
    states: dict[int, str] = {}
    with psycopg.connect(dsn) as conn:
        for number in range(POISON):
            audit.record(conn, *(AuditEvent(action="claim.approved") for _ in range(GOOD // POISON)))
            states[insert(conn, number)] = "XX001" if number % 5 == 4 else "PA001"
    return states


def test_poison_fails_alone(dsn: str) -> None:
    """Good events are appended; each poison job fails after three attempts, with its error, and can be retried."""
    states = queue_events(dsn)
    with worker_process(dsn):
        wait_until("every poison job has failed", lambda: value_in(dsn, FAILED) == POISON, seconds=60)
        assert value_in(dsn, LOG_SIZE) == GOOD
        with psycopg.connect(dsn) as conn:
            failed = stats.failed_jobs(conn, limit=1_000)
            assert {job.attempts for job in failed} == {3}
            assert {job.job_id: job.error_class for job in failed} == {
                job: {"XX001": "DataCorrupted", "PA001": "InvalidEvent"}[state] for job, state in states.items()
            }
            assert all(job.error_message for job in failed)
            assert conn.execute(WAITS).fetchone() == (True, True)
            assert len(jobs.retry_jobs(conn)) == POISON
        wait_until(
            "POISON * 6 failed attempts are recorded", lambda: value_in(dsn, COUNT_JOB_ERRORS) == POISON * 6, seconds=60
        )
    assert value_in(dsn, COUNT_JOBS) == POISON
