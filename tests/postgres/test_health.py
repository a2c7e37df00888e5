"""The health report: each check turns when its cause appears."""

from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings, health
from pgaudit.health import HealthReport, Status
from pgaudit.recording import spool
from tests.postgres.trail import insert_poison, let_jobs_be_edited

AGE = """
    UPDATE pgaudit.audit_jobs SET event = jsonb_set(event, '{recorded_at}', to_jsonb(now() - interval '61 seconds'))
"""


def verdict(report: HealthReport, name: str) -> Status:
    """What the report says of one check."""
    (check,) = [check for check in report.checks if check.name == name]
    return check.status


@pytest.fixture
def patient(dsn: str, tmp_path: Path) -> Settings:
    """Settings with a spool of their own."""
    return Settings(dsn=dsn, spool_dir=tmp_path)


def start_worker(conn: psycopg.Connection) -> None:
    """Registers a worker that has just sent a heartbeat."""
    conn.execute("SELECT pgaudit.register_worker()")


def test_an_idle_trail_with_a_worker_is_healthy(conn: psycopg.Connection, patient: Settings) -> None:
    """Every check is healthy, and says what it saw in a sentence."""
    start_worker(conn)
    report = health.check(conn, patient)
    assert report.status is Status.HEALTHY, report
    assert all(check.message.endswith(".") for check in report.checks)


@pytest.mark.anyio
async def test_the_async_check_sees_the_same(dsn: str, conn: psycopg.Connection, patient: Settings) -> None:
    """check_async is check for asynchronous connections."""
    async with await psycopg.AsyncConnection.connect(dsn) as async_conn:
        seen = await health.check_async(async_conn, patient)
    assert [check.name for check in seen.checks] == [check.name for check in health.check(conn, patient).checks]


def test_no_worker_is_degraded_and_an_old_event_unhealthy(conn: psycopg.Connection, patient: Settings) -> None:
    """Lag is the contract: without workers the trail degrades, and turns unhealthy when an event waits too long."""
    assert verdict(health.check(conn, patient), "workers") is Status.DEGRADED
    AuditLog(patient).record(conn, AuditEvent(action="claim.approved"))
    let_jobs_be_edited(conn)
    conn.execute(AGE)
    report = health.check(conn, patient)
    assert (report.status, verdict(report, "oldest_waiting")) == (Status.UNHEALTHY, Status.UNHEALTHY)


def test_an_old_event_that_a_dead_worker_holds_is_unhealthy(conn: psycopg.Connection, patient: Settings) -> None:
    """It is not in the log either: until a worker reclaims it, its age counts."""
    AuditLog(patient).record(conn, AuditEvent(action="claim.approved"))
    let_jobs_be_edited(conn)
    conn.execute(AGE)
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = 99")
    assert verdict(health.check(conn, patient), "oldest_waiting") is Status.UNHEALTHY


def test_no_worker_is_needed_inline(conn: psycopg.Connection, patient: Settings) -> None:
    """With PGAUDIT_MODE=inline nothing waits for a worker."""
    assert health.check(conn, patient.model_copy(update={"mode": "inline"})).status is Status.HEALTHY


