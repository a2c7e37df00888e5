"""Rows that an ORM has changed, as events: their values, keys and size; and recording them through each library."""

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import AuditEvent, AuditLog, Change, InvalidEvent, Settings
from pgaudit.grants import grant
from pgaudit.recording.row_changes import RowChange, describe_class
from pgaudit.recording.row_values import changes_between, id_of, row_value
from pgaudit.testing import assert_recorded
from tests.support import transactions
from tests.support.roles import temporary_roles


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),  # noqa: DTZ001 - of a column without a zone
        ([datetime(2026, 1, 2), None], ["2026-01-02T00:00:00", None]),  # noqa: DTZ001
        (memoryview(b"\x00\xff"), "\\x00ff"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Decimal("Infinity"), "Infinity"),
        ({"b", "a"}, ["a", "b"]),
        (Decimal("1.50"), Decimal("1.50")),
    ],
)
def test_values_that_events_refuse_have_the_form_that_capture_gives_them(value: object, expected: object) -> None:
    """Other values are left as they are."""
    assert row_value(value) == expected


def test_values_that_json_cannot_hold_are_text() -> None:
    """A document that is nested too deep does not break the application's change."""
    deep: list[Any] = []
    for _ in range(40):
        deep = [deep]
    (change,) = changes_between("insert", {}, {"doc": deep})
    assert change.after == "[" * 41 + "]" * 41
    with pytest.raises(InvalidEvent, match="change of 'thing': after: object has no JSON form"):
        changes_between("insert", {}, {"thing": object()})


def test_the_id_of_a_target_is_that_of_a_captured_row() -> None:
    """Values of a composite key are joined; an id is neither empty nor longer than 500 characters."""
    assert id_of([7]) == "7"
    assert id_of(["a,b!", None, 1]) == "a!,b!!,NULL,1"
    assert id_of([""]) == '""'
    assert id_of(["x" * 501]) == "x" * 400 + "…" + hashlib.sha256(b"x" * 501).hexdigest()


def test_values_that_cannot_be_compared_differ_by_their_text() -> None:
    """As arrays of other libraries do, which have no truth value."""

    class Array:
        """Compares by elements."""

        def __ne__(self, other: object) -> Any:
            raise ValueError("the truth value of an array is ambiguous")

        def __hash__(self) -> int:
            return 0

        def __str__(self) -> str:
            return "[1]"

    assert changes_between("update", {"a": Array()}, {"a": Array()}) == ()


def test_the_largest_values_of_an_event_are_left_out_until_it_fits() -> None:
    """Masked values stay, and so does the event, whatever is in it."""
    described = describe_class("claim", None, 10_000, ["secret"])
    changes = changes_between("insert", {}, {"id": 1, "a": "x" * 5_000, "b": ["y"] * 3_000, "secret": "z"}, ["secret"])
    event = described.event("insert", ([1], [1]), changes)
    left_out = {"omitted": True, "bytes": 15_000, "sha256": event.changes[2].after["sha256"]}
    assert event.changes == (
        Change(path="id", after=1),
        Change(path="a", after="x" * 5_000),
        Change(path="b", after=left_out),
        Change(path="secret", after="***"),
    )
    many = changes_between("insert", {}, {f"column {n}": "x" * 100 for n in range(200)})
    assert len(described.event("insert", ([1], [1]), many).changes) == 200


@pytest.mark.parametrize("kind", transactions.SYNC)
def test_each_library_records_what_is_not_captured(dsn: str, conn: psycopg.Connection, kind: str) -> None:
    """With receipts in the WAL, too, if they are wanted."""
    conn.execute("CREATE TABLE claims (id int PRIMARY KEY); CREATE TABLE notes (id int PRIMARY KEY)")
    conn.execute("SELECT pgaudit.add_capture('notes', 'note', '{id}')")
    conn.commit()
    events = [AuditEvent(action="claim.created", target="claim:7"), AuditEvent(action="note.created", target="note:7")]
    changes = [RowChange(table, "insert", event) for table, event in zip(("claims", "notes"), events, strict=True)]
    for settings in (Settings(dsn=dsn), Settings(dsn=dsn, wal_receipts=True), Settings(dsn=dsn, mode="inline")):
        with transactions.SYNC[kind](dsn) as transaction:
            AuditLog(settings).record_uncaptured(transaction, *changes)
    assert_recorded(conn, action="claim.created")
    assert_recorded(conn, times=0, action="note.created")


def test_a_writer_needs_no_other_right(dsn: str, conn: psycopg.Connection) -> None:
    """Neither on the log nor on the tables of capture."""
    conn.execute("CREATE TABLE claims (id int PRIMARY KEY)")
    conn.commit()
    change = RowChange("claims", "insert", AuditEvent(action="claim.created", target="claim:7"))
    with temporary_roles(dsn, "orm_writer"):
        grant(conn, writer="orm_writer")
        conn.commit()
        with psycopg.connect(make_conninfo(dsn, user="orm_writer")) as writer:
            AuditLog(Settings(dsn=dsn)).record_uncaptured(writer, change)
    assert_recorded(conn, action="claim.created")
