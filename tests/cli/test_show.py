"""``pgaudit show``: everything about one event."""

import hashlib
import json
import os
import subprocess
import sys
from uuid import UUID

import psycopg
import pytest

from pgaudit import Actor, AuditEvent, AuditLog, Change, Settings, Target, trail
from pgaudit.events import AuditContext
from tests.support.command_line import Run

EVENT = AuditEvent(
    action="claim.approved",
    actor=Actor(type="user", id="42", name="Zoë"),
    targets=["claim:7", Target(type="policy", id="9", role="cover")],
    tenant="north",
    outcome="denied",
    reason="over the limit",
    context=AuditContext(request_id="r-1", ip="10.0.0.1"),
    changes=[Change(path="status", before="open", after={"of": [1, None]}), Change(path="iban", after=None)],
    data={"amount": 12345678901234567890, "rate": 1.5, "empty": {}, "lines": [{"n": 1}]},
)


def append(conn: psycopg.Connection, *events: AuditEvent) -> None:
    """Appends events to the log, and commits."""
    AuditLog(Settings(mode="inline")).record(conn, *events)
    conn.commit()


def test_everything_of_an_event_is_shown(run: Run, conn: psycopg.Connection) -> None:
    """Its fields, all its targets, its context, its changes and its data, each on a line of its own."""
    append(conn, AuditEvent(action="claim.paid"), EVENT)
    result = run("show", "1")
    assert (result.returncode, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    expected = [
        "index 1",
        f"event_id {EVENT.id}",
        "action claim.approved",
        "outcome denied",
        "actor user:42 (name: Zoë)",
        "target claim:7",
        "target policy:9 (role: cover)",
        "tenant north",
        f"occurred_at {EVENT.occurred_at:%Y-%m-%d %H:%M:%S.%f}Z",
        "reason over the limit",
        "recorded_by postgres",
        "context",
        "request_id r-1",
        "ip 10.0.0.1",
        "changes",
        'status: "open" → {"of": [1, null]}',
        "iban: not told → null",
        "data",
        '"amount": 12345678901234567890',
        '"empty": {},',
        '"n": 1',
    ]
    assert [line for line in expected if line not in lines and f"{line}," not in lines] == []
    entry = trail.last(conn, 1)[0]
    assert f"leaf_hash {entry.leaf_hash.hex()} ✓ matches the stored text" in lines
    assert run("show", str(EVENT.id)).stdout == result.stdout


def test_json_is_the_exact_stored_text(conn: psycopg.Connection, dsn: str) -> None:
    """In any locale, and byte by byte: the leaf hash can be computed from what is printed."""
    append(conn, EVENT)
    (entry,) = trail.last(conn, 1)
    environment = os.environ | {"PGAUDIT_DSN": dsn, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "pgaudit", "show", "0", "--json"]
    printed = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    assert printed == entry.text.encode() + b"\n"
    assert hashlib.sha256(b"\0" + printed.rstrip(b"\n")).digest() == entry.leaf_hash
    assert json.loads(printed)["data"]["amount"] == 12345678901234567890


def test_an_event_that_was_changed_in_the_log_is_named(run: Run, conn: psycopg.Connection) -> None:
    """The owner can disable the triggers and change a row; the hash tells, and the command ends with 1."""
    append(conn, EVENT)
    conn.execute("ALTER TABLE pgaudit.audit_log_0 DISABLE TRIGGER USER")
    conn.execute("UPDATE pgaudit.audit_log SET event = jsonb_set(event, '{reason}', '\"fine\"')")
    conn.commit()
    result = run("show", "0")
    assert result.returncode == 1
    assert "✗ does not match the stored text" in result.stdout
    assert run("show", "0", "--json").returncode == 1


def test_events_of_one_id_name_each_other(run: Run, conn: psycopg.Connection) -> None:
    """An event recorded again with other content says which one it conflicts with, and the first one says where."""
    append(conn, EVENT)
    append(conn, EVENT.model_copy(update={"reason": "another"}))
    assert "same id         also at index 1" in run("show", str(EVENT.id)).stdout
    second = run("show", "1").stdout
    assert "conflicts_with  index 0, which has the same id and other content" in second


@pytest.mark.parametrize(
    ("key", "code", "reason"),
    [
        ("7", 1, "no event of the log has the index 7"),
        (str(UUID(int=7)), 1, f"no event of the log has the id {UUID(int=7)}"),
        ("claim:7", 2, "'claim:7' is neither the id of an event nor an index"),
        ("9" * 30, 2, "is neither the id of an event nor an index"),
        ("٣", 2, "is neither the id of an event nor an index"),
    ],
)
def test_an_event_that_is_not_there_is_answered_in_one_sentence(run: Run, key: str, code: int, reason: str) -> None:
    """It is 1 for an event that does not exist, 2 for what is no name of one."""
    result = run("show", key)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (code, "", 1)
    assert reason in result.stderr
