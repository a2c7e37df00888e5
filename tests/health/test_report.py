"""The health report: each check changes its status when its cause appears."""

from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings, health
from pgaudit.grants import grant
from pgaudit.health import HealthReport, Status
from pgaudit.recording import spool
from tests.support.jobs import insert_poison, let_jobs_be_edited
from tests.support.roles import temporary_roles

AGE = """
    UPDATE pgaudit.audit_jobs SET event = jsonb_set(event, '{recorded_at}', to_jsonb(now() - interval '61 seconds'))
"""


def verdict(report: HealthReport, name: str) -> Status:
    """Returns the status of one check of the report."""
    (check,) = [check for check in report.checks if check.name == name]
    return check.status


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Settings:
    """Settings with a spool of their own."""
    return Settings(dsn=dsn, spool_dir=tmp_path)


def start_worker(conn: psycopg.Connection) -> None:
    """Registers a worker, which counts as a heartbeat."""
    conn.execute("SELECT pgaudit.register_worker()")


def test_an_idle_trail_with_a_worker_is_healthy(conn: psycopg.Connection, settings: Settings) -> None:
    """Every check is healthy, and has a sentence about what it saw."""
    start_worker(conn)
    report = health.check(conn, settings)
    assert report.status is Status.HEALTHY, report
    assert all(check.message.endswith(".") for check in report.checks)


@pytest.mark.anyio
async def test_the_async_check_sees_the_same(dsn: str, conn: psycopg.Connection, settings: Settings) -> None:
    """check_async returns the checks of check."""
    async with await psycopg.AsyncConnection.connect(dsn) as async_conn:
        seen = await health.check_async(async_conn, settings)
    assert [check.name for check in seen.checks] == [check.name for check in health.check(conn, settings).checks]


def test_no_worker_is_degraded_and_an_old_event_unhealthy(conn: psycopg.Connection, settings: Settings) -> None:
    """Without a worker the report is degraded; with an event that waits too long it is unhealthy."""
    assert verdict(health.check(conn, settings), "workers") is Status.DEGRADED
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved"))
    let_jobs_be_edited(conn)
    conn.execute(AGE)
    report = health.check(conn, settings)
    assert report.status == Status.UNHEALTHY
    assert verdict(report, "oldest_waiting") == Status.UNHEALTHY


def test_an_old_event_that_a_dead_worker_holds_is_unhealthy(conn: psycopg.Connection, settings: Settings) -> None:
    """The age of an event counts until it is in the log, even while a dead worker holds its job."""
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved"))
    let_jobs_be_edited(conn)
    conn.execute(AGE)
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = 99")
    assert verdict(health.check(conn, settings), "oldest_waiting") is Status.UNHEALTHY


def test_no_worker_is_needed_inline(conn: psycopg.Connection, settings: Settings) -> None:
    """With PGAUDIT_MODE=inline a report without a worker is healthy."""
    assert health.check(conn, settings.model_copy(update={"mode": "inline"})).status is Status.HEALTHY


