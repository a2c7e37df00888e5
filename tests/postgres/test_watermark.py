"""The low watermark: however long others keep a transaction open, a worker reads no more than the last few batches."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings, migrate
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server, TemporaryServer
from tests.postgres.trail import Connection, assert_dense, let_jobs_be_edited, logged_ids, register
from tests.waiting import wait_until

PERSIST = "SELECT taken FROM pgaudit.persist(NULL, NULL, %s)"
WATERMARK = "SELECT max(low_watermark) FROM pgaudit.queue_watermark"
PASSED = "SELECT cardinality(passed_xids) FROM pgaudit.queue_watermark ORDER BY low_watermark DESC LIMIT 1"
ISSUED = "SELECT last_value FROM pgaudit.procrastinate_jobs_id_seq"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
BUFFERS = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "


def record(conn: Connection, count: int) -> list[UUID]:
    """Queues that many events; their ids."""
    made = [AuditEvent(action="claim.approved") for _ in range(count)]
    AuditLog(Settings()).record(conn, *made)
    return [each.id for each in made]


def value(conn: Connection, query: str, *parameters: object) -> Any:
    """The one value of a query."""
    (found,) = conn.execute(query, parameters or None).fetchone() or (None,)
    return found


def persist(dsn: str, size: int = 1_000) -> int:
    """Persists what is in the queue, batch by batch, each in a transaction of its own; how many jobs."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return sum(iter(lambda: int(value(conn, PERSIST, size)), 0))


def work(dsn: str, size: int = 1_000) -> int:
    """Fetches and persists all that is due, as a worker does, retries included; how many jobs."""
    count = 0
    with psycopg.connect(dsn, autocommit=True) as conn:
        worker = register(conn)
        while (job := value(conn, "SELECT job_id FROM pgaudit.fetch_job(%s)", worker)) is not None:
            count += value(conn, "SELECT taken FROM pgaudit.persist(%s, %s, %s)", worker, job, size)
    return count


def pages(conn: Connection, query: str) -> int:
    """How many pages a query looks at."""
    (plan,) = json.loads(json.dumps(value(conn, BUFFERS + query)))
    return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


