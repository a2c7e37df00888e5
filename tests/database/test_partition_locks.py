"""Partitions beside other sessions: what is made, filled and detached while others read and append."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg

from pgaudit import AuditLog, Mode, Settings
from tests.support.audit_log import assert_dense, logged
from tests.support.events import event, events
from tests.support.jobs import queued_ids, record_persist_and_commit
from tests.support.partitions import PARTITIONS, ensure_partitions_and_commit, fill_and_commit, ranges
from tests.support.queries import Connection
from tests.support.waiting import wait_until


@contextmanager
def reader_of(dsn: str, partition: str) -> Iterator[None]:
    """Keeps a transaction open inside the block that has read one partition."""
    with psycopg.connect(dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute(f"SELECT count(*) FROM {partition}")
        yield


def detach(dsn: str, partition: str) -> None:
    """Detaches a partition, in a session of its own."""
    with psycopg.connect(dsn, autocommit=True) as dba:
        dba.execute(f"ALTER TABLE pgaudit.audit_log DETACH PARTITION {partition} CONCURRENTLY")


def test_the_front_of_the_log_is_detached_beside_readers_and_appends(dsn: str, small: Connection) -> None:
    """A reader of another partition does not delay the detachment; a reader of the log delays it, but no append."""
    fill_and_commit(small, 700)
    with reader_of(dsn, "pgaudit.audit_log_512"):
        detach(dsn, "pgaudit.audit_log_0")
        fill_and_commit(small, 10)
    pending = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"
    with ThreadPoolExecutor() as pool, psycopg.connect(dsn, autocommit=True) as watcher:
        with reader_of(dsn, "pgaudit.audit_log"):
            detached = pool.submit(detach, dsn, "pgaudit.audit_log_256")
            wait_until("a partition is being detached", lambda: watcher.execute(pending).fetchone() == (1,))
            fill_and_commit(small, 10)
            assert not detached.done()
        detached.result(30)
    fill_and_commit(small, 400)
    assert ranges(small) == [(512, 768), (768, 1_024), (1_024, 1_280)]
    assert [index for index, _ in logged(small)] == list(range(512, 1_120))


def test_events_of_a_dropped_partition_are_stored_when_recorded_again(dsn: str, small: Connection) -> None:
    """An event whose original was dropped is stored as a conflict that names the index of the original."""
    made = events(600)
    assert record_persist_and_commit(small, *made) == []
    detach(dsn, "pgaudit.audit_log_0")
    small.execute("DROP TABLE pgaudit.audit_log_0")
    small.commit()
    assert record_persist_and_commit(small, made[0], made[5], event(9), made[300], made[0]) == []
    query = "SELECT event_id, index, conflicts_with FROM pgaudit.event_conflict ORDER BY index"
    assert small.execute(query).fetchall() == [(made[0].id, 601, 0), (made[5].id, 602, 5)]
    assert small.execute("SELECT event_id, index FROM pgaudit.event_sighting ORDER BY id").fetchall() == [
        (made[300].id, 300),
        (made[0].id, 601),
    ]
    assert queued_ids(small) == []
    fill_and_commit(small, 600)
    assert ensure_partitions_and_commit(small) == 1
    assert [index for index, _ in logged(small)] == list(range(256, 1_203))
    assert small.execute("SELECT count(*) FROM pgaudit.column_drift()").fetchone() == (0,)


def test_an_emptied_log_goes_on_where_it_ended(dsn: str, small: Connection) -> None:
    """After every partition was detached, the next index follows the last one."""
    fill_and_commit(small, 512)
    for partition, *_ in small.execute(PARTITIONS).fetchall():
        detach(dsn, partition)
    fill_and_commit(small, 10)
    assert [index for index, _ in logged(small)] == list(range(512, 522))


def test_a_long_reader_delays_no_new_partition(dsn: str, small: Connection) -> None:
    """A transaction that reads the log delays neither a new partition nor the append that needs it."""
    with reader_of(dsn, "pgaudit.audit_log"):
        fill_and_commit(small, 600)
        assert ensure_partitions_and_commit(small) == 1
        assert len(ranges(small)) == 4


def test_ensure_partitions_does_not_wait_for_a_lock(dsn: str, small: Connection) -> None:
    """ensure_partitions returns at once while a DBA holds a lock, and makes the partition at the next call."""
    fill_and_commit(small, 300)
    with psycopg.connect(dsn) as dba:
        dba.execute("LOCK TABLE pgaudit.audit_log IN SHARE UPDATE EXCLUSIVE MODE")
        assert ensure_partitions_and_commit(small) == 0
        dba.rollback()
        dba.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        assert ensure_partitions_and_commit(small) == 0
    assert ensure_partitions_and_commit(small) == 1
    assert ranges(small)[-1] == (512, 768)


def test_two_sessions_that_need_a_partition_make_one(dsn: str, small: Connection) -> None:
    """Two sessions that need the same partition append one after the other, and neither fails."""
    settings = Settings(dsn=dsn)
    with ThreadPoolExecutor() as pool, psycopg.connect(dsn) as holder:
        holder.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")

        def append() -> None:
            with psycopg.connect(dsn) as own:
                inline = AuditLog(settings.model_copy(update={"mode": Mode.INLINE}))
                inline.record(own, *events(300))

        both = [pool.submit(append) for _ in range(2)]
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until("both sessions wait for a lock", lambda: small.execute(waiting).fetchone() == (2,))
        holder.rollback()
        for each in both:
            each.result(30)
    assert ranges(small) == [(0, 256), (256, 512), (512, 768)]
    assert_dense(small)
