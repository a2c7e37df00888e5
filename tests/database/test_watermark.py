"""The low watermark: a fetch reads only the last few batches, however long other transactions stay open."""

import psycopg
import pytest

from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.jobs import register
from tests.support.queries import COUNT_JOBS, LOG_SIZE, Connection, value
from tests.support.watermark import (
    PASSED,
    WATERMARK,
    behind,
    commit_and_drain,
    old_snapshot,
    pages,
    persist_all,
    record_uncommitted,
)


def test_finished_jobs_are_not_read_again(dsn: str, conn: Connection) -> None:
    """A fetch reads no more pages after ten thousand events than after two thousand, despite dead rows."""
    look = f"SELECT pgaudit.fetch_job('{register(conn)[1]}')"
    with old_snapshot(dsn):
        commit_and_drain(dsn, conn, 1)
        before = pages(conn, look)
        commit_and_drain(dsn, conn, 4)
        assert value(conn, COUNT_JOBS) == 0
        assert pages(conn, look) < before * 1.5


def test_the_watermark_advances_however_often_the_queue_was_empty(dsn: str, conn: Connection) -> None:
    """The watermark stays within two batches of the last id."""
    for batches in (1, 2, 3, 1, 2, 3):
        commit_and_drain(dsn, conn, batches)
        assert behind(conn) < 4_000


def test_the_size_of_the_log_is_found_with_few_pages(dsn: str, conn: Connection) -> None:
    """Two hundred appends beside an old snapshot leave no dead rows that a look at the size would have to read."""
    with old_snapshot(dsn):
        for _ in range(200):
            record_uncommitted(conn, 1)
            conn.commit()
            assert persist_all(dsn) == 1
        assert pages(conn, "SELECT size FROM pgaudit.log_head") < 10
        assert value(conn, LOG_SIZE) == 200


@pytest.mark.parametrize("level", list(psycopg.IsolationLevel))
def test_a_transaction_that_records_nothing_does_not_stop_the_watermark(
    dsn: str, conn: Connection, level: psycopg.IsolationLevel
) -> None:
    """A transaction with an xid and a snapshot that has recorded nothing is not waited for."""
    conn.execute("CREATE TABLE elsewhere (xid xid8)")
    conn.commit()
    with psycopg.connect(dsn) as writer:
        writer.isolation_level = level
        writer.execute("INSERT INTO elsewhere VALUES (pg_current_xact_id())")
        writer.execute("SELECT count(*) FROM pgaudit.audit_jobs")
        commit_and_drain(dsn, conn, 3)
        assert behind(conn) < 4_000
        assert value(conn, PASSED) == 0


def test_a_reader_does_not_stop_the_watermark(dsn: str, conn: Connection) -> None:
    """An old snapshot without an xid does not stop the watermark."""
    with old_snapshot(dsn):
        commit_and_drain(dsn, conn, 3)
        assert behind(conn) < 4_000
        assert value(conn, PASSED) == 0


def test_a_recorder_in_another_database_does_not_stop_the_watermark(server: Server, dsn: str, conn: Connection) -> None:
    """A transaction that records in another database is not waited for, although its tables have the same oids."""
    with fresh_database(server) as other, psycopg.connect(other.dsn) as elsewhere:
        record_uncommitted(elsewhere, 1)
        commit_and_drain(dsn, conn, 3)
        assert behind(conn) < 4_000
        assert value(conn, PASSED) == 0


def test_a_rolled_back_savepoint_does_not_stop_the_watermark(dsn: str, conn: Connection) -> None:
    """The watermark advances beyond the ids of a savepoint that was rolled back."""
    with conn.transaction() as savepoint:
        record_uncommitted(conn, 10)
        raise psycopg.Rollback(savepoint)
    commit_and_drain(dsn, conn, 3)
    assert value(conn, WATERMARK) > 2_000
