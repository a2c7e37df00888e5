"""Transactions that record and stay open: the watermark waits, then passes them, and their jobs are found later."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support.audit_log import assert_dense, logged_ids
from tests.support.jobs import register
from tests.support.queries import Connection, value
from tests.support.servers import migrated_server
from tests.support.waiting import wait_until
from tests.support.watermark import (
    PASSED,
    WAITING,
    WATERMARK,
    behind,
    commit_and_drain,
    old_snapshot,
    pages,
    persist_all,
    record_uncommitted,
    work_all,
)


def test_an_open_recorder_is_waited_for(dsn: str, conn: Connection) -> None:
    """The watermark stays below the jobs of an open transaction for some thousand ids."""
    with psycopg.connect(dsn) as slow:
        record_uncommitted(slow, 1)
        commit_and_drain(dsn, conn, 2)
        job = value(slow, "SELECT max(id) FROM pgaudit.audit_jobs")
        assert value(conn, WATERMARK) <= job
        assert value(conn, PASSED) == 0
        slow.commit()
    assert persist_all(dsn) == 1
    commit_and_drain(dsn, conn, 2)
    assert value(conn, WATERMARK) > job


@pytest.mark.parametrize("commits", [True, False])
def test_a_recorder_that_stays_open_is_passed(dsn: str, conn: Connection, commits: bool) -> None:
    """After five thousand ids the watermark passes an open transaction; its jobs are appended once it commits."""
    with psycopg.connect(dsn) as slow:
        late = record_uncommitted(slow, 3)
        with slow.transaction():  # a savepoint has an xid of its own
            late += record_uncommitted(slow, 2)
        commit_and_drain(dsn, conn, 6)
        assert behind(conn) < 5_000
        assert value(conn, PASSED) == 1
        assert work_all(dsn) == 0
        end = slow.commit if commits else slow.rollback
        end()
    assert persist_all(dsn) == 0, "they are below the watermark"
    assert work_all(dsn) == 5 * commits
    assert value(conn, PASSED) == 0
    assert set(logged_ids(conn)[12_000:]) == set(late if commits else [])
    assert_dense(conn)


def test_a_recorder_whose_savepoint_was_rolled_back_is_found(dsn: str, conn: Connection) -> None:
    """A passed transaction's jobs are appended after its commit, without those of a savepoint that it rolled back."""
    with psycopg.connect(dsn) as slow:
        slow.execute("BEGIN")
        with slow.transaction() as savepoint:
            record_uncommitted(slow, 3)
            raise psycopg.Rollback(savepoint)
        with slow.transaction():
            late = record_uncommitted(slow, 2)
        commit_and_drain(dsn, conn, 6)
        assert behind(conn) < 5_000
        assert value(conn, PASSED) == 1
        slow.commit()
    assert work_all(dsn) == 2
    assert set(logged_ids(conn)[12_000:]) == set(late)


def test_a_recorder_that_rolls_a_savepoint_back_after_it_was_passed_is_found(dsn: str, conn: Connection) -> None:
    """The end of a savepoint does not count as the end of its passed transaction."""
    with psycopg.connect(dsn) as slow:
        late = record_uncommitted(slow, 3)
        slow.execute("SAVEPOINT further")
        record_uncommitted(slow, 2)
        commit_and_drain(dsn, conn, 6)
        assert value(conn, PASSED) == 1
        slow.execute("ROLLBACK TO SAVEPOINT further")
        assert work_all(dsn) == 0
        slow.commit()
    assert work_all(dsn) == 3
    assert set(logged_ids(conn)[12_000:]) == set(late)


def test_several_recorders_are_passed_and_found_one_by_one(dsn: str, conn: Connection) -> None:
    """Each passed transaction's jobs are appended after its own commit; two workers do not append them twice."""
    with psycopg.connect(dsn) as first, psycopg.connect(dsn) as second, psycopg.connect(dsn) as third:
        made = [record_uncommitted(slow, 2) for slow in (first, second, third)]
        commit_and_drain(dsn, conn, 6)
        assert value(conn, PASSED) == 3
        second.commit()
        assert work_all(dsn) == 2
        assert value(conn, PASSED) == 2
        commit_and_drain(dsn, conn, 6)
        assert behind(conn) < 5_000
        assert value(conn, PASSED) == 2
        third.rollback()
        first.commit()
        with ThreadPoolExecutor() as pool:
            assert sum(pool.map(work_all, [dsn] * 2)) == 2
    conn.commit()
    found = logged_ids(conn)
    assert [sum(each in found for each in ids) for ids in made] == [2, 2, 0]
    assert value(conn, PASSED) == 0
    assert_dense(conn)


