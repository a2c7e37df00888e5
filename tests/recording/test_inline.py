"""Inline recording: its right, and its locks beside events that the same thread records autonomously."""

import json
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pgaudit import AuditLog, Mode, Settings
from pgaudit.grants import grant
from tests.support.audit_log import assert_dense, logged_ids
from tests.support.events import event
from tests.support.jobs import insert_poison, persist_and_commit, queued_ids
from tests.support.queries import Connection
from tests.support.roles import temporary_roles

ROLES = ("i_writer", "i_inline")
# Seconds that a call may take which waits two seconds for the log.
PATIENCE = 15.0
CHECK = "ALTER TABLE pgaudit.audit_log ADD CONSTRAINT no_claim_13 CHECK (target_id <> '13')"


@pytest.fixture
def inline(dsn: str) -> AuditLog:
    """The library in inline mode."""
    return AuditLog(Settings(dsn=dsn, mode=Mode.INLINE))


@pytest.fixture
def granted(dsn: str) -> Iterator[str]:
    """The database with a writer and a role that may record inline."""
    with temporary_roles(dsn, *ROLES):
        with psycopg.connect(dsn) as conn:
            grant(conn, writer="i_writer", inline="i_inline")
        yield dsn


def test_a_writer_cannot_record_inline(granted: str, conn: Connection, inline: AuditLog) -> None:
    """Inline recording needs a right of its own, because its transaction keeps all others from appending."""
    with psycopg.connect(granted, user="i_writer") as writer:
        with pytest.raises(InsufficientPrivilege, match="record_inline"):
            inline.record(writer, event())
        writer.rollback()
        AuditLog(Settings(dsn=granted)).record(writer, queued := event())
    assert logged_ids(conn) == []
    assert queued_ids(conn) == [queued.id]


def test_a_role_with_the_right_records_inline_and_in_the_queue(
    granted: str, conn: Connection, inline: AuditLog
) -> None:
    """An inline writer appends only through the function; the log itself stays closed."""
    with psycopg.connect(granted, user="i_inline") as writer:
        AuditLog(Settings(dsn=granted)).record(writer, first := event(1))
        writer.commit()
        inline.record(writer, second := event(2))
        writer.commit()
        for statement in (
            "SELECT FROM pgaudit.audit_log",
            "INSERT INTO pgaudit.audit_log DEFAULT VALUES",
            "SELECT pgaudit.append(ARRAY[1], NULL)",
            "SELECT pgaudit.lock_log()",
        ):
            with pytest.raises(InsufficientPrivilege), writer.transaction():
                writer.execute(statement)
    assert sorted(logged_ids(conn)) == sorted([first.id, second.id])
    assert queued_ids(conn) == []
    assert_dense(conn)


@pytest.mark.parametrize("following", ["inline", "worker"])
async def test_an_autonomous_event_does_not_wait_for_its_own_thread(
    conn: Connection, inline: AuditLog, following: str
) -> None:
    """While the caller's transaction holds the log, an autonomous event is queued, and appended with the next batch."""
    start = time.monotonic()
    inline.record(conn, first := event(1))
    inline.record_autonomous(second := event(2))
    await inline.record_autonomous_async(third := event(3), fourth := event(4))
    assert time.monotonic() - start < PATIENCE
    with psycopg.connect(inline.settings.dsn) as other:
        assert logged_ids(other) == []
        assert queued_ids(other) == [second.id, third.id, fourth.id]
        conn.commit()
        expected = [first.id, second.id, third.id, fourth.id]
        if following == "worker":
            assert persist_and_commit(other) == []
        else:
            inline.record(conn, fifth := event(5))
            conn.commit()
            expected.insert(1, fifth.id)
        assert logged_ids(other) == expected
        assert queued_ids(other) == []
        assert_dense(other)


def test_a_queued_autonomous_event_outlives_the_callers_rollback(conn: Connection, inline: AuditLog) -> None:
    """A rollback takes back the event of the caller's transaction, but not the autonomous one."""
    inline.record(conn, event(1))
    inline.record_autonomous(kept := event(2))
    conn.rollback()
    inline.record_autonomous(free := event(3))
    assert sorted(logged_ids(conn)) == sorted([kept.id, free.id])
    assert queued_ids(conn) == []


def test_an_autonomous_event_is_appended_at_once_when_the_log_is_free(conn: Connection, inline: AuditLog) -> None:
    """An autonomous event is appended without a worker."""
    inline.record_autonomous(made := event())
    assert logged_ids(conn) == [made.id]
    assert queued_ids(conn) == []


@pytest.mark.parametrize("content", ["{}", '{"id": "x"}'])
@pytest.mark.parametrize("genuine_hash", [True, False])
def test_poison_in_the_queue_does_not_disturb_inline_recording(
    conn: Connection,
    inline: AuditLog,
    content: str,
    *,
    genuine_hash: bool,
) -> None:
    """A poison job stays; the caller's event, and those queued after the job, are appended."""
    poison(conn, content, genuine_hash=genuine_hash)
    AuditLog(Settings()).record(conn, waiting := event(1))
    conn.commit()
    inline.record(conn, made := event(2))
    conn.commit()
    assert logged_ids(conn) == [made.id, waiting.id]
    assert conn.execute("SELECT event FROM pgaudit.audit_jobs").fetchall() == [(json.loads(content),)]


@pytest.mark.parametrize("genuine_hash", [True, False])
def test_an_inline_failure_is_the_callers_own(
    conn: Connection,
    inline: AuditLog,
    *,
    genuine_hash: bool,
) -> None:
    """The error is that of the caller's event, even if another job in the queue fails, too."""
    conn.execute(CHECK)
    poison(conn, "{}", genuine_hash=genuine_hash)
    conn.commit()
    with pytest.raises(psycopg.errors.CheckViolation, match="no_claim_13"):
        inline.record(conn, event(12), event(13))
    conn.rollback()
    assert logged_ids(conn) == []
    assert conn.execute("SELECT count(*) FROM pgaudit.audit_jobs").fetchone() == (1,)


def poison(conn: Connection, content: str, *, genuine_hash: bool) -> None:
    """Inserts a job that fails because of its hash or of its event."""
    (leaf_hash,) = conn.execute("SELECT pgaudit.leaf_hash(%s)", [content]).fetchone() or (b"",)
    insert_poison(conn, content, leaf_hash if genuine_hash else b"\0")
