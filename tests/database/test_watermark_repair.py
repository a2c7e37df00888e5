"""The watermark after a restore, a truncation or a change by hand."""

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from tests.support.jobs import let_jobs_be_edited
from tests.support.queries import LOG_SIZE, Connection, value
from tests.support.watermark import (
    PASSED,
    WATERMARK,
    behind,
    commit_and_drain,
    persist_all,
    record_uncommitted,
    work_all,
)


def test_a_job_below_the_watermark_is_found(dsn: str, conn: Connection) -> None:
    """A job that an owner has put below the watermark is requeued by maintenance."""
    commit_and_drain(dsn, conn, 3)
    record_uncommitted(conn, 1)
    let_jobs_be_edited(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET id = 5")
    conn.commit()
    assert work_all(dsn) == 0
    assert value(conn, "SELECT pgaudit.requeue_skipped_jobs()") == 1
    conn.commit()
    assert work_all(dsn) == 1


def test_a_watermark_above_the_sequence_is_reset(dsn: str, conn: Connection) -> None:
    """After a restore the sequence starts again, and maintenance resets the watermark."""
    commit_and_drain(dsn, conn, 3)
    conn.execute("ALTER SEQUENCE pgaudit.procrastinate_jobs_id_seq RESTART")
    record_uncommitted(conn, 1)
    conn.commit()
    conn.execute("SELECT pgaudit.requeue_skipped_jobs()")
    conn.commit()
    assert value(conn, WATERMARK) == 0
    conn.commit()
    assert work_all(dsn) == 1


def test_a_watermark_that_waits_for_transactions_of_another_cluster_is_reset(dsn: str, conn: Connection) -> None:
    """After a dump and restore the xids of the old cluster are far ahead; maintenance resets the watermark."""
    commit_and_drain(dsn, conn, 3)
    conn.execute("ALTER TABLE pgaudit.queue_watermark DISABLE TRIGGER reject_direct_write")
    conn.execute("UPDATE pgaudit.queue_watermark SET safe_xid = '999999999', passed_xids = '{999999998}'")
    conn.execute("ALTER TABLE pgaudit.queue_watermark ENABLE ALWAYS TRIGGER reject_direct_write")
    conn.commit()
    commit_and_drain(dsn, conn, 1)
    assert value(conn, "SELECT pgaudit.requeue_skipped_jobs()") == 0
    assert value(conn, "SELECT low_watermark FROM pgaudit.queue_watermark") == 0
    conn.commit()
    commit_and_drain(dsn, conn, 3)
    assert value(conn, WATERMARK) > 6_000
    assert value(conn, PASSED) == 0


def test_a_lost_watermark_is_written_again(dsn: str, conn: Connection) -> None:
    """Without its row the scan begins at the first job, and the next batches write the row again."""
    commit_and_drain(dsn, conn, 2)
    conn.execute("ALTER TABLE pgaudit.queue_watermark DISABLE TRIGGER reject_direct_write")
    conn.execute("DELETE FROM pgaudit.queue_watermark")
    conn.execute("ALTER TABLE pgaudit.queue_watermark ENABLE ALWAYS TRIGGER reject_direct_write")
    conn.commit()
    commit_and_drain(dsn, conn, 3)
    assert behind(conn) < 4_000


def test_an_empty_queue_that_is_truncated_starts_again(dsn: str, conn: Connection) -> None:
    """After TRUNCATE RESTART IDENTITY, jobs with ids below the old watermark are found."""
    commit_and_drain(dsn, conn, 3)
    conn.execute("TRUNCATE pgaudit.procrastinate_jobs RESTART IDENTITY CASCADE")
    record_uncommitted(conn, 1)
    conn.commit()
    assert persist_all(dsn) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM pgaudit.batch",
        "TRUNCATE pgaudit.batch",
        "UPDATE pgaudit.batch SET first_index = first_index - 1",
        "DELETE FROM pgaudit.queue_watermark",
        "UPDATE pgaudit.queue_watermark SET low_watermark = 1000000",
        "TRUNCATE pgaudit.queue_watermark",
    ],
)
def test_owner_cannot_write_batches_or_the_watermark(dsn: str, conn: Connection, statement: str) -> None:
    """batch decides the next index and queue_watermark where the scan begins, so neither can be written by hand."""
    commit_and_drain(dsn, conn, 1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only the functions of pgaudit"):
        conn.execute(statement)


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_an_old_snapshot_cannot_append_at_a_taken_index(
    dsn: str, conn: Connection, level: psycopg.IsolationLevel
) -> None:
    """An inline transaction that does not see the last batch fails with a serialization error."""
    inline = AuditLog(Settings(mode="inline"))
    with psycopg.connect(dsn) as late:
        late.isolation_level = level
        late.execute("SELECT count(*) FROM pgaudit.audit_log")
        inline.record(conn, AuditEvent(action="claim.approved"))
        conn.commit()
        with pytest.raises(psycopg.errors.SerializationFailure):
            inline.record(late, AuditEvent(action="claim.approved"))
    assert value(conn, LOG_SIZE) == 1
