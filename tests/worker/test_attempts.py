"""Attempts at a job: which count, and what is recorded of them."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgaudit import Settings, jobs
from pgaudit.worker import persist
from tests.support.audit_log import assert_dense
from tests.support.jobs import insert_poison_and_commit, queue_events
from tests.support.queries import COUNT_JOB_ERRORS, COUNT_JOBS, LOG_SIZE, Connection, rows_and_commit, value_and_commit
from tests.support.waiting import wait_until_async
from tests.support.worker import drain, working

pytestmark = pytest.mark.anyio

ERRORS = "SELECT attempt, error_class, sqlstate FROM pgaudit.job_error WHERE job_id = %s ORDER BY id"
STATE = "SELECT status::text, attempts, stalls FROM pgaudit.audit_jobs WHERE id = %s"


async def test_each_failed_attempt_has_a_row(dsn: str, conn: Connection) -> None:
    """A job that fails three times has three rows and stays as failed; its neighbours are in the log."""
    queue_events(dsn, 3)
    job = insert_poison_and_commit(conn)
    queue_events(dsn, 3)
    await drain(Settings(dsn=dsn, job_backoff_delay=0))
    assert rows_and_commit(conn, ERRORS, [job]) == [(attempt, "DataCorrupted", "XX001") for attempt in (1, 2, 3)]
    assert rows_and_commit(conn, STATE, [job]) == [("failed", 3, 0)]
    assert value_and_commit(conn, LOG_SIZE) == 6
    assert value_and_commit(conn, COUNT_JOBS) == 1
    assert_dense(conn)


async def test_a_failed_job_runs_again_when_it_is_retried(dsn: str, conn: Connection) -> None:
    """A job that is retried starts from its first attempt; its errors are kept."""
    job = insert_poison_and_commit(conn)
    settings = Settings(dsn=dsn, job_backoff_delay=0, job_attempts=2)
    await drain(settings)
    await drain(settings)
    assert jobs.retry_jobs(conn, [job]) == [job]
    conn.commit()
    assert rows_and_commit(conn, STATE, [job]) == [("todo", 0, 0)]
    await drain(settings)
    assert [attempt for attempt, *_ in rows_and_commit(conn, ERRORS, [job])] == [1, 2, 1, 2]


async def test_a_retry_waits_no_longer_than_the_maximum(dsn: str, conn: Connection) -> None:
    """The next attempt is no further away than job_backoff_max and a fifth, however many there were."""
    job = insert_poison_and_commit(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET attempts = 50")
    conn.commit()
    await drain(Settings(dsn=dsn, job_attempts=100, job_backoff_delay=2_000, job_backoff_max=60_000))
    query = """SELECT scheduled_at - failed_at FROM pgaudit.audit_jobs j JOIN pgaudit.job_error ON job_id = j.id
                WHERE j.id = %s"""
    assert timedelta(seconds=47) < value_and_commit(conn, query, [job]) < timedelta(seconds=73)


async def test_jobs_that_failed_together_do_not_come_back_together(dsn: str, conn: Connection) -> None:
    """Delays are spread by a fifth, so that jobs that failed together are retried at different times."""
    for _ in range(20):
        insert_poison_and_commit(conn)
    await drain(Settings(dsn=dsn, job_backoff_delay=100_000))
    query = "SELECT max(scheduled_at) - min(scheduled_at) FROM pgaudit.audit_jobs"
    assert value_and_commit(conn, query) > timedelta(seconds=5)


@pytest.mark.parametrize(
    ("broken", "repaired", "sqlstate"),
    [
        (
            "ALTER FUNCTION pgaudit.append_rows RENAME TO gone",
            "ALTER FUNCTION pgaudit.gone RENAME TO append_rows",
            "42883",
        ),
        ("ALTER TABLE pgaudit.audit_log RENAME TO gone", "ALTER TABLE pgaudit.gone RENAME TO audit_log", "42P01"),
    ],
    ids=["function", "table"],
)
async def test_a_missing_object_counts_as_no_attempt(
    dsn: str, conn: Connection, broken: str, repaired: str, sqlstate: str
) -> None:
    """A job that meets a missing function or table is tried again until the object is back."""
    queue_events(dsn, 5)
    conn.execute(broken)
    conn.commit()
    async with working(Settings(dsn=dsn, job_attempts=1, job_backoff_delay=20, poll_interval=0.05)):
        await wait_until_async(
            "at least 4 failed attempts are recorded", lambda: value_and_commit(conn, COUNT_JOB_ERRORS) >= 4
        )
        assert value_and_commit(conn, "SELECT max(attempts) FROM pgaudit.audit_jobs") == 0
        assert rows_and_commit(conn, "SELECT DISTINCT attempt, sqlstate FROM pgaudit.job_error") == [(1, sqlstate)]
        conn.execute(repaired)
        conn.commit()
        await wait_until_async("the log has 5 events", lambda: value_and_commit(conn, LOG_SIZE) == 5)
    assert value_and_commit(conn, COUNT_JOBS) == 0


async def test_a_lock_timeout_counts_as_no_attempt(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A transaction that holds the end of the log delays events and fails none; the worker names it."""
    for name in ("BEGIN", "BEGIN_SINCE_17"):
        monkeypatch.setattr(persist, name, getattr(persist, name).replace("'10s'", "'50ms'"))
    queue_events(dsn, 5)
    conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
    settings = Settings(dsn=dsn, job_attempts=1, job_backoff_delay=20)
    with psycopg.connect(dsn, autocommit=True) as other:
        async with working(settings):
            await wait_until_async(
                "at least 3 failed attempts are recorded", lambda: value_and_commit(other, COUNT_JOB_ERRORS) >= 3
            )
            conn.rollback()
            await wait_until_async("the log has 5 events", lambda: value_and_commit(other, LOG_SIZE) == 5)
        assert rows_and_commit(other, "SELECT DISTINCT attempt, sqlstate FROM pgaudit.job_error") == [(1, "55P03")]
    assert f"the end of the audit log is locked by process {conn.info.backend_pid}" in caplog.text


