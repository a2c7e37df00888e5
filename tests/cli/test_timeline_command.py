"""``pgaudit timeline``: the life of one thing, its state at a moment, and what differs between two."""

import json
from typing import Literal

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Change, Settings
from tests.support.command_line import Run
from tests.support.terminal import in_terminal


@pytest.fixture
def _log(conn: psycopg.Connection) -> None:
    """A log in which claim 7 is opened, paid, and paid again without success; claim 8 is none of its business."""
    audit = AuditLog(Settings(mode="inline"))
    events: list[tuple[str, str, Literal["success", "denied"], list[Change]]] = [
        ("claim.opened", "claim:7", "success", [Change(path="status", after="open")]),
        ("claim.opened", "claim:8", "success", [Change(path="status", after="open")]),
        ("claim.paid", "claim:7", "success", [Change(path="status", before="open", after="paid")]),
        ("claim.paid", "claim:7", "denied", [Change(path="status", before="paid", after="again")]),
    ]
    for action, target, outcome, changes in events:
        audit.record(conn, AuditEvent(action=action, actor="user:1", target=target, outcome=outcome, changes=changes))
    conn.commit()


@pytest.mark.usefixtures("_log")
def test_a_timeline_has_the_events_of_one_thing_and_its_state(run: Run) -> None:
    """Each event with its changes, the oldest first; below them what is told of each field, and by which event."""
    lines = [" ".join(line.split()) for line in run("timeline", "claim:7").stdout.splitlines()]
    assert [line.split()[0] for line in lines if " claim." in line] == ["0", "2", "3"]
    assert 'status: not told → "open"' in lines
    assert 'status: "open" → "paid"' in lines
    assert lines[-2] == "state"
    assert lines[-1].startswith('status: "paid" index 2, ')
    assert lines[-1].endswith("Z, user:1")
    assert run("timeline", "claim:9").stdout == "No event of the log has this target.\n"


@pytest.mark.usefixtures("_log")
def test_a_timeline_ends_at_a_moment(run: Run) -> None:
    """--as-of takes an index, a time or an age."""
    document = json.loads(run("timeline", "claim:7", "--as-of", "1", "--json").stdout)
    assert [moment["index"] for moment in document["moments"]] == [0]
    assert document["state"]["status"] == {
        "value": "open",
        "known": True,
        "by": 0,
        "source": "after",
        "contradicted_by": None,
    }
    assert (document["target"], document["stopped"]) == ("claim:7", None)
    last = json.loads(run("timeline", "claim:7", "--json").stdout)["moments"][-1]["occurred_at"]
    assert len(json.loads(run("timeline", "claim:7", "--json", "--as-of", last).stdout)["moments"]) == 3
    assert json.loads(run("timeline", "claim:7", "--json", "--as-of", "1d").stdout)["moments"] == []


@pytest.mark.usefixtures("_log")
def test_two_moments_are_compared(run: Run) -> None:
    """Only the fields that differ are printed; a denied event changed nothing."""
    assert run("timeline", "claim:7", "--compare", "0", "2").stdout == 'status: "open" → "paid"\n'
    assert run("timeline", "claim:7", "--compare", "2", "3").stdout == "Nothing that an event has told differs.\n"
    (one,) = json.loads(run("timeline", "claim:7", "--compare", "0", "3", "--json").stdout)
    assert (one["path"], one["before"]["value"], one["after"]["by"]) == ("status", "open", 2)


@pytest.mark.usefixtures("_log")
def test_a_timeline_fits_into_a_narrow_terminal(dsn: str) -> None:
    """In 40 columns the actor stands in a line of its own."""
    output = in_terminal(dsn, 40, "timeline", "claim:7", NO_COLOR="1")
    assert max(map(len, output.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "").splitlines())) <= 40


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["claim"], "'claim' is not of the form type:id"),
        (["claim:*"], "stands for many"),
        (["claim:7", "--as-of", "soon"], "'soon' is not a time"),
        (["claim:7", "--as-of", "1", "--compare", "1", "2"], "exclude each other"),
    ],
)
def test_a_wrong_timeline_is_refused_in_one_sentence(run: Run, arguments: list[str], reason: str) -> None:
    """A thing is named by type and id, a moment by a time or an index."""
    result = run("timeline", *arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert reason in result.stderr