def test_a_failed_job_degrades(conn: psycopg.Connection, patient: Settings) -> None:
    """A job that failed for good waits for an operator."""
    insert_poison(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'failed'")
    assert verdict(health.check(conn, patient), "failed") is Status.DEGRADED


def test_a_stalled_job_degrades(conn: psycopg.Connection, patient: Settings) -> None:
    """A running job without a living worker waits to be reclaimed."""
    insert_poison(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = 99")
    assert verdict(health.check(conn, patient), "stalled") is Status.DEGRADED


def test_a_spooled_event_degrades(conn: psycopg.Connection, patient: Settings) -> None:
    """An event in a file is safe, but not in the log."""
    spool.append(patient.require_spool_dir(), ['{"id": "x"}'], None)
    assert verdict(health.check(conn, patient), "spooled") is Status.DEGRADED


def test_a_missing_partition_degrades(conn: psycopg.Connection, patient: Settings) -> None:
    """The partition ahead of the one that is being filled must exist before it is needed."""
    (ahead,) = conn.execute(
        "SELECT partition::text FROM pgaudit.log_partitions() WHERE first_index > 0"
    ).fetchone() or ("",)
    conn.execute(f"DROP TABLE {ahead}")
    assert verdict(health.check(conn, patient), "partitions") is Status.DEGRADED


def test_a_long_transaction_degrades(dsn: str, conn: psycopg.Connection, patient: Settings) -> None:
    """A transaction that stays open holds back vacuum of the queue."""
    with psycopg.connect(dsn) as idler:
        idler.execute("DECLARE held CURSOR FOR SELECT 1")
        strict = patient.model_copy(update={"health_max_transaction": 1e-9})
        assert verdict(health.check(conn, strict), "long_transactions") is Status.DEGRADED


def test_a_database_without_the_schema_is_unhealthy(empty_dsn: str, patient: Settings) -> None:
    """The report says what to run; it does not raise."""
    with psycopg.connect(empty_dsn) as conn:
        report = health.check(conn, patient)
    assert report.status is Status.UNHEALTHY
    assert "pgaudit migrate" in report.checks[0].message


def test_a_retry_that_waits_counts_as_lag(conn: psycopg.Connection, patient: Settings) -> None:
    """An outage that keeps every event waiting for its retry is seen, however often it is put off."""
    AuditLog(patient).record(conn, AuditEvent(action="claim.approved"))
    let_jobs_be_edited(conn)
    conn.execute(AGE)
    conn.execute("UPDATE pgaudit.audit_jobs SET attempts = 1, scheduled_at = now() + interval '1 minute'")
    assert verdict(health.check(conn, patient), "oldest_waiting") is Status.UNHEALTHY


def test_a_broken_event_does_not_break_the_report(conn: psycopg.Connection, patient: Settings) -> None:
    """What was put into the queue by hand may hold anything for a time."""
    insert_poison(conn, '{"recorded_at": "once"}')
    assert verdict(health.check(conn, patient), "database") is Status.HEALTHY


def test_a_spool_that_cannot_be_read_degrades(conn: psycopg.Connection, patient: Settings) -> None:
    """Nobody knows what waits in it."""
    (patient.require_spool_dir() / "host-1.ndjson").mkdir()
    assert verdict(health.check(conn, patient), "spooled") is Status.DEGRADED


def test_two_events_of_one_id_degrade_health_for_a_day(conn: psycopg.Connection, patient: Settings) -> None:
    """Both are in the log: an error of the application, or an attempt to hide one of them."""
    first = AuditEvent(action="claim.approved")
    AuditLog(patient).record(conn, first, first.model_copy(update={"reason": "another one"}))
    assert verdict(health.check(conn, patient), "conflicts") is Status.HEALTHY
    conn.execute("SELECT pgaudit.persist(NULL, NULL, 10)")
    assert verdict(health.check(conn, patient), "conflicts") is Status.DEGRADED


def test_a_publication_of_partitions_degrades_health(conn: psycopg.Connection, patient: Settings) -> None:
    """A new partition would stop its subscribers, unless the log is published by its root."""
    assert verdict(health.check(conn, patient), "publications") is Status.HEALTHY
    conn.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    assert verdict(health.check(conn, patient), "publications") is Status.DEGRADED
    conn.execute("ALTER PUBLICATION everything SET (publish_via_partition_root = true)")
    assert verdict(health.check(conn, patient), "publications") is Status.HEALTHY
    conn.execute("DROP PUBLICATION everything")
    conn.execute("CREATE PUBLICATION the_log FOR TABLE pgaudit.audit_log")
    assert verdict(health.check(conn, patient), "publications") is Status.DEGRADED