def test_a_failed_job_degrades(conn: psycopg.Connection, settings: Settings) -> None:
    """A job that has failed for good degrades the report, because an operator must look at it."""
    insert_poison(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'failed'")
    assert verdict(health.check(conn, settings), "failed") is Status.DEGRADED


def test_a_stalled_job_degrades(conn: psycopg.Connection, settings: Settings) -> None:
    """A running job without a living worker degrades the report."""
    insert_poison(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = 99")
    assert verdict(health.check(conn, settings), "stalled") is Status.DEGRADED


def test_a_spooled_event_degrades(conn: psycopg.Connection, settings: Settings) -> None:
    """An event in a spool file degrades the report."""
    spool.append(settings.require_spool_dir(), ['{"id": "x"}'], None)
    assert verdict(health.check(conn, settings), "spooled") is Status.DEGRADED


def test_a_missing_partition_degrades(conn: psycopg.Connection, settings: Settings) -> None:
    """The report is degraded unless the next partition exists."""
    (ahead,) = conn.execute(
        "SELECT partition::text FROM pgaudit.log_partitions() WHERE first_index > 0"
    ).fetchone() or ("",)
    conn.execute(f"DROP TABLE {ahead}")
    assert verdict(health.check(conn, settings), "partitions") is Status.DEGRADED


def test_a_long_transaction_degrades(dsn: str, conn: psycopg.Connection, settings: Settings) -> None:
    """A long open transaction degrades the report, because it holds back vacuum of the queue."""
    with psycopg.connect(dsn) as idler:
        idler.execute("DECLARE held CURSOR FOR SELECT 1")
        strict = settings.model_copy(update={"health_max_transaction": 1e-9})
        assert verdict(health.check(conn, strict), "long_transactions") is Status.DEGRADED


def test_a_database_without_the_schema_is_unhealthy(empty_dsn: str, settings: Settings) -> None:
    """The report says to run pgaudit migrate, and does not raise."""
    with psycopg.connect(empty_dsn) as conn:
        report = health.check(conn, settings)
    assert report.status is Status.UNHEALTHY
    assert "pgaudit migrate" in report.checks[0].message


def test_a_retry_that_waits_counts_as_lag(conn: psycopg.Connection, settings: Settings) -> None:
    """The age of an event counts while it waits for a retry, too."""
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved"))
    let_jobs_be_edited(conn)
    conn.execute(AGE)
    conn.execute("UPDATE pgaudit.audit_jobs SET attempts = 1, scheduled_at = now() + interval '1 minute'")
    assert verdict(health.check(conn, settings), "oldest_waiting") is Status.UNHEALTHY


def test_a_broken_event_does_not_break_the_report(conn: psycopg.Connection, settings: Settings) -> None:
    """An event of any shape, inserted by hand, does not make the report fail."""
    insert_poison(conn, '{"recorded_at": "once"}')
    assert verdict(health.check(conn, settings), "database") is Status.HEALTHY


def test_a_spool_that_cannot_be_read_degrades(conn: psycopg.Connection, settings: Settings) -> None:
    """An unreadable spool degrades the report."""
    (settings.require_spool_dir() / "host-1.ndjson").mkdir()
    assert verdict(health.check(conn, settings), "spooled") is Status.DEGRADED


def test_two_events_of_one_id_degrade_health_for_a_day(conn: psycopg.Connection, settings: Settings) -> None:
    """Two different events with one id degrade the report."""
    first = AuditEvent(action="claim.approved")
    AuditLog(settings).record(conn, first, first.model_copy(update={"reason": "another one"}))
    assert verdict(health.check(conn, settings), "conflicts") is Status.HEALTHY
    conn.execute("SELECT pgaudit.persist(NULL, NULL, 10)")
    assert verdict(health.check(conn, settings), "conflicts") is Status.DEGRADED


def test_a_publication_of_partitions_degrades_health(conn: psycopg.Connection, settings: Settings) -> None:
    """A publication of single partitions degrades the report, because a new partition would stop its subscribers."""
    assert verdict(health.check(conn, settings), "publications") is Status.HEALTHY
    conn.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    assert verdict(health.check(conn, settings), "publications") is Status.DEGRADED
    conn.execute("ALTER PUBLICATION everything SET (publish_via_partition_root = true)")
    assert verdict(health.check(conn, settings), "publications") is Status.HEALTHY
    conn.execute("DROP PUBLICATION everything")
    conn.execute("CREATE PUBLICATION the_log FOR TABLE pgaudit.audit_log")
    assert verdict(health.check(conn, settings), "publications") is Status.DEGRADED


def test_what_a_role_cannot_see_is_unknown(dsn: str, conn: psycopg.Connection, settings: Settings) -> None:
    """A reader sees its own sessions only, so it does not call the transactions of others short."""
    with temporary_roles(dsn, "t_plain_reader"):
        grant(conn, reader="t_plain_reader")
        conn.commit()
        with psycopg.connect(dsn, user="t_plain_reader") as reader:
            (check,) = [check for check in health.check(reader, settings).checks if check.name == "long_transactions"]
    assert check.observed == "unknown"
    assert "pg_read_all_stats" in check.message


def test_a_time_in_the_future_degrades(conn: psycopg.Connection, settings: Settings) -> None:
    """An event that was recorded later than now says that the clock was set back."""
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved"))
    let_jobs_be_edited(conn)
    conn.execute("""
        UPDATE pgaudit.audit_jobs
           SET event = jsonb_set(event, '{recorded_at}', to_jsonb(clock_timestamp() + interval '1 hour'))""")
    (check,) = [check for check in health.check(conn, settings).checks if check.name == "oldest_waiting"]
    assert check.status is Status.DEGRADED
    assert "clock" in check.message


def test_row_level_security_is_named(dsn: str, conn: psycopg.Connection, settings: Settings) -> None:
    """The report names the hidden tables to a reader whose rows are hidden, and is healthy for a role that sees all."""
    with temporary_roles(dsn, "t_plain_reader"):
        grant(conn, reader="t_plain_reader")
        conn.execute("ALTER TABLE pgaudit.audit_log ENABLE ROW LEVEL SECURITY")
        conn.commit()
        with psycopg.connect(dsn, user="t_plain_reader") as reader:
            (check,) = [check for check in health.check(reader, settings).checks if check.name == "row_security"]
        assert check.status is Status.UNHEALTHY
        assert "audit_log" in check.message
        conn.execute("CREATE POLICY all_events ON pgaudit.audit_log FOR SELECT TO t_plain_reader USING (true)")
        conn.commit()
        with psycopg.connect(dsn, user="t_plain_reader") as reader:
            assert verdict(health.check(reader, settings), "row_security") is Status.HEALTHY
    assert verdict(health.check(conn, settings), "row_security") is Status.HEALTHY


def test_a_mode_that_records_nothing_is_degraded(conn: psycopg.Connection, settings: Settings) -> None:
    """With PGAUDIT_MODE=off the check of workers is degraded, with and without a worker."""
    start_worker(conn)
    for mode, status in (("off", Status.DEGRADED), ("inline", Status.HEALTHY)):
        report = health.check(conn, settings.model_copy(update={"mode": mode}))
        assert verdict(report, "workers") is status