@contextmanager
def old_snapshot(dsn: str) -> Iterator[None]:
    """A report that is being read, for as long as the block lasts."""
    with psycopg.connect(dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM pgaudit.audit_log")
        yield


def fill_and_drain(dsn: str, conn: Connection, rounds: int) -> None:
    """Records and persists two thousand events, so many times."""
    for _ in range(rounds):
        record(conn, 2_000)
        conn.commit()
        assert persist(dsn) == 2_000


def behind(conn: Connection) -> int:
    """How many ids the watermark is behind the last one that was issued."""
    return int(value(conn, ISSUED) - value(conn, WATERMARK))


def test_finished_jobs_are_not_read_again(dsn: str, conn: Connection) -> None:
    """A look into the queue costs after ten thousand events what it cost after two, dead rows or not."""
    look = f"SELECT pgaudit.fetch_job('{register(conn)}')"
    with old_snapshot(dsn):
        fill_and_drain(dsn, conn, 1)
        before = pages(conn, look)
        fill_and_drain(dsn, conn, 4)
        assert value(conn, "SELECT count(*) FROM pgaudit.audit_jobs") == 0
        assert pages(conn, look) < before * 1.5


def test_the_watermark_advances_however_often_the_queue_was_empty(dsn: str, conn: Connection) -> None:
    """It is two batches behind the last id, or less."""
    for batches in (1, 2, 3, 1, 2, 3):
        fill_and_drain(dsn, conn, batches)
        assert behind(conn) < 4_000


def test_the_end_of_the_log_costs_nothing_to_find(dsn: str, conn: Connection) -> None:
    """Two hundred appends leave no version of it behind that the next one would have to walk through."""
    with old_snapshot(dsn):
        for _ in range(200):
            record(conn, 1)
            conn.commit()
            assert persist(dsn) == 1
        assert pages(conn, "SELECT size FROM pgaudit.log_head") < 10
        assert value(conn, "SELECT size FROM pgaudit.log_head") == 200


@pytest.mark.parametrize("level", list(psycopg.IsolationLevel))
def test_a_transaction_that_records_nothing_does_not_stop_the_watermark(
    dsn: str, conn: Connection, level: psycopg.IsolationLevel
) -> None:
    """It has an xid, a snapshot, and has read the queue: it holds no job's id, and none is waited for."""
    conn.execute("CREATE TABLE elsewhere (xid xid8)")
    conn.commit()
    with psycopg.connect(dsn) as writer:
        writer.isolation_level = level
        writer.execute("INSERT INTO elsewhere VALUES (pg_current_xact_id())")
        writer.execute("SELECT count(*) FROM pgaudit.audit_jobs")
        fill_and_drain(dsn, conn, 3)
        assert (behind(conn) < 4_000, value(conn, PASSED)) == (True, 0)


def test_a_reader_does_not_stop_the_watermark(dsn: str, conn: Connection) -> None:
    """A snapshot that is held for hours, without an xid, stops nothing."""
    with old_snapshot(dsn):
        fill_and_drain(dsn, conn, 3)
        assert (behind(conn) < 4_000, value(conn, PASSED)) == (True, 0)


def test_a_recorder_in_another_database_does_not_stop_the_watermark(server: Server, dsn: str, conn: Connection) -> None:
    """Its lock is on another queue, which in a copy of the database has the same number."""
    with fresh_database(server) as other, psycopg.connect(other.dsn) as elsewhere:
        record(elsewhere, 1)
        fill_and_drain(dsn, conn, 3)
        assert (behind(conn) < 4_000, value(conn, PASSED)) == (True, 0)


def test_an_open_recorder_is_waited_for(dsn: str, conn: Connection) -> None:
    """Its jobs have lower ids than what is done meanwhile: for some thousand ids the watermark stays below them."""
    with psycopg.connect(dsn) as slow:
        record(slow, 1)
        fill_and_drain(dsn, conn, 2)
        job = value(slow, "SELECT max(id) FROM pgaudit.audit_jobs")
        assert (value(conn, WATERMARK) <= job, value(conn, PASSED)) == (True, 0)
        slow.commit()
    assert persist(dsn) == 1
    fill_and_drain(dsn, conn, 2)
    assert value(conn, WATERMARK) > job


@pytest.mark.parametrize("commits", [True, False])
def test_a_recorder_that_stays_open_is_passed(dsn: str, conn: Connection, commits: bool) -> None:
    """After five thousand ids the watermark goes on without it; its jobs are appended when it commits, or vanish."""
    with psycopg.connect(dsn) as slow:
        late = record(slow, 3)
        with slow.transaction():  # a savepoint has an xid of its own
            late += record(slow, 2)
        fill_and_drain(dsn, conn, 6)
        assert (behind(conn) < 5_000, value(conn, PASSED)) == (True, 1)
        assert work(dsn) == 0
        end = slow.commit if commits else slow.rollback
        end()
    assert persist(dsn) == 0, "they are below the watermark"
    assert work(dsn) == 5 * commits
    assert value(conn, PASSED) == 0
    assert set(logged_ids(conn)[12_000:]) == set(late if commits else [])
    assert_dense(conn)


def test_a_recorder_whose_savepoint_was_rolled_back_is_found(dsn: str, conn: Connection) -> None:
    """What it recorded outside of the savepoint is appended after its commit, and nothing else."""
    with psycopg.connect(dsn) as slow:
        slow.execute("BEGIN")
        with slow.transaction() as savepoint:
            record(slow, 3)
            raise psycopg.Rollback(savepoint)
        with slow.transaction():
            late = record(slow, 2)
        fill_and_drain(dsn, conn, 6)
        assert (behind(conn) < 5_000, value(conn, PASSED)) == (True, 1)
        slow.commit()
    assert work(dsn) == 2
    assert set(logged_ids(conn)[12_000:]) == set(late)


def test_a_recorder_that_rolls_a_savepoint_back_after_it_was_passed_is_found(dsn: str, conn: Connection) -> None:
    """The end of a savepoint is not the end of its transaction, which is still waited for."""
    with psycopg.connect(dsn) as slow:
        late = record(slow, 3)
        slow.execute("SAVEPOINT further")
        record(slow, 2)
        fill_and_drain(dsn, conn, 6)
        assert value(conn, PASSED) == 1
        slow.execute("ROLLBACK TO SAVEPOINT further")
        assert work(dsn) == 0
        slow.commit()
    assert work(dsn) == 3
    assert set(logged_ids(conn)[12_000:]) == set(late)


def test_several_recorders_are_passed_and_found_one_by_one(dsn: str, conn: Connection) -> None:
    """Each one's jobs are appended when it has committed, whatever the others do; two workers find them once."""
    with psycopg.connect(dsn) as first, psycopg.connect(dsn) as second, psycopg.connect(dsn) as third:
        made = [record(slow, 2) for slow in (first, second, third)]
        fill_and_drain(dsn, conn, 6)
        assert value(conn, PASSED) == 3
        second.commit()
        assert work(dsn) == 2
        assert value(conn, PASSED) == 2
        fill_and_drain(dsn, conn, 6)
        assert (behind(conn) < 5_000, value(conn, PASSED)) == (True, 2)
        third.rollback()
        first.commit()
        with ThreadPoolExecutor() as pool:
            assert sum(pool.map(work, [dsn] * 2)) == 2
    conn.commit()
    found = logged_ids(conn)
    assert [sum(each in found for each in ids) for ids in made] == [2, 2, 0]
    assert value(conn, PASSED) == 0
    assert_dense(conn)


def test_one_fetch_reads_a_bounded_number_of_pages_beside_an_open_recorder(dsn: str, conn: Connection) -> None:
    """After twenty thousand events a look into the queue, and a batch, cost what they cost after ten thousand."""
    worker = register(conn)
    look = f"SELECT pgaudit.fetch_job('{worker}')"

    def looks() -> tuple[int, int]:
        record(conn, 1)
        conn.commit()
        fetched, batch = pages(conn, look), pages(conn, "SELECT pgaudit.persist(NULL, NULL, 1)")
        conn.rollback()
        assert persist(dsn) == 1
        return fetched, batch

    with old_snapshot(dsn), psycopg.connect(dsn) as slow:
        record(slow, 1)
        highest = (0, 0)
        for _ in range(5):
            fill_and_drain(dsn, conn, 1)
            highest = (max(highest[0], looks()[0]), max(highest[1], looks()[1]))
        for _ in range(5):
            fill_and_drain(dsn, conn, 1)
            fetched, batch = looks()
            assert (fetched <= highest[0] * 1.5, batch <= highest[1] * 1.5) == (True, True), (highest, fetched, batch)


def test_a_recorder_that_began_during_a_batch_is_waited_for(dsn: str, conn: Connection) -> None:
    """It is younger than the batch that moves the watermark, and no younger one is over: its job is found."""
    record(conn, 2_000)
    conn.commit()
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn) as late, ThreadPoolExecutor() as pool:
        holder.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        batch = pool.submit(persist, dsn, size=1_500)  # has taken its jobs, and waits for the end of the log
        wait_until(lambda: value(conn, WAITING) == 1)
        record(late, 1)
        holder.rollback()
        assert batch.result() == 2_000
        fill_and_drain(dsn, conn, 1)
        late.commit()
    assert persist(dsn) == 1


