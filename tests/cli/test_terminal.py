"""What the command line prints: nothing that moves the cursor, hides, or reorders text; in any encoding; unwrapped."""

import json

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.cli.terminal import escaped
from tests.support.command_line import Run

FORGED = "1\x1b[2J\n        9  2026-03-01 12:00:00.000000Z  claim.paid\u2028\u202e\u200b\x85\u200f"
SHOWN = r"1\x1b[2J\n        9  2026-03-01 12:00:00.000000Z  claim.paid\u2028\u202e\u200b\x85\u200f"
INVISIBLE = (
    "\x00\x07\x1b\x7f\x85\x9b\xad\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff\U000e0041"
)


def record(conn: psycopg.Connection, identity: str) -> None:
    """Appends an event of that actor about that target."""
    event = AuditEvent(action="claim.approved", actor=f"user:{identity}", target=f"claim:{identity}")
    AuditLog(Settings(mode="inline")).record(conn, event)
    conn.commit()


def fail_with(conn: psycopg.Connection, message: str) -> int:
    """Puts a failed job with that error message into the queue; its number."""
    conn.execute(
        "INSERT INTO pgaudit.audit_jobs (id, status, event, leaf_hash, event_bytes, attempts)"
        " VALUES (7, 'failed', %s, '', 0, 3)",
        [json.dumps({"action": "claim.approved", "data": {"note": message}})],
    )
    conn.execute(
        "INSERT INTO pgaudit.job_error (job_id, task_name, attempt, failed_at, error_class, message)"
        " VALUES (7, 'pgaudit.persist', 1, now(), 'Odd', %s)",
        [message],
    )
    conn.commit()
    return 7


@pytest.mark.parametrize("character", INVISIBLE)
def test_a_control_or_invisible_character_is_escaped(character: str) -> None:
    """Each class of characters that a terminal obeys, or does not show, is printed as an escape."""
    text = escaped(f"a{character}b")
    assert text.isascii()
    assert text.isprintable()
    assert text.encode().decode("unicode_escape") == f"a{character}b"


@pytest.mark.parametrize("text", ["Zoë Müller", "日本", "עברית", "€ – …", r"C:\[x]", "👍"])
def test_visible_text_is_printed_as_it_is(text: str) -> None:
    """Letters of all scripts, symbols and backslashes are not escaped."""
    assert escaped(text) == text


def test_a_tail_prints_one_line_for_an_event_whatever_its_ids_hold(run: Run, conn: psycopg.Connection) -> None:
    """An id with line breaks and terminal sequences neither forges a line nor reaches the terminal."""
    record(conn, FORGED)
    (line,) = run("tail").stdout.splitlines()
    assert line.count(SHOWN) == 2
    assert json.loads(run("tail", "--json").stdout)["target_id"] == FORGED


def test_jobs_print_what_an_event_and_its_error_hold_as_escapes(run: Run, conn: psycopg.Connection) -> None:
    """A message of several lines is indented, so that none of its lines can pass for one of ours."""
    job = fail_with(conn, "bad\x1b]0;owned\x07\nattempt 2, 2026-03-01: \u202eDone")
    for command in (("jobs", "list"), ("jobs", "show", str(job))):
        output = run(*command).stdout
        assert r"bad\x1b]0;owned\x07" in output
        assert output.replace("\n", "").isprintable()
        assert not any(line.startswith("attempt 2") for line in output.splitlines())
    details = json.loads(run("jobs", "show", str(job), "--json").stdout)
    assert details["errors"][0]["message"].endswith("\u202eDone")


def test_an_error_prints_its_argument_as_escapes(run: Run) -> None:
    """What is wrong is quoted on one line, without its terminal sequences."""
    for command in (("jobs", "list", "\x1b[2J\nx"), ("grant", "--reader", "\x1b[2J\nx"), ("\x1b[2J\nx",)):
        result = run(*command)
        assert result.returncode in {1, 2}
        assert result.stderr.count("\n") == 1
        assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    "encoding",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_any_encoding_can_print_everything(run: Run, conn: psycopg.Connection, encoding: dict[str, str]) -> None:
    """What the terminal's encoding does not have is printed as an escape; JSON stays JSON."""
    record(conn, "€👍")
    for command in ("tail", "stats", "roles", "doctor", "--help"):
        result = run(command, **encoding)
        assert (result.returncode, result.stderr) == (0, ""), command
    assert r"claim:\u20ac\U0001f44d" in run("tail", **encoding).stdout
    assert json.loads(run("tail", "--json", **encoding).stdout)["target_id"] == "€👍"


def test_an_argument_is_read_as_utf_8_in_any_locale(run: Run, conn: psycopg.Connection) -> None:
    """A target that the locale cannot decode is found; bytes that are not UTF-8 are refused in one sentence."""
    record(conn, "€")
    posix = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert len(run("tail", "--target", "claim:€", **posix).stdout.splitlines()) == 1
    for locale in ({}, posix):
        refused = run("tail", "--target", "claim:\udcff", **locale)
        assert refused.returncode == 2
        assert refused.stderr == (
            "pgaudit: Invalid value: argument 3 is not UTF-8: claim:\\udcff; see `pgaudit --help`\n"
        )


def test_a_pipe_gets_whole_lines(run: Run, conn: psycopg.Connection) -> None:
    """Nothing is wrapped or cut when the output is not a terminal, whatever COLUMNS says."""
    message = "word " * 100 + "end"
    fail_with(conn, message)
    narrow = {"COLUMNS": "40"}
    assert message in run("jobs", "list", **narrow).stdout
    assert message in run("jobs", "show", "7", **narrow).stdout
    assert "oldest_waiting_seconds" in run("stats", **narrow).stdout
    assert "procrastinate_periodic_defers" in run("stats", **narrow).stdout