async def test_a_connection_lost_in_a_batch_counts_as_no_attempt(dsn: str, conn: Connection) -> None:
    """A batch whose connection was terminated is rolled back, and persisted again."""
    queue_events(dsn, 5)
    conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
    with psycopg.connect(dsn, autocommit=True) as other:
        async with working(Settings(dsn=dsn, job_attempts=1, job_backoff_delay=20, stalled_after=2)):
            await wait_until_async("the batch waits for the end of the log", lambda: blocked(other))
            other.execute("SELECT pg_terminate_backend(%s)", blocked(other)[0])
            conn.rollback()
            await wait_until_async("the log has 5 events", lambda: value_and_commit(other, LOG_SIZE) == 5)
        assert rows_and_commit(other, "SELECT DISTINCT attempt, sqlstate FROM pgaudit.job_error") == []
        assert value_and_commit(other, COUNT_JOBS) == 0
        assert_dense(other)


async def test_the_loss_of_all_connections_counts_as_no_attempt(dsn: str, conn: Connection) -> None:
    """A worker that loses all connections at once goes on."""
    queue_events(dsn, 5)
    conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
    with psycopg.connect(dsn, autocommit=True) as other:
        async with working(Settings(dsn=dsn, job_attempts=1, job_backoff_delay=20, stalled_after=2)):
            await wait_until_async("the batch waits for the end of the log", lambda: blocked(other))
            other.execute("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                              WHERE datname = current_database() AND application_name = 'pgaudit worker'""")
            conn.rollback()
            await wait_until_async("the log has 5 events", lambda: value_and_commit(other, LOG_SIZE) == 5)
        assert value_and_commit(other, COUNT_JOBS) == 0
        assert value_and_commit(other, "SELECT count(*) FROM pgaudit.job_error WHERE attempt > 1") == 0


def blocked(conn: Connection) -> list[tuple[Any, ...]]:
    """Returns the worker's backends that wait for a lock in this database."""
    return rows_and_commit(
        conn,
        """SELECT pid FROM pg_stat_activity WHERE datname = current_database()
              AND application_name = 'pgaudit worker' AND wait_event_type = 'Lock'""",
    )