def test_a_recorder_that_began_during_a_batch_may_be_passed(dsn: str, conn: Connection) -> None:
    """It stays open for many batches, and its job is found after its commit."""
    record(conn, 2_000)
    conn.commit()
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn) as late, ThreadPoolExecutor() as pool:
        holder.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        batch = pool.submit(persist, dsn, size=1_500)
        wait_until(lambda: value(conn, WAITING) == 1)
        record(late, 1)
        holder.rollback()
        assert batch.result() == 2_000
        fill_and_drain(dsn, conn, 6)
        assert (behind(conn) < 5_000, value(conn, PASSED)) == (True, 1)
        late.commit()
    assert work(dsn) == 1


@pytest.fixture
def prepared_dsn() -> Iterator[str]:
    """A migrated database of a server that allows prepared transactions."""
    server = TemporaryServer(max_prepared_transactions=2)
    try:
        migrate.upgrade(server.conninfo)
        yield server.conninfo
    finally:
        server.stop()


def test_a_prepared_recorder_is_passed(prepared_dsn: str) -> None:
    """It has no session any more: its jobs are appended after COMMIT PREPARED, and vanish after ROLLBACK PREPARED."""
    with psycopg.connect(prepared_dsn) as conn:
        for name in ("kept", "given up"):
            with psycopg.connect(prepared_dsn, autocommit=True) as slow:
                slow.execute("BEGIN")
                record(slow, 2)
                slow.execute("SAVEPOINT further")
                record(slow, 1)
                slow.execute(f"PREPARE TRANSACTION '{name}'")
        fill_and_drain(prepared_dsn, conn, 6)
        assert (behind(conn) < 5_000, value(conn, PASSED)) == (True, 2)
        with psycopg.connect(prepared_dsn, autocommit=True) as dba:
            dba.execute("ROLLBACK PREPARED 'given up'")
            assert (work(prepared_dsn), value(dba, PASSED)) == (0, 1)
            dba.execute("COMMIT PREPARED 'kept'")
            assert (work(prepared_dsn), value(dba, PASSED)) == (3, 0)
        assert_dense(conn)


