"""Exit codes and the sentence beside them: a verdict, a wrong command line, or a database that cannot be looked at."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.jobs import Job
from tests.support.command_line import Run

BIG = "99999999999999999999"


@pytest.fixture
def silent_dsn() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"host=127.0.0.1 port={server.getsockname()[1]} user=x dbname=x"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("tail", "--nope"), "No such option: --nope"),
        (("nope",), "No such command 'nope'"),
        (("tail", "-n", BIG), "less than or equal to 9223372036854775807"),
        (("tail", "--from-index", "-1"), "greater than or equal to 0"),
        (("tail", "after:1d", "before:2d"), "after: is not earlier than before:"),
        (("tail", "-f", "before:1d"), "--follow never ends, so it excludes before:"),
        (("tail", "--target", "claim"), "not of the form"),
        (("jobs", "list", "--limit", "0"), "greater than or equal to 1"),
        (("jobs", "list", "nope"), "Invalid value for 'state': 'nope' is not one of"),
        (("jobs", "show", BIG), "less than or equal to 9223372036854775807"),
        (("jobs", "retry", BIG), "less than or equal to 9223372036854775807"),
        (("jobs", "retry"), "name the jobs, or give --all"),
        (("jobs", "retry", "--all", "10"), "name the jobs or give --all, not both"),
        (("migrate", "--sql", "--check"), "exclude each other"),
        (("grant",), "name a role"),
        (("--timeout", "nan", "health"), "Invalid value for '--timeout'"),
        (("--timeout", "0", "health"), "greater than or equal to 0.1"),
        (("demo", "--seconds", "nan"), "Invalid value for '--seconds'"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_one_sentence(run: Run, arguments: tuple[str, ...], reason: str) -> None:
    """The sentence says what is wrong and which help to read."""
    result = run(*arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert reason in result.stderr
    assert result.stderr.rstrip().endswith("--help`")


def test_a_setting_that_is_wrong_ends_with_2(run: Run) -> None:
    """A wrong variable is no verdict on the trail."""
    result = run("health", PGAUDIT_BATCH_SIZE="x")
    assert result.returncode == 2
    assert result.stderr.startswith("pgaudit: PGAUDIT_BATCH_SIZE='x': ")


@pytest.mark.parametrize("command", ["health", "stats", "tail", "search", "doctor", "migrate", "roles"])
def test_a_database_that_cannot_be_reached_ends_with_3(run: Run, command: str) -> None:
    """No connection is no verdict."""
    result = run(command, dsn="host=127.0.0.1 port=1 user=x dbname=x")
    assert result.returncode == 3
    assert "Connection refused" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["health", "stats", "tail", "roles"])
def test_a_database_without_the_schema_ends_with_3(run: Run, empty_dsn: str, command: str) -> None:
    """The remedy is `pgaudit migrate`; a list of roles is empty."""
    result = run(command, dsn=empty_dsn)
    if command == "roles":
        assert result.returncode == 0
    else:
        assert result.returncode == 3
        assert "run `pgaudit migrate`" in result.stdout + result.stderr


@pytest.mark.parametrize("command", ["health", "tail", "doctor"])
def test_a_server_that_never_answers_ends_with_3(run: Run, silent_dsn: str, command: str) -> None:
    """The command ends within the limit that it was given, without a limit in the DSN."""
    result = run("--timeout", "2", command, dsn=silent_dsn)
    assert result.returncode == 3
    assert "timeout" in (result.stdout + result.stderr)


def test_a_statement_that_is_not_answered_ends_with_3(run: Run, conn: psycopg.Connection) -> None:
    """Behind a lock, a command waits for as long as --timeout says, and cancels what it has asked."""
    conn.execute("LOCK TABLE pgaudit.audit_log")
    result = run("--timeout", "1", "tail")
    assert result.returncode == 3
    assert result.stderr == "pgaudit: the database has not answered within 1 s\n"
    waiting = conn.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    assert waiting == (0,)


def test_health_ends_with_1_when_it_is_not_healthy(run: Run) -> None:
    """Degraded is bad as well, unless --allow-degraded is given."""
    assert run("health").returncode == 1
    assert run("health", "--allow-degraded").returncode == 0


def test_a_short_option_shows_help_and_version(run: Run) -> None:
    """-h works for each command, -V as --version; the help lists the exit codes."""
    assert "Exit codes: 0 fine; 1" in " ".join(run("-h").stdout.split())
    assert run("jobs", "list", "-h").stdout.startswith("Usage: pgaudit jobs list ")
    assert run("-V").stdout == run("--version").stdout


def test_a_shell_completes_commands(run: Run) -> None:
    """The completion script of bash is there."""
    result = run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert result.returncode == 0
    assert "_PGAUDIT_COMPLETE" in result.stdout


def test_a_reader_that_ends_early_is_no_error(dsn: str) -> None:
    """`pgaudit stats --watch | head -1` ends by SIGPIPE, without a message."""
    command = [sys.executable, "-m", "pgaudit", "stats", "--watch", "--json"]
    environment = os.environ | {"PGAUDIT_DSN": dsn}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "queues" in json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.wait(30) == -13
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("stats",),
        ("health",),
        ("doctor",),
        ("roles",),
        ("search",),
        ("search", "--count"),
        ("jobs", "list"),
        ("jobs", "retry", "--all"),
        ("migrate", "--check"),
    ],
)
def test_json_is_one_document(run: Run, arguments: tuple[str, ...]) -> None:
    """--json prints one JSON document in one line of ASCII."""
    result = run(*arguments, "--json")
    assert result.stdout.count("\n") == 1
    assert result.stdout.isascii()
    assert isinstance(json.loads(result.stdout), dict | list)


def test_the_documented_keys_are_those_of_the_documents(run: Run, dsn: str) -> None:
    """docs/reference/commands.md names the keys of each JSON document, and no others."""
    page = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text(encoding="utf-8")
    AuditLog(Settings(dsn=dsn, mode="inline")).record_autonomous(AuditEvent(action="login.failed"))
    documents = {
        "tail": json.loads(run("tail", "--json").stdout),
        "search": json.loads(run("search", "--json").stdout),
        "timeline": json.loads(run("timeline", "claim:7", "--json").stdout),
        "search --count": json.loads(run("search", "--count", "--json").stdout),
        "roles": json.loads(run("roles", "--json").stdout)[0],
        "doctor": json.loads(run("doctor", "--json").stdout)[0],
        "health": {"status": "", **dict.fromkeys(json.loads(run("health", "--json").stdout)["checks"][0], "")},
        "stats": json.loads(run("stats", "--json").stdout),
        "jobs list": dict.fromkeys(field.name for field in fields(Job)),
    }
    for command, document in documents.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{command}` |"))
        missing = [key for key in document if f"`{key}`" not in row]
        assert missing == [], command
