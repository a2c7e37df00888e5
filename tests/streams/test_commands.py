"""``pgaudit stream``: each command, with its sentences, its JSON and its exit codes."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import streams
from pgaudit.grants import grant
from pgaudit.streams import positions
from tests.support.command_line import Commands, Run
from tests.support.roles import temporary_roles
from tests.support.streams import append, lines, send_all

PARK = """SELECT pgaudit.park('siem', '[{"index": 1, "target": "claim:1", "error": "too large\\u001b[2J"},
                                        {"index": 4, "target": "claim:1", "behind": 1}]')"""


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    """The process whose forks run the commands of this file."""
    commands = Commands()
    yield commands
    commands.close()


@pytest.fixture
def run(commands: Commands, dsn: str) -> Run:
    """Runs ``pgaudit`` with these arguments and variables, against the test's database."""
    return lambda *arguments, dsn=dsn, **more: commands.run(*arguments, PGAUDIT_DSN=dsn, **{"COLUMNS": "220"} | more)


@pytest.fixture
def siem(run: Run, dsn: str, tmp_path: Path) -> Path:
    """The directory of a stream that has sent five events."""
    append(dsn, 5)
    added = run("stream", "add", "siem", "--to", f"file:{tmp_path}/out", "--from", "beginning")
    assert added.returncode == 0, added.stderr
    send_all(dsn, "siem")
    return tmp_path / "out"


def told(run: Run, *arguments: str) -> Any:
    """Returns the JSON document of a command."""
    done = run("stream", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_stream_is_added_listed_shown_and_removed(run: Run, dsn: str, tmp_path: Path) -> None:
    """It begins with the next event; adding and removing are events."""
    append(dsn, 3)
    assert run("stream", "list").stdout == "There is no stream: add one with pgaudit stream add NAME --to URL.\n"
    added = run("stream", "add", "siem", "--to", f"file:{tmp_path}/out", "--match", "action:claim.*", "--ordered")
    assert added.stdout == "siem begins with the event at index 3. Try it: pgaudit stream test siem\n", added.stderr
    assert [one["name"] for one in told(run, "list")] == ["siem"]
    listed = run("stream", "list").stdout.splitlines()
    assert listed[0].split()[:3] == ["name", "state", "to"]
    assert listed[1].split()[:4] == ["siem", "active", f"file:{tmp_path}/out", "3"]
    shown = run("stream", "show", "siem").stdout
    assert "match         action:claim.*" in shown
    assert "form          native, in order of each target" in shown
    assert told(run, "show", "siem")["next_index"] == 3
    assert run("stream", "remove", "siem").stdout == "siem is removed. Its next event would have been index 3.\n"
    assert told(run, "list") == []
    assert [(event["action"], event["data"].get("first")) for event in waiting(dsn)] == [
        ("audit.stream_added", 3),
        ("audit.stream_removed", None),
    ]


def waiting(dsn: str) -> list[dict[str, Any]]:
    """Returns the events that wait for a worker."""
    with psycopg.connect(dsn) as conn:
        return [event for (event,) in conn.execute("SELECT event FROM pgaudit.audit_jobs ORDER BY id")]


@pytest.mark.parametrize(("start", "index"), [("now", 5), ("beginning", 0), ("2", 2)])
def test_a_stream_begins_where_it_is_told(run: Run, dsn: str, tmp_path: Path, start: str, index: int) -> None:
    """With the next event, the first, or that of an index."""
    append(dsn, 5)
    assert told(run, "add", "siem", "--to", f"file:{tmp_path}", "--from", start)["next_index"] == index


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["add", "siem", "--to", "file:/tmp/x", "--from", "yesterday"], 2, "--from is now, beginning or an index"),
        (["add", "siem", "--to", "file:/tmp/x", "--from", "-1"], 2, "--from is now, beginning or an index"),
        (["add", "siem", "--to", "file:/tmp/x", "--from", "7"], 1, "the log has 0 events"),
        (["add", "siem", "--to", "file:/tmp/x", "--match", "after:7d"], 1, "leave after: out of its query"),
        (["add", "siem", "--to", "file:/tmp/x", "--match", "actoin:x"], 2, "there is no field actoin"),
        (["add", "siem", "--to", "file:/tmp/x", "--form", "xml"], 2, "'xml' is not one of"),
        (["add", "Siem!", "--to", "file:/tmp/x"], 1, "the name of a stream has 1 to 63 lower-case letters"),
        (["add", "siem", "--to", "gopher://x"], 1, "is no kind of destination: write one of"),
        (["add", "siem", "--to", "https://user:geheim@example.com"], 1, "would store a secret in the database"),
        (["add", "siem"], 2, "Missing option '--to'"),
        (["add", "siem", "--to", "file:x"], 1, "a directory is an absolute path: write file:/var/audit"),
        (["add", "siem", "--to", "http://siem?secret=env:S"], 1, "http can be read and changed on its way, and so can"),
        (["add", "siem", "--to", "syslog+tcp://siem"], 1, "use syslog+tls, or, in a network of your own"),
        (["add", "siem", "--to", "smtp://siem?from=a@b.example&to=c@d.example"], 1, "use smtp+starttls or smtps"),
        (["show", "siem"], 1, "there is no stream siem: pgaudit stream list names them all"),
        (["pause", "siem"], 1, "there is no stream siem: pgaudit stream list names them all"),
        (["remove", "siem"], 1, "there is no stream siem"),
        (["history", "siem"], 1, "there is no stream siem"),
        (["parked", "siem"], 1, "there is no stream siem"),
        (["test", "siem"], 1, "there is no stream siem"),
        (["discard", "siem", "1"], 2, "Missing option '--reason'"),
        (["rewind", "siem", "x"], 2, "should be a valid integer"),
    ],
)
def test_a_mistake_is_named_in_one_line(run: Run, arguments: list[str], code: int, sentence: str) -> None:
    """With the exit code of its kind, and without what may be a secret."""
    done = run("stream", *arguments)
    assert (done.returncode, sentence in done.stderr, "geheim" in done.stderr) == (code, True, False), done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_is_taken_is_refused_with_what_to_do(run: Run, siem: Path) -> None:
    """Another name, or the stream is removed first."""
    again = run("stream", "add", "siem", "--to", f"file:{siem}-2")
    assert again.returncode == 1
    assert again.stderr.endswith("there is a stream siem already: choose another name, or remove that one first\n")