def test_a_savepoint_that_is_rolled_back_holds_nothing_up(dsn: str, conn: Connection) -> None:
    """Its ids are lost, and the watermark advances beyond them."""
    with conn.transaction() as savepoint:
        record(conn, 10)
        raise psycopg.Rollback(savepoint)
    fill_and_drain(dsn, conn, 3)
    assert value(conn, WATERMARK) > 2_000


def test_a_job_below_the_watermark_is_found(dsn: str, conn: Connection) -> None:
    """An owner has put it there by hand: the maintenance of any worker makes it due."""
    fill_and_drain(dsn, conn, 3)
    record(conn, 1)
    let_jobs_be_edited(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET id = 5")
    conn.commit()
    assert work(dsn) == 0
    assert value(conn, "SELECT pgaudit.requeue_skipped_jobs()") == 1
    conn.commit()
    assert work(dsn) == 1


def test_a_watermark_of_before_a_restore_is_reset(dsn: str, conn: Connection) -> None:
    """The sequence starts again, and so does the scan."""
    fill_and_drain(dsn, conn, 3)
    conn.execute("ALTER SEQUENCE pgaudit.procrastinate_jobs_id_seq RESTART")
    record(conn, 1)
    conn.commit()
    conn.execute("SELECT pgaudit.requeue_skipped_jobs()")
    conn.commit()
    assert value(conn, WATERMARK) == 0
    conn.commit()
    assert work(dsn) == 1


def test_a_watermark_that_waits_for_transactions_of_another_cluster_is_reset(dsn: str, conn: Connection) -> None:
    """Their ids are far ahead after a dump and restore: it would not advance for years."""
    fill_and_drain(dsn, conn, 3)
    conn.execute("ALTER TABLE pgaudit.queue_watermark DISABLE TRIGGER reject_direct_write")
    conn.execute("UPDATE pgaudit.queue_watermark SET safe_xid = '999999999', passed_xids = '{999999998}'")
    conn.execute("ALTER TABLE pgaudit.queue_watermark ENABLE ALWAYS TRIGGER reject_direct_write")
    conn.commit()
    fill_and_drain(dsn, conn, 1)
    assert value(conn, "SELECT pgaudit.requeue_skipped_jobs()") == 0
    assert value(conn, "SELECT low_watermark FROM pgaudit.queue_watermark") == 0
    conn.commit()
    fill_and_drain(dsn, conn, 3)
    assert (value(conn, WATERMARK) > 6_000, value(conn, PASSED)) == (True, 0)


def test_a_lost_watermark_is_written_again(dsn: str, conn: Connection) -> None:
    """Without its row the scan begins at the first job; the next batches set it."""
    fill_and_drain(dsn, conn, 2)
    conn.execute("ALTER TABLE pgaudit.queue_watermark DISABLE TRIGGER reject_direct_write")
    conn.execute("DELETE FROM pgaudit.queue_watermark")
    conn.execute("ALTER TABLE pgaudit.queue_watermark ENABLE ALWAYS TRIGGER reject_direct_write")
    conn.commit()
    fill_and_drain(dsn, conn, 3)
    assert behind(conn) < 4_000


def test_an_empty_queue_that_is_truncated_starts_again(dsn: str, conn: Connection) -> None:
    """Its ids start at 1 again, below the watermark of before, and are found."""
    fill_and_drain(dsn, conn, 3)
    conn.execute("TRUNCATE pgaudit.procrastinate_jobs RESTART IDENTITY CASCADE")
    record(conn, 1)
    conn.commit()
    assert persist(dsn) == 1


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
def test_owner_cannot_write_by_hand_where_the_log_ends_or_the_scan_begins(
    dsn: str, conn: Connection, statement: str
) -> None:
    """Where the log ends is what the next index follows from; jobs below the watermark wait for maintenance."""
    fill_and_drain(dsn, conn, 1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only the functions of pgaudit"):
        conn.execute(statement)


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_an_older_snapshot_cannot_append_twice_at_one_place(
    dsn: str, conn: Connection, level: psycopg.IsolationLevel
) -> None:
    """Inline, a transaction that does not see the last batch has to begin again."""
    inline = AuditLog(Settings(mode="inline"))
    with psycopg.connect(dsn) as late:
        late.isolation_level = level
        late.execute("SELECT count(*) FROM pgaudit.audit_log")
        inline.record(conn, AuditEvent(action="claim.approved"))
        conn.commit()
        with pytest.raises(psycopg.errors.SerializationFailure):
            inline.record(late, AuditEvent(action="claim.approved"))
    assert value(conn, "SELECT size FROM pgaudit.log_head") == 1
