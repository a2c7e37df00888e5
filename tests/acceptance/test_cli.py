"""The command line, as a person or a script runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.application import AuditApp

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(dsn: str) -> Run:
    """Runs ``pgaudit`` against the test's database."""

    def run_in(*arguments: str, dsn: str = dsn) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pgaudit", *arguments]
        environment = os.environ | {"PGAUDIT_DSN": dsn, "COLUMNS": "120"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run_in


def test_migrate_brings_an_empty_database_up_once(run: Run, empty_dsn: str) -> None:
    """--check exits with 1 before and 0 after; the second migrate has nothing to do."""
    assert run("migrate", "--check", dsn=empty_dsn).returncode == 1
    assert "went from nothing to" in run("migrate", dsn=empty_dsn).stdout
    assert "is current" in run("migrate", dsn=empty_dsn).stdout
    assert run("migrate", "--check", dsn=empty_dsn).returncode == 0


def test_migrate_prints_sql_and_changes_nothing(run: Run, empty_dsn: str) -> None:
    """--sql is for the DBA who runs migrations by hand."""
    assert "CREATE FUNCTION pgaudit.record" in run("migrate", "--sql", dsn=empty_dsn).stdout
    assert run("migrate", "--check", dsn=empty_dsn).returncode == 1


@pytest.mark.anyio
async def test_a_failed_job_is_listed_shown_and_retried(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """jobs list, show and retry, for people and, with --json, for programs."""
    conn.execute("INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name) VALUES ('audit', 'pgaudit.persist')")
    conn.commit()
    app = AuditApp(Settings(dsn=dsn, job_attempts=1))
    async with app.open_async():
        await app.run_worker_async(wait=False, install_signal_handlers=False)
    (job,) = json.loads(run("jobs", "list", "failed", "--json").stdout)
    assert (job["state"], job["attempts"]) == ("failed", 1)
    assert "DataCorrupted" in run("jobs", "show", str(job["job_id"])).stdout
    details = json.loads(run("jobs", "show", str(job["job_id"]), "--json").stdout)
    assert [error["sqlstate"] for error in details["errors"]] == ["XX001"]
    assert run("jobs", "retry", "--all").stdout == "1 job(s) back in the queue.\n"
    again = run("jobs", "retry", str(job["job_id"]))
    assert (again.returncode, "not failed" in again.stderr) == (1, True)
    assert len(json.loads(run("jobs", "list", "waiting", "--json").stdout)) == 1


def test_stats_health_and_tail_answer_in_json(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """What is printed as a table is there for programs too; health's verdict is its exit code."""
    AuditLog(Settings(dsn=dsn, mode="inline")).record(conn, AuditEvent(action="claim.approved", target="claim:7"))
    conn.commit()
    assert json.loads(run("stats", "--json").stdout)["queues"][0]["completed"] == 1
    report = run("health", "--json")
    assert (json.loads(report.stdout)["status"], report.returncode) == ("degraded", 1)
    assert json.loads(run("tail", "--json").stdout)["target_id"] == "7"
    assert "claim.approved" in run("tail", "--target", "claim:7").stdout


def test_an_unreachable_database_is_unhealthy(run: Run) -> None:
    """Exit code 2, and a sentence instead of a traceback."""
    report = run("health", dsn="host=127.0.0.1 port=1 connect_timeout=1")
    assert (report.returncode, "does not answer" in " ".join(report.stdout.split())) == (2, True)


def test_mistakes_end_in_one_line(run: Run) -> None:
    """An unknown job or role is told in a sentence."""
    for arguments in (("jobs", "show", "99"), ("grant", "--reader", "no_such_role")):
        result = run(*arguments)
        assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
        assert result.stderr.startswith("pgaudit: ")
