"""Recording in the caller's transaction, in one statement."""

import hashlib
import time
from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditLog, InvalidEvent, Settings, bind
from pgaudit.recording.document import STAMP_BYTES, stored_size
from tests.support.audit_log import logged
from tests.support.events import event
from tests.support.jobs import persist_and_commit, queued, queued_ids
from tests.support.queries import Connection


@pytest.fixture
def audit(settings: Settings) -> AuditLog:
    """The library as an application uses it."""
    return AuditLog(settings)


def test_a_rolled_back_transaction_leaves_no_event(conn: Connection, audit: AuditLog) -> None:
    """A rollback takes the event back."""
    audit.record(conn, event())
    conn.rollback()
    assert queued(conn) == []


def test_a_committed_transaction_has_its_event(dsn: str, conn: Connection, audit: AuditLog) -> None:
    """record() does not commit: another session sees the event after the caller's commit."""
    audit.record(conn, made := event())
    with psycopg.connect(dsn, autocommit=True) as other:
        assert queued_ids(other) == []
        conn.commit()
        assert queued_ids(other) == [made.id]


def test_a_rollback_to_a_savepoint_takes_back_its_events(conn: Connection, audit: AuditLog) -> None:
    """Events that were recorded after the savepoint are gone; earlier ones stay."""
    audit.record(conn, kept := event())
    with conn.transaction():
        audit.record(conn, event())
        with conn.transaction():
            audit.record(conn, event())
        raise psycopg.Rollback
    conn.commit()
    assert queued_ids(conn) == [kept.id]


def sent(conn: Connection, path: Path) -> list[str]:
    """Returns the messages that the client has sent since the trace began."""
    conn.pgconn.untrace()
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return [kind for who, _, kind, *_ in lines if who == "F"]


@pytest.mark.parametrize("count", [1, 100])
def test_recording_is_one_statement(conn: Connection, audit: AuditLog, tmp_path: Path, count: int) -> None:
    """One event or a hundred are sent in one round trip: parsed, bound and executed once."""
    conn.execute("SELECT 1")
    with (tmp_path / "trace").open("w") as file:
        conn.pgconn.trace(file.fileno())
        conn.pgconn.set_trace_flags(psycopg.pq.Trace.SUPPRESS_TIMESTAMPS)
        audit.record(conn, *(event(number) for number in range(count)))
        assert sent(conn, tmp_path / "trace") == ["Parse", "Bind", "Describe", "Execute", "Sync"]
    assert len(queued(conn)) == count


def test_a_call_without_events_sends_nothing(conn: Connection, audit: AuditLog) -> None:
    """A call without events does not begin a transaction."""
    audit.record(conn)
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_mode_off_sends_nothing(conn: Connection) -> None:
    """PGAUDIT_MODE=off checks each event and drops it, without a connection to the database."""
    audit = AuditLog(Settings(dsn="host=127.0.0.1 port=1", mode="off", max_event_bytes=1_024))
    audit.record(conn, event())
    audit.record_autonomous(event())
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with pytest.raises(InvalidEvent, match=r"claim\.approved: .*PGAUDIT_MAX_EVENT_BYTES"):
        audit.record(conn, event().model_copy(update={"reason": "x" * 1_024}))


def test_an_event_too_large_is_refused_before_anything_is_sent(conn: Connection, dsn: str) -> None:
    """The size counts as Postgres stores it, stamps included; the message names event, size and limit."""
    made = event().model_copy(update={"reason": "ä" * 1_000})
    size = stored_size(made.to_json())
    AuditLog(Settings(dsn=dsn, max_event_bytes=size)).record(conn, made)
    (stored,) = conn.execute("SELECT octet_length(event::text) FROM pgaudit.audit_jobs").fetchone() or (0,)
    assert size - STAMP_BYTES < stored <= size
    conn.rollback()
    with pytest.raises(InvalidEvent, match=rf"claim\.approved: {size:,} bytes .* {size - 1:,} are allowed"):
        AuditLog(Settings(dsn=dsn, max_event_bytes=size - 1)).record(conn, event(), made)
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_the_job_holds_event_hash_and_transaction(conn: Connection, audit: AuditLog) -> None:
    """A job has SHA-256 of 0x00 and event::text, as the log has later, and the caller's xid."""
    audit.record(conn, made := event())
    query = "SELECT event::text, event->>'xid', leaf_hash, event_bytes FROM pgaudit.audit_jobs"
    text, xid, leaf_hash, size = conn.execute(query).fetchone() or ("", "", b"", 0)
    assert leaf_hash == hashlib.sha256(b"\0" + text.encode()).digest()
    assert size == len(text.encode())
    assert (xid,) == conn.execute("SELECT pg_current_xact_id()::text").fetchone()
    conn.commit()
    assert persist_and_commit(conn) == []
    row = conn.execute("SELECT event::text, event_id, leaf_hash FROM pgaudit.audit_log").fetchone()
    assert row == (text, made.id, leaf_hash)


