"""``pgaudit tail``: which events it selects, and that it reads the log page by page."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings, trail
from pgaudit.trail import finding
from tests.support.command_line import Run


def append(conn: psycopg.Connection, *events: AuditEvent) -> None:
    """Appends events to the log."""
    AuditLog(Settings(mode="inline")).record(conn, *events)
    conn.commit()


def event(number: int) -> AuditEvent:
    """One of a series: every second one is of actor 0, every third one of target 0, first or second."""
    targets = [f"claim:{number % 3}", f"policy:{number}"]
    return AuditEvent(
        action="claim.approved" if number % 4 else "claim.paid",
        actor=f"user:{number % 2}",
        targets=tuple(targets if number % 6 else reversed(targets)),
        tenant="acme" if number == 5 else None,
    )


def indexes(run: Run, *arguments: str) -> list[int]:
    """The indexes that a tail prints."""
    result = run("tail", "--json", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return [json.loads(line)["index"] for line in result.stdout.splitlines()]


def test_filters_select_events_and_can_be_combined(run: Run, conn: psycopg.Connection) -> None:
    """Each part narrows what the others select; a target is found as a second one, too."""
    append(conn, *map(event, range(24)))
    assert indexes(run) == list(range(14, 24))
    assert indexes(run, "--actor", "user:0") == list(range(0, 24, 2))
    assert indexes(run, "--target", "claim:0") == list(range(0, 24, 3))
    assert indexes(run, "action:claim.paid", "-n", "2") == [16, 20]
    assert indexes(run, "tenant:acme") == [5]
    assert indexes(run, "--from-index", "20") == [20, 21, 22, 23]
    assert indexes(run, "actor:user:0", "--target", "claim:0", "--from-index", "6") == [6, 12, 18]
    assert indexes(run, "target:claim:0", "-action:claim.approved", "-n", "1") == [12]
    assert indexes(run, "--actor", "user:9") == []
    assert indexes(run, "--from-index", "24") == []
    assert indexes(run, "-n", "0", "--actor", "user:0") == []


def test_after_and_before_select_by_the_time_of_recording(run: Run, conn: psycopg.Connection) -> None:
    """A time is ISO 8601, in UTC without an offset, or an age; `before` is exclusive."""
    append(conn, event(0))
    append(conn, event(1))
    first, second = (entry.recorded_at for entry in trail.last(conn, 2))
    assert indexes(run, "after:1h") == [0, 1]
    assert indexes(run, "before:1h") == []
    assert indexes(run, f"after:{second.isoformat()}") == [1]
    assert indexes(run, f"before:{second.isoformat()}") == [0]
    assert indexes(run, f"after:{first.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}", "-n", "1") == [1]
    assert indexes(run, "after:999999999w", "--actor", "user:1") == [1]


def every_page(conn: psycopg.Connection, wanted: str, newest: int | None = None) -> list[Sequence[int]]:
    """The indexes of each page."""
    return [[entry.index for entry in page] for page in trail.pages(conn, wanted, newest=newest)]


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "actor:user:0",
        "target:claim:0",
        "target:claim:0 action:claim.paid",
        "after:1d target:claim:0",
    ],
)
def test_pages_give_each_event_once_and_in_order(
    conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    """However the pages fall, what they hold together is what one page would hold; the newest are its end."""
    append(conn, *map(event, range(60)))
    (whole,) = every_page(conn, wanted)
    assert whole == sorted(whole)
    monkeypatch.setattr(finding, "LARGEST_PAGE", 7)
    pages = every_page(conn, wanted)
    assert [index for page in pages for index in page] == whole
    assert len(pages) > 1 or len(whole) <= 7
    assert max(map(len, pages)) <= 7
    for count in (1, 3, len(whole), len(whole) + 5):
        assert [index for page in every_page(conn, wanted, count) for index in page] == whole[-count:]


def test_a_history_can_be_limited_to_its_newest_events(conn: psycopg.Connection) -> None:
    """of_target and of_actor read no more than they return."""
    append(conn, *map(event, range(24)))
    assert [entry.index for entry in trail.of_target(conn, "claim", "0", limit=2)] == [18, 21]
    assert [entry.index for entry in trail.of_actor(conn, "user", "1", limit=1)] == [23]
    assert len(trail.of_actor(conn, "user", "1")) == 12


def test_a_followed_tail_prints_new_events_that_the_filter_selects(dsn: str, conn: psycopg.Connection) -> None:
    """-f goes on after the events that were there; Ctrl-C ends it with 130."""
    append(conn, event(0), event(1))
    command = [sys.executable, "-m", "pgaudit", "tail", "--json", "-f", "-actor:user:1"]
    environment = os.environ | {"PGAUDIT_DSN": dsn}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["index"] == 0
        append(conn, event(3), event(2))
        assert json.loads(process.stdout.readline())["index"] == 3
        process.send_signal(2)
        assert process.wait(30) == 130
