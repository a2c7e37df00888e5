"""``pgaudit search``: pages, cursors, counts, and what is wrong with a query."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import psycopg
import pytest
from rich.cells import cell_len

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.cli.queries import around
from pgaudit.cli.search import sentences
from pgaudit.trail import Page, Stop
from pgaudit.trail.fields import FIELDS
from tests.support.command_line import Run
from tests.support.jobs import persist_and_commit


@pytest.fixture
def _log(conn: psycopg.Connection) -> None:
    """A log of seven events: those of an even number are denied, and one has a blank in its target."""
    events = [
        AuditEvent(
            action="claim.approved" if number % 3 else "claim.paid.out",
            actor=f"user:{number % 2}",
            target="claim:a 5" if number == 5 else f"claim:{number}",
            outcome="success" if number % 2 else "denied",
        )
        for number in range(7)
    ]
    AuditLog(Settings(mode="inline")).record(conn, *events)
    conn.commit()


def indexes(run: Run, *arguments: str) -> list[int]:
    """The indexes that a search prints as a table."""
    result = run("search", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return [int(line.split()[0]) for line in result.stdout.splitlines() if line[:10].strip()[:1].isdigit()]


def command_after(output: str, name: str) -> str:
    """The command below a page for its older or newer neighbour."""
    (line,) = (line for line in output.splitlines() if line.startswith(name))
    return line.removeprefix(f"{name}: pgaudit")


def shell(command: str, dsn: str) -> str:
    """What a shell prints for a command of ours, as it was printed."""
    environment = os.environ | {"PGAUDIT_DSN": dsn}
    line = f"exec {sys.executable} -m pgaudit {command}"
    return subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.usefixtures("_log")
def test_the_arguments_are_a_query(run: Run) -> None:
    """Parts need no quotes around them; one with a minus needs no -- before it, and may have one."""
    assert indexes(run) == [6, 5, 4, 3, 2, 1, 0]
    assert indexes(run, "action:claim.paid.*", "outcome:denied") == [6, 0]
    assert indexes(run, "-outcome:success", "actor:user:0", "--limit", "2") == [6, 4]
    assert indexes(run, "action:claim.approved", "--", "-outcome:denied") == [5, 1]
    assert indexes(run, "--target", "claim:a 5") == [5]
    assert indexes(run, 'target:"claim:a 5"', "--actor", "user:1") == [5]
    assert run("search", "tenant:none").stdout == "No event matches.\n"


@pytest.mark.usefixtures("_log")
def test_a_page_prints_the_commands_for_its_neighbours(run: Run, dsn: str) -> None:
    """Run in a shell as they are printed, they lead to the oldest page and back to the newest."""
    first = run("search", "-outcome:success", "action:claim.*", "--actor", "user:0", "--limit", "2").stdout
    assert first.splitlines()[0].split() == ["index", "time", "action", "outcome", "actor", "target"]
    assert [line.split()[0] for line in first.splitlines()[1:3]] == ["6", "4"]
    second = shell(command_after(first, "Older"), dsn)
    assert [line.split()[0] for line in second.splitlines()[1:3]] == ["2", "0"]
    assert "Older" not in second
    assert shell(command_after(second, "Newer"), dsn).splitlines()[1:3] == first.splitlines()[1:3]


@pytest.mark.usefixtures("_log")
def test_json_is_a_page_with_its_cursors(run: Run) -> None:
    """A program follows `next` until it is null."""
    found, after = [], "before-7"
    while after:
        page = json.loads(run("search", "--json", "--limit", "3", "--after", after).stdout)
        assert page["stopped"] is None
        found += [entry["index"] for entry in page["entries"]]
        after = page["next"]
    assert found == [6, 5, 4, 3, 2, 1, 0]
    assert page["entries"][0]["event"]["targets"] == [{"type": "claim", "id": "0"}]
    assert len(bytes.fromhex(page["entries"][0]["leaf_hash"])) == 32


def test_json_keeps_the_digits_of_numbers(run: Run, conn: psycopg.Connection) -> None:
    """1.10 stays 1.10, and the line is ASCII."""
    event = """{"id": "01890a5d-ac96-774b-bcce-b302099a8057", "action": "claim.paid", "outcome": "success",
                "occurred_at": "2026-01-01T00:00:00Z", "schema_version": 1, "data": {"amount": 1.10, "city": "Köln"}}"""
    conn.execute("SELECT pgaudit.record(%s::jsonb)", [f"[{event}]"])
    persist_and_commit(conn)
    printed = run("search", "--json").stdout
    assert '"amount": 1.10' in printed
    assert '"city": "K\\u00f6ln"' in printed


@pytest.mark.usefixtures("_log")
def test_a_count_is_a_number(run: Run) -> None:
    """--count prints nothing else; with --json, whether the number is exact."""
    assert run("search", "--count", "outcome:denied").stdout == "4\n"
    assert json.loads(run("search", "--count", "--json").stdout) == {"number": 7, "exact": True}


def test_a_search_that_stopped_says_how_far_it_has_looked() -> None:
    """The command below goes on there, in the same direction."""
    stop = Stop(500, datetime(2026, 3, 1, 12, tzinfo=UTC), 100_000)
    assert sentences(Page([], "before-500", None, stop), "before", ["data.a:1"]) == [
        "Looked through 100,000 events, back to 2026-03-01 12:00:00Z, index 500, and stopped there.",
        "Older: pgaudit search --after before-500 data.a:1",
    ]
    stop = Stop(500, None, 100_000)
    assert sentences(Page([], "before-5", "after-500", stop), "after", [])[0] == (
        "Looked through 100,000 events, up to index 500, and stopped there."
    )


@pytest.mark.parametrize(
    ("arguments", "reason", "marked"),
    [
        (["tenant:x", "clam:7"], "there is no field clam", ("tenant:x clam:7", 9)),
        (["-outcome:lost"], "'lost' is not an outcome", ("-outcome:lost", 9)),
        (["tenant:日本", "x"], "field:value", ("tenant:日本 x", 12)),
        (["tenant:\x1b[2J", "x"], "field:value", (r"tenant:\x1b[2J x", 15)),
        (["tenant:"], "a value is missing", ("tenant:", 7)),
    ],
)
def test_a_mistake_in_a_query_is_pointed_at(
    run: Run, arguments: list[str], reason: str, marked: tuple[str, int]
) -> None:
    """A sentence, the query, and a caret under the place, in columns of a terminal."""
    result = run("search", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    sentence, *lines = result.stderr.splitlines()
    assert sentence.startswith("pgaudit: ")
    assert reason in sentence
    assert sentence.endswith("; see `pgaudit search --help`")
    assert lines == [f"  {marked[0]}", f"  {' ' * marked[1]}^"]


@pytest.mark.parametrize("position", [0, 3, 50, 97, 100])
@pytest.mark.parametrize("text", ["x" * 100, "日" * 100])
def test_a_long_query_is_cut_around_the_place(text: str, position: int) -> None:
    """What is shown fits into the width, and the caret is below what it points at."""
    marked = text[:position] + "!" + text[position + 1 :]
    line, before = around(marked, position, 38)
    assert cell_len(line) <= 38
    assert cell_len(line[: line.index("!")]) == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--nope"], "No such option: --nope"),
        (["--outcome:x"], "No such option: --outcome:x"),
        (["-x"], "No such option: -x"),
        (["--limit", "0"], "greater than or equal to 1"),
        (["--after", "yesterday"], "'yesterday' is not a cursor"),
        (["after:1d", "before:2d"], "after: is not earlier than before:"),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(run: Run, arguments: list[str], reason: str) -> None:
    """What is neither an option nor a part of a query is no query."""
    result = run("search", *arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert reason in result.stderr


@pytest.mark.parametrize("command", ["search", "tail"])
@pytest.mark.parametrize("columns", ["60", "80"])
def test_the_help_lists_the_fields(run: Run, command: str, columns: str) -> None:
    """Each field of the language is there with its meaning, as the reference has it, in any width."""
    text = run(command, "--help", COLUMNS=columns).stdout
    words = " ".join(text.split())
    for field, meaning in FIELDS.items():
        assert f"{field} {meaning.replace('`', '')}" in words
    assert max(map(len, text.splitlines())) <= int(columns)