def test_recorded_at_is_the_servers_clock(conn: Connection, audit: AuditLog) -> None:
    """recorded_at lies between two looks at the server's clock, in UTC."""
    clock = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    conn.execute("SET timezone = 'Asia/Kathmandu'")
    (before,) = conn.execute(clock).fetchone() or ("",)
    audit.record(conn, event(1), event(2))
    (after,) = conn.execute(clock).fetchone() or ("",)
    first, second = (job["event"]["recorded_at"] for job in queued(conn))
    assert before <= first <= second <= after


def test_no_notify_and_no_deferred_row(dsn: str, conn: Connection, audit: AuditLog) -> None:
    """Audit jobs send no NOTIFY, and write no row to procrastinate_events."""
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute("LISTEN procrastinate_any_queue_v1")
        listener.execute("LISTEN marker")
        audit.record(conn, event())
        conn.commit()
        conn.execute("NOTIFY marker")
        conn.commit()
        heard = next(listener.notifies(timeout=10))
    assert heard.channel == "marker"
    assert conn.execute("SELECT count(*) FROM pgaudit.procrastinate_events").fetchone() == (0,)


def test_other_queues_still_notify(dsn: str, conn: Connection) -> None:
    """Jobs of other queues send NOTIFY and write their events."""
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute("LISTEN procrastinate_any_queue_v1")
        conn.execute("INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name) VALUES ('mail', 'send')")
        conn.commit()
        assert next(listener.notifies(timeout=10)).channel == "procrastinate_any_queue_v1"
    assert conn.execute("SELECT type::text FROM pgaudit.procrastinate_events").fetchall() == [("deferred",)]


def test_events_inherit_what_is_bound(conn: Connection, audit: AuditLog) -> None:
    """Fields of bind() are in the queued event."""
    with bind(tenant="acme", request_id="r-1"):
        audit.record(conn, event())
    (job,) = queued(conn)
    assert job["event"]["tenant"] == "acme"
    assert job["event"]["context"] == {"request_id": "r-1"}


def test_inline_appends_at_once(dsn: str, conn: Connection) -> None:
    """PGAUDIT_MODE=inline appends without a job, each event once, and rolls back with the caller."""
    audit = AuditLog(Settings(dsn=dsn, mode="inline"))
    first, second, third = event(1), event(2), event(3)
    audit.record(conn, first)
    conn.commit()
    audit.record(conn, second)
    conn.rollback()
    audit.record(conn, first, third)
    audit.record(conn, third)
    conn.commit()
    assert logged(conn) == [(0, first.id), (1, third.id)]
    assert queued(conn) == []


def test_a_prepared_statement_goes_on_recording(conn: Connection, audit: AuditLog) -> None:
    """Recording goes on working after psycopg has prepared the statement."""
    for number in range(12):
        audit.record(conn, event(number))
    assert len(queued(conn)) == 12


def wait_until_idle(conn: Connection, pid: int) -> None:
    """Waits until that session waits for its client."""
    deadline = time.monotonic() + 10
    query = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    while conn.execute(query, [pid]).fetchone() != ("idle in transaction",):
        assert time.monotonic() < deadline, "the session is still busy"


def test_recorders_do_not_wait_for_each_other(dsn: str, conn: Connection, audit: AuditLog) -> None:
    """Two open transactions record at the same time, and commit in any order."""
    with psycopg.connect(dsn) as other:
        other.execute("SET lock_timeout = '5s'")
        audit.record(conn, first := event(1))
        audit.record(other, second := event(2))
        wait_until_idle(other, conn.info.backend_pid)
        other.commit()
        assert queued_ids(other) == [second.id]
        conn.commit()
        assert queued_ids(other) == [first.id, second.id]


def test_a_broken_schema_raises_and_aborts(conn: Connection, audit: AuditLog) -> None:
    """By default the driver's error reaches the caller and aborts its transaction."""
    conn.execute("ALTER FUNCTION pgaudit.record RENAME TO record_gone")
    conn.commit()
    with pytest.raises(psycopg.errors.UndefinedFunction):
        audit.record(conn, event())
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
