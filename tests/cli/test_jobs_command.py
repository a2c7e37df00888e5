"""``pgaudit jobs``, and how times and numbers are printed."""

import json
from datetime import UTC, datetime

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.worker.procrastinate_app import AuditApp
from tests.support.command_line import Run
from tests.support.jobs import insert_poison


@pytest.mark.anyio
async def test_a_failed_job_is_listed_shown_and_retried(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """jobs list, show and retry work for people, and with --json for programs."""
    insert_poison(conn)
    conn.commit()
    app = AuditApp(Settings(dsn=dsn, job_attempts=1))
    async with app.open_async():
        await app.run_worker_async(wait=False, install_signal_handlers=False)
    (job,) = json.loads(run("jobs", "list", "failed", "--json").stdout)
    assert job["state"] == "failed"
    assert job["attempts"] == 1
    assert "DataCorrupted" in run("jobs", "show", str(job["job_id"])).stdout
    details = json.loads(run("jobs", "show", str(job["job_id"]), "--json").stdout)
    assert [error["sqlstate"] for error in details["errors"]] == ["XX001"]
    assert run("jobs", "retry", "--all").stdout == "1 job(s) back in the queue.\n"
    again = run("jobs", "retry", str(job["job_id"]))
    assert again.returncode == 1
    assert "not failed" in again.stderr
    assert len(json.loads(run("jobs", "list", "waiting", "--json").stdout)) == 1


def test_a_failed_job_is_acknowledged_with_a_reason(run: Run, conn: psycopg.Connection) -> None:
    """jobs acknowledge needs a reason, takes a failed job out of the queue, and says where its event is."""
    insert_failed_job_and_commit(conn, "no")
    assert run("jobs", "acknowledge", str(MANY)).returncode == 2
    blank = run("jobs", "acknowledge", str(MANY), "--reason", " ")
    assert blank.returncode == 1
    assert blank.stderr == "pgaudit: give a reason of 1 to 2,000 characters\n"
    done = run("jobs", "acknowledge", str(MANY), "--reason", "a test")
    assert done.stdout == f"Job {MANY} is acknowledged: its event is kept in pgaudit.acknowledged_jobs.\n"
    again = run("jobs", "acknowledge", str(MANY), "--reason", "a test")
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert again.stderr.startswith(f"pgaudit: job {MANY} cannot be acknowledged: only failed jobs of the log can")


MANY = 1_234_567
TOKYO = {"PGTZ": "Asia/Tokyo", "TZ": "America/New_York", "COLUMNS": "200"}


def insert_failed_job_and_commit(conn: psycopg.Connection, message: str) -> None:
    """Inserts a failed job with a large id and that error message, and commits."""
    event = json.dumps({"action": "claim.approved", "recorded_at": "2026-03-01T12:00:00.000001Z"})
    conn.execute(
        "INSERT INTO pgaudit.audit_jobs (id, status, event, leaf_hash, event_bytes, attempts, scheduled_at)"
        " VALUES (%s, 'failed', %s, '', 0, 1234, '2026-03-01 13:00:00Z')",
        [MANY, event],
    )
    conn.execute(
        "INSERT INTO pgaudit.job_error (job_id, task_name, attempt, failed_at, error_class, message)"
        " VALUES (%s, 'pgaudit.persist', 1, '2026-03-01 12:30:00Z', 'Odd[/bold]', %s)",
        [MANY, message],
    )
    conn.commit()


@pytest.mark.parametrize("message", ["GET [/claims/7] failed", "a [bold]name[/bold] :warning: in [red]", "C:\\[x]\\"])
def test_an_error_message_is_printed_without_markup(run: Run, conn: psycopg.Connection, message: str) -> None:
    """A message is printed as it is, even if it looks like markup of the terminal."""
    insert_failed_job_and_commit(conn, message)
    for arguments in (("jobs", "list"), ("jobs", "show", str(MANY))):
        result = run(*arguments, **TOKYO)
        assert result.returncode == 0, result.stdout + result.stderr
        assert message in result.stdout, result.stdout + result.stderr
    assert "Odd[/bold]" in run("jobs", "show", str(MANY)).stdout


def test_job_ids_are_printed_without_separators(run: Run, conn: psycopg.Connection) -> None:
    """A job's id can be copied into a command; counts have separators in tables."""
    insert_failed_job_and_commit(conn, "no")
    listed, shown = run("jobs", "list").stdout, run("jobs", "show", str(MANY)).stdout
    assert str(MANY) in listed
    assert "1,234 " in listed
    assert str(MANY) in shown
    assert "1234\n" in shown
    assert "," not in shown.partition("event\n")[0]


def test_times_are_printed_in_utc(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """Times are printed in UTC whatever zone the session and the machine are in."""
    insert_failed_job_and_commit(conn, "no")
    listed, shown = run("jobs", "list", **TOKYO).stdout, run("jobs", "show", str(MANY), **TOKYO).stdout
    assert "2026-03-01 12:00:00Z" in listed
    assert "2026-03-01 13:00:00Z" in shown
    assert "attempt 1, 2026-03-01 12:30:00Z: " in shown
    assert json.loads(run("jobs", "list", "--json", **TOKYO).stdout)[0]["scheduled_at"] == "2026-03-01T13:00:00+00:00"
    happened = datetime(2026, 3, 1, 12, tzinfo=UTC)
    ancient = datetime(1, 1, 2, 12, tzinfo=UTC)
    audit = AuditLog(Settings(dsn=dsn, mode="inline"))
    audit.record(conn, *(AuditEvent(action="claim.approved", occurred_at=time) for time in (happened, ancient)))
    conn.commit()
    tail = run("tail", **TOKYO).stdout
    assert "2026-03-01 12:00:00Z" in tail
    assert " 0001-01-02 12:00:00Z" in tail
    assert f"{datetime.now(UTC):%Y-%m-%d %H:}" in run("stats", **TOKYO).stdout