def test_one_fetch_reads_a_bounded_number_of_pages_beside_an_open_recorder(dsn: str, conn: Connection) -> None:
    """A fetch and a batch read no more pages after twenty thousand events than after ten thousand."""
    _, worker = register(conn)
    look = f"SELECT pgaudit.fetch_job('{worker}')"

    def looks() -> tuple[int, int]:
        record_uncommitted(conn, 1)
        conn.commit()
        fetched, batch = pages(conn, look), pages(conn, "SELECT pgaudit.persist(NULL, NULL, 1)")
        conn.rollback()
        assert persist_all(dsn) == 1
        return fetched, batch

    with old_snapshot(dsn), psycopg.connect(dsn) as slow:
        record_uncommitted(slow, 1)
        highest = (0, 0)
        for _ in range(5):
            commit_and_drain(dsn, conn, 1)
            highest = (max(highest[0], looks()[0]), max(highest[1], looks()[1]))
        for _ in range(5):
            commit_and_drain(dsn, conn, 1)
            fetched, batch = looks()
            assert fetched <= highest[0] * 1.5, (highest, fetched, batch)
            assert batch <= highest[1] * 1.5, (highest, fetched, batch)


def test_a_recorder_that_began_during_a_batch_is_waited_for(dsn: str, conn: Connection) -> None:
    """A transaction that began while a batch waited for the log is not passed by that batch."""
    record_uncommitted(conn, 2_000)
    conn.commit()
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn) as late, ThreadPoolExecutor() as pool:
        holder.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        batch = pool.submit(persist_all, dsn, size=1_500)  # takes its jobs and waits for the end of the log
        wait_until("the batch waits for the end of the log", lambda: value(conn, WAITING) == 1)
        record_uncommitted(late, 1)
        holder.rollback()
        assert batch.result() == 2_000
        commit_and_drain(dsn, conn, 1)
        late.commit()
    assert persist_all(dsn) == 1


def test_a_recorder_that_began_during_a_batch_may_be_passed(dsn: str, conn: Connection) -> None:
    """A transaction that began during a batch and stays open for many is passed; its job is appended later."""
    record_uncommitted(conn, 2_000)
    conn.commit()
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn) as late, ThreadPoolExecutor() as pool:
        holder.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        batch = pool.submit(persist_all, dsn, size=1_500)
        wait_until("the batch waits for the end of the log", lambda: value(conn, WAITING) == 1)
        record_uncommitted(late, 1)
        holder.rollback()
        assert batch.result() == 2_000
        commit_and_drain(dsn, conn, 6)
        assert behind(conn) < 5_000
        assert value(conn, PASSED) == 1
        late.commit()
    assert work_all(dsn) == 1


@pytest.fixture
def prepared_dsn() -> Iterator[str]:
    """A migrated database of a server that allows prepared transactions."""
    with migrated_server(max_prepared_transactions=2) as server:
        yield server.conninfo


def test_a_prepared_recorder_is_passed(prepared_dsn: str) -> None:
    """Jobs of a prepared transaction are appended after COMMIT PREPARED, and gone after ROLLBACK PREPARED."""
    with psycopg.connect(prepared_dsn) as conn:
        for name in ("kept", "given up"):
            with psycopg.connect(prepared_dsn, autocommit=True) as slow:
                slow.execute("BEGIN")
                record_uncommitted(slow, 2)
                slow.execute("SAVEPOINT further")
                record_uncommitted(slow, 1)
                slow.execute(f"PREPARE TRANSACTION '{name}'")
        commit_and_drain(prepared_dsn, conn, 6)
        assert behind(conn) < 5_000
        assert value(conn, PASSED) == 2
        with psycopg.connect(prepared_dsn, autocommit=True) as dba:
            dba.execute("ROLLBACK PREPARED 'given up'")
            assert work_all(prepared_dsn) == 0
            assert value(dba, PASSED) == 1
            dba.execute("COMMIT PREPARED 'kept'")
            assert work_all(prepared_dsn) == 3
            assert value(dba, PASSED) == 0
        assert_dense(conn)
