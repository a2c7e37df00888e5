"""The command line, as a person or a script runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

import pgaudit
from pgaudit import AuditEvent, AuditLog, Settings, grants
from pgaudit.recording import spool
from pgaudit.worker.procrastinate_app import AuditApp
from tests.postgres.trail import insert_poison

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(dsn: str) -> Run:
    """Runs ``pgaudit`` against the test's database."""

    def run_in(*arguments: str, dsn: str = dsn, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pgaudit", *arguments]
        environment = os.environ | {"PGAUDIT_DSN": dsn, "COLUMNS": "120"} | more
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run_in


def test_the_version_is_printed(run: Run) -> None:
    """pgaudit --version needs no command, and no database."""
    result = run("--version", dsn="host=nowhere.invalid")
    assert (result.returncode, result.stdout.strip()) == (0, pgaudit.__version__)


def test_migrate_brings_an_empty_database_up_once(run: Run, empty_dsn: str) -> None:
    """--check exits with 1 before and 0 after; the second migrate has nothing to do."""
    assert run("migrate", "--check", dsn=empty_dsn).returncode == 1
    assert "to revision 0001 of pgaudit" in run("migrate", dsn=empty_dsn).stdout
    assert "is current" in run("migrate", dsn=empty_dsn).stdout
    assert run("migrate", "--check", dsn=empty_dsn).returncode == 0


def test_migrate_prints_sql_and_changes_nothing(run: Run, empty_dsn: str) -> None:
    """--sql is for the DBA who runs migrations by hand."""
    assert "CREATE OR REPLACE FUNCTION pgaudit.record(events jsonb)" in run("migrate", "--sql", dsn=empty_dsn).stdout
    assert run("migrate", "--check", dsn=empty_dsn).returncode == 1


@pytest.mark.anyio
async def test_a_failed_job_is_listed_shown_and_retried(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """jobs list, show and retry, for people and, with --json, for programs."""
    insert_poison(conn)
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


def test_a_failed_job_is_acknowledged_with_a_reason(run: Run, conn: psycopg.Connection) -> None:
    """jobs acknowledge needs a reason, takes a failed job out of the queue, and says where its event is."""
    fail(conn, "no")
    assert run("jobs", "acknowledge", str(MANY)).returncode == 2
    blank = run("jobs", "acknowledge", str(MANY), "--reason", " ")
    assert (blank.returncode, blank.stderr) == (1, "pgaudit: give a reason of 1 to 2,000 characters\n")
    done = run("jobs", "acknowledge", str(MANY), "--reason", "a test")
    assert done.stdout == f"Job {MANY} is acknowledged: its event is kept in pgaudit.acknowledged_jobs.\n"
    again = run("jobs", "acknowledge", str(MANY), "--reason", "a test")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert again.stderr.startswith(f"pgaudit: job {MANY} cannot be acknowledged: only failed jobs can")


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
    """health exits with 3, because it cannot look, and prints a sentence instead of a traceback."""
    report = run("health", dsn="host=127.0.0.1 port=1 connect_timeout=1")
    assert (report.returncode, "does not answer" in report.stdout) == (3, True)


def test_mistakes_end_in_one_line(run: Run) -> None:
    """A command with an unknown job or role prints one sentence."""
    for arguments in (("jobs", "show", "99"), ("grant", "--reader", "no_such_role")):
        result = run(*arguments)
        assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
        assert result.stderr.startswith("pgaudit: ")


MANY = 1_234_567
TOKYO = {"PGTZ": "Asia/Tokyo", "TZ": "America/New_York", "COLUMNS": "200"}


def fail(conn: psycopg.Connection, message: str) -> None:
    """Puts a job with a long number into the queue, that has failed with that message."""
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
def test_what_an_error_says_is_printed_as_it_is(run: Run, conn: psycopg.Connection, message: str) -> None:
    """A message is printed as it is, whatever a terminal's markup makes of it."""
    fail(conn, message)
    for arguments in (("jobs", "list"), ("jobs", "show", str(MANY))):
        result = run(*arguments, **TOKYO)
        assert (result.returncode, message in result.stdout) == (0, True), result.stdout + result.stderr
    assert "Odd[/bold]" in run("jobs", "show", str(MANY)).stdout


def test_numbers_of_jobs_can_be_pasted_back(run: Run, conn: psycopg.Connection) -> None:
    """A job's number has no separators; what is counted has them in tables."""
    fail(conn, "no")
    listed, shown = run("jobs", "list").stdout, run("jobs", "show", str(MANY)).stdout
    assert (str(MANY) in listed, "1,234 " in listed) == (True, True)
    assert (str(MANY) in shown, "1234\n" in shown, "," in shown.partition("event\n")[0]) == (True, True, False)


def test_times_are_in_utc_and_say_so(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """Times are printed in UTC whatever zone the session and the machine are in; a program gets the same."""
    fail(conn, "no")
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
    assert ("2026-03-01 12:00:00.000000Z" in tail, " 0001-01-02 12:00:00.000000Z" in tail) == (True, True)
    assert f"{datetime.now(UTC):%Y-%m-%d %H:}" in run("stats", **TOKYO).stdout


def test_the_columns_of_a_tail_stay_in_line(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """Columns are at least two spaces apart, however long a name is; a very long one pushes its own line alone."""
    actions = ["claim.approved", f"claim.{'x' * 30}", f"claim.{'x' * 150}"]
    for action in actions:
        event = AuditEvent(action=action, actor="user:42", target="claim:7", outcome="failure")
        AuditLog(Settings(dsn=dsn, mode="inline")).record(conn, event)
    conn.commit()
    lines = run("tail").stdout.splitlines()
    assert [line.split() for line in lines] == [
        [str(number), *line.split()[1:3], action, "failure", "user:42", "claim:7"]
        for number, (line, action) in enumerate(zip(lines, actions, strict=True))
    ]
    assert lines[0].index("failure") == lines[1].index("failure")
    assert f"{actions[2]}  failure  user:42  " in lines[2]


def test_a_tail_of_a_target_may_be_short(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """-n limits a tail to a target's newest events; without it they are all there."""
    for number in range(12):
        event = AuditEvent(action="claim.approved", target=f"claim:{number % 2}", data={"number": number})
        AuditLog(Settings(dsn=dsn, mode="inline")).record(conn, event)
    conn.commit()
    for arguments, numbers in (([], [0, 2, 4, 6, 8, 10]), (["-n", "2"], [8, 10]), (["-n", "0"], [])):
        lines = run("tail", "--json", "--target", "claim:0", *arguments).stdout.splitlines()
        assert [json.loads(line)["index"] for line in lines] == numbers
    assert len(run("tail").stdout.splitlines()) == 10


def test_a_replay_says_once_what_it_did(run: Run, tmp_path: Path) -> None:
    """A replay prints one sentence, and no line of the log as well."""
    path = spool.append(tmp_path, [AuditEvent(action="claim.approved").to_json()], None)
    result = run("replay", str(path))
    assert (result.stdout.count("1 event(s) recorded"), result.stdout.count("\n"), result.stderr) == (1, 1, "")


@pytest.mark.parametrize("role", ["t_stranger", "t_other_reader"])
def test_a_role_without_the_right_reads_which_role_has_it(run: Run, dsn: str, role: str) -> None:
    """A refused command prints one line: what was refused to which role, and the remedy."""
    with psycopg.connect(dsn) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN")
        if role == "t_other_reader":
            grants.grant(owner, reader=role)
    try:
        as_role = dsn.replace("user=postgres", f"user={role}")
        result = run("jobs", "list", dsn=as_role)
        assert (result.returncode, result.stderr.count("\n")) == (3, 1)
        assert result.stderr.startswith("pgaudit: permission denied for ")
        assert f'role "{role}" is no operator; as the owner, run `pgaudit grant --operator {role}`' in result.stderr
        granted = run("grant", "--reader", role, dsn=as_role)
        assert (granted.returncode, granted.stdout) == (3, "")
        assert granted.stderr == "pgaudit: only the owner of the schema pgaudit can grant: connect as postgres\n"
    finally:
        with psycopg.connect(dsn) as owner:
            owner.execute(f"DROP OWNED BY {role}")
            owner.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("command", [["worker"], ["stats"], ["migrate"]])
def test_a_dsn_that_cannot_be_read_ends_at_once(run: Run, command: list[str]) -> None:
    """A command with a broken DSN ends at once, a worker too; the password is not printed."""
    result = run(*command, dsn="postgresql+asyncpg://u:secret@h/x")
    assert (result.returncode, result.stderr.count("\n"), "secret" in result.stderr) == (2, 1, False)
    assert result.stderr.startswith("pgaudit: PGAUDIT_DSN is not a libpq string or URL")
