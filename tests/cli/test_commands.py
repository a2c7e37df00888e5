"""The command line, as a person or a script runs it."""

import json
from pathlib import Path

import psycopg
import pytest

import pgaudit
from pgaudit import AuditEvent, AuditLog, Settings, grants
from pgaudit.recording import spool
from tests.support.command_line import Run
from tests.support.roles import temporary_roles
from tests.support.spool import break_record, repair_record


def test_the_version_is_printed(run: Run) -> None:
    """pgaudit --version needs no command, and no database."""
    result = run("--version", dsn="host=nowhere.invalid")
    assert result.returncode == 0
    assert result.stdout.strip() == pgaudit.__version__


def test_migrate_migrates_an_empty_database_once(run: Run, empty_dsn: str) -> None:
    """--check exits with 1 before and 0 after; the second migrate has nothing to do."""
    assert run("migrate", "--check", dsn=empty_dsn).returncode == 1
    assert "to revision 0001 of pgaudit" in run("migrate", dsn=empty_dsn).stdout
    assert "is current" in run("migrate", dsn=empty_dsn).stdout
    assert run("migrate", "--check", dsn=empty_dsn).returncode == 0


def test_migrate_prints_sql_and_changes_nothing(run: Run, empty_dsn: str) -> None:
    """--sql prints the migrations for a DBA."""
    assert "CREATE OR REPLACE FUNCTION pgaudit.record(events jsonb)" in run("migrate", "--sql", dsn=empty_dsn).stdout
    assert run("migrate", "--check", dsn=empty_dsn).returncode == 1


def test_stats_health_and_tail_answer_in_json(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """--json prints what the tables show; the exit code of health is its status."""
    AuditLog(Settings(dsn=dsn, mode="inline")).record(conn, AuditEvent(action="claim.approved", target="claim:7"))
    conn.commit()
    assert json.loads(run("stats", "--json").stdout)["queues"][0]["completed"] == 1
    report = run("health", "--json")
    assert json.loads(report.stdout)["status"] == "degraded"
    assert report.returncode == 1
    assert json.loads(run("tail", "--json").stdout)["target_id"] == "7"
    assert "claim.approved" in run("tail", "--target", "claim:7").stdout


def test_an_unreachable_database_is_unhealthy(run: Run) -> None:
    """health exits with 3, because it cannot look, and prints a sentence instead of a traceback."""
    report = run("health", dsn="host=127.0.0.1 port=1 connect_timeout=1")
    assert report.returncode == 3
    assert "does not answer" in report.stdout


def test_mistakes_end_in_one_line(run: Run) -> None:
    """A command with an unknown job or role prints one sentence."""
    for arguments in (("jobs", "show", "99"), ("grant", "--reader", "no_such_role")):
        result = run(*arguments)
        assert result.returncode == 1, result.stderr
        assert result.stderr.count("\n") == 1, result.stderr
        assert result.stderr.startswith("pgaudit: ")


def test_the_columns_of_a_tail_are_aligned(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """Columns are at least two spaces apart; a very long name moves only its own line."""
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


def test_a_tail_of_a_target_can_be_limited(run: Run, dsn: str, conn: psycopg.Connection) -> None:
    """-n limits a tail to a target's newest events; without it all of them are printed."""
    for number in range(12):
        event = AuditEvent(action="claim.approved", target=f"claim:{number % 2}", data={"number": number})
        AuditLog(Settings(dsn=dsn, mode="inline")).record(conn, event)
    conn.commit()
    for arguments, numbers in (([], [0, 2, 4, 6, 8, 10]), (["-n", "2"], [8, 10]), (["-n", "0"], [])):
        lines = run("tail", "--json", "--target", "claim:0", *arguments).stdout.splitlines()
        assert [json.loads(line)["index"] for line in lines] == numbers
    assert len(run("tail").stdout.splitlines()) == 10


def test_a_replay_prints_one_sentence_and_leaves_no_file(run: Run, tmp_path: Path) -> None:
    """A replay prints its outcome once, and no line of the application log; a file without events is removed."""
    path = spool.append(tmp_path, [AuditEvent(action="claim.approved").to_json()], None)
    result = run("replay", str(path))
    assert result.stdout.count("1 event(s) recorded") == 1
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_replay_takes_all_files_of_the_spool(run: Run, dsn: str, conn: psycopg.Connection, tmp_path: Path) -> None:
    """``replay`` reads the directory of the setting, or a named one, and exits with 1 while a file has events left."""
    spool.append(tmp_path, [AuditEvent(action="claim.approved").to_json()], None).rename(tmp_path / "web1-1.ndjson")
    audit = AuditLog(Settings(dsn=dsn, on_failure="spool", spool_dir=tmp_path))
    with psycopg.connect(dsn, autocommit=True) as owner:
        break_record(owner)
        audit.record(conn, AuditEvent(action="claim.paid"))
        repair_record(owner)
    result = run("replay", PGAUDIT_SPOOL_DIR=str(tmp_path))
    first, second = result.stdout.splitlines()
    assert first.startswith(f"{tmp_path}/web1-1.ndjson: 1 event(s) recorded")
    assert "1 left because their transaction is still open" in second
    assert result.returncode == 1
    conn.commit()
    (done,) = json.loads(run("replay", "--json", str(tmp_path)).stdout)
    assert (done["recorded"], done["pending"]) == (1, 0)
    assert run("replay", str(tmp_path)).stdout == "There are no spooled events.\n"


@pytest.mark.parametrize("role", ["t_stranger", "t_other_reader"])
def test_a_missing_right_is_answered_with_the_role_that_has_it(run: Run, dsn: str, role: str) -> None:
    """A refused command prints what was refused, and which role each command needs."""
    as_role = dsn.replace("user=postgres", f"user={role}")
    with temporary_roles(dsn, role):
        if role == "t_other_reader":
            with psycopg.connect(dsn) as owner:
                grants.grant(owner, reader=role)
        result = run("jobs", "retry", "1", dsn=as_role)
        assert result.returncode == 3
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("pgaudit: permission denied for ")
        assert f'role "{role}" is no operator; as the owner, run `pgaudit grant --operator {role}`' in result.stderr
        granted = run("grant", "--reader", role, dsn=as_role)
        assert granted.returncode == 3
        assert granted.stdout == ""
        assert granted.stderr == "pgaudit: only the owner of the schema pgaudit can grant: connect as postgres\n"


@pytest.mark.parametrize("command", [["worker"], ["stats"], ["migrate"]])
def test_an_unreadable_dsn_ends_every_command(run: Run, command: list[str]) -> None:
    """A broken DSN ends a command at once, a worker too; the password is not printed."""
    result = run(*command, dsn="postgresql+asyncpg://u:secret@h/x")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr
    assert result.stderr.startswith("pgaudit: PGAUDIT_DSN is not a libpq string or URL")