def test_an_open_destination_is_taken_in_a_network_of_ones_own(run: Run) -> None:
    """With --allow-private."""
    assert run("stream", "add", "siem", "--to", "syslog+tcp://siem", "--allow-private").returncode == 0


@pytest.mark.usefixtures("siem")
def test_retrying_what_was_not_refused_is_a_failure(run: Run) -> None:
    """Of one event; of all of them, none is none."""
    one = run("stream", "retry", "siem", "--index", "3")
    assert one.returncode == 1
    assert one.stdout == "Event 3 is not parked in siem: pgaudit stream parked siem lists the parked events.\n"
    nothing = run("stream", "retry", "siem", "--index", "3", "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)) == (1, {"retried": 0})
    assert run("stream", "retry", "siem").returncode == 0


@pytest.mark.usefixtures("siem")
def test_a_stream_is_paused_and_resumed(run: Run) -> None:
    """The list says why."""
    paused = run("stream", "pause", "siem", "--reason", "maintenance of the SIEM")
    assert paused.stdout == "siem is paused. It will continue with the event at index 5.\n"
    assert "paused by postgres (asked): maintenance of the SIEM" in run("stream", "list").stdout
    assert told(run, "pause", "siem")["state"] == "paused"
    assert run("stream", "resume", "siem").stdout == "siem continues with the event at index 5.\n"
    assert told(run, "resume", "siem")["state"] == "active"


@pytest.mark.usefixtures("siem")
def test_a_stream_that_has_paused_itself_was_paused_by_a_worker(run: Run, dsn: str) -> None:
    """And not by whoever the role belongs to with which the worker connects."""
    with psycopg.connect(dsn) as conn:
        positions.pause(conn, "siem", "refused", "401 Unauthorized")
    assert "paused by a worker (refused): 401 Unauthorized" in run("stream", "show", "siem").stdout
    assert told(run, "show", "siem")["paused_by"] == "worker"


def test_a_stream_is_set_back(run: Run, siem: Path, dsn: str) -> None:
    """What follows is sent again."""
    assert run("stream", "rewind", "siem", "2").stdout == "siem continues with the event at index 2: 3 to look at.\n"
    assert run("stream", "rewind", "siem", "6").returncode == 1
    send_all(dsn, "siem")
    assert [line["index"] for line in lines(siem)] == [0, 1, 2, 3, 4, 2, 3, 4]
    history = run("stream", "history", "siem").stdout.splitlines()
    assert [line.split()[2] for line in history[1:]] == ["delivered", "rewound", "delivered"]
    assert told(run, "history", "siem", "--limit", "1")[0]["from_index"] == 2


def test_a_range_is_sent_again(run: Run, siem: Path, dsn: str) -> None:
    """With --wait until it has ended; it can be stopped before."""
    assert run("stream", "replay", "siem", "1", "3").stdout == "siem goes through index 1 to 3 again.\n"
    assert "replay        1 to 3, next 1" in run("stream", "show", "siem").stdout
    assert run("stream", "stop-replay", "siem").stdout == "The replay of siem is stopped.\n"
    nothing = run("stream", "stop-replay", "siem", "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)) == (1, {"stopped": False})
    sending = threading.Thread(target=send_when_asked, args=(dsn,))
    sending.start()
    assert run("stream", "replay", "siem", "1", "3", "--wait").stdout == "siem went through index 1 to 3 again.\n"
    sending.join()
    assert [line["index"] for line in lines(siem)] == [0, 1, 2, 3, 4, 1, 2, 3]


def send_when_asked(dsn: str) -> None:
    """Sends a replay as soon as there is one, as a worker does."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        while streams.found(conn, "siem").replay_from is None:
            pass
    send_all(dsn, "siem")


@pytest.mark.usefixtures("siem")
def test_parked_events_are_listed_retried_and_given_up(run: Run, dsn: str) -> None:
    """Nothing that an error quotes moves the cursor of a terminal."""
    assert run("stream", "parked", "siem").stdout == "siem has parked no event.\n"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(PARK)
    listed = run("stream", "parked", "siem").stdout
    assert "too large\\x1b[2J" in listed
    assert [one["index"] for one in told(run, "parked", "siem")] == [1, 4]
    more = run("stream", "parked", "siem", "--limit", "1")
    assert "1 of 2: go on with --after 1." in more.stderr
    assert [one["index"] for one in told(run, "parked", "siem", "--after", "1")] == [4]
    assert (
        run("stream", "discard", "siem", "1", "--reason", "a test").stdout
        == "Event 1 is discarded: it will not be sent to siem.\n"
    )
    assert run("stream", "discard", "siem", "1", "--reason", "a test").returncode == 1
    assert run("stream", "retry", "siem").stdout == "1 parked event(s) of siem are sent again.\n"
    assert "a test, by postgres" in run("stream", "history", "siem").stdout


def test_a_stream_is_tested(run: Run, siem: Path) -> None:
    """The sentence is that of the destination; what it refuses ends the command with 1."""
    tested = run("stream", "test", "siem")
    assert tested.returncode == 0, tested.stderr
    assert str(siem) in tested.stdout
    assert "result" in told(run, "test", "siem")
    (siem / "position.json").write_text("broken")
    refused = run("stream", "test", "siem")
    assert (refused.returncode, "cannot be read" in refused.stderr) == (1, True)


@pytest.mark.usefixtures("siem")
def test_a_role_is_told_which_right_it_lacks(run: Run, dsn: str) -> None:
    """A reader looks, an operator acts, the owner adds and removes."""
    with temporary_roles(dsn, "t_reader", "t_operator"):
        with psycopg.connect(dsn) as conn:
            grant(conn, reader="t_reader", operator="t_operator")
        reader, operator = (psycopg.conninfo.make_conninfo(dsn, user=role) for role in ("t_reader", "t_operator"))
        assert run("stream", "show", "siem", dsn=reader).returncode == 0
        refused = run("stream", "pause", "siem", dsn=reader)
        assert (refused.returncode, "pgaudit grant --operator t_reader" in refused.stderr) == (3, True)
        assert run("stream", "pause", "siem", dsn=operator).returncode == 0
        refused = run("stream", "remove", "siem", dsn=operator)
        assert (refused.returncode, "connect as its owner" in refused.stderr) == (3, True)
