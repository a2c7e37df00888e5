"""An old snapshot: vacuum removes nothing for hours, and neither claiming nor appending reads what is done."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from tests.postgres.trail import Connection
from tests.waiting import wait_until

PERSIST = "SELECT claimed FROM pgaudit.persist(NULL, NULL, %s)"
FLOOR = "SELECT max(floor) FROM pgaudit.queue_floor"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
BUFFERS = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "


def record(conn: Connection, count: int) -> None:
    """Queues that many events."""
    AuditLog(Settings()).record(conn, *(AuditEvent(action="claim.approved") for _ in range(count)))


def value(conn: Connection, query: str, *parameters: object) -> Any:
    """The one value of a query."""
    (found,) = conn.execute(query, parameters or None).fetchone() or (None,)
    return found


def persist(dsn: str, size: int = 1_000) -> int:
    """Persists what is in the queue, batch by batch, each in a transaction of its own; how many jobs."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return sum(iter(lambda: int(value(conn, PERSIST, size)), 0))


def pages(conn: Connection, query: str) -> int:
    """How many pages a query looks at."""
    (plan,) = json.loads(json.dumps(value(conn, BUFFERS + query)))
    return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


@contextmanager
def old_snapshot(dsn: str) -> Iterator[None]:
    """Somebody reads a report, for as long as the block lasts."""
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


def test_what_is_done_is_not_read_again(dsn: str, conn: Connection) -> None:
    """A look into the queue costs after ten thousand events what it cost after two, dead rows or not."""
    with old_snapshot(dsn):
        fill_and_drain(dsn, conn, 1)
        before = pages(conn, "SELECT pgaudit.fetch_lead(1)")
        fill_and_drain(dsn, conn, 4)
        assert value(conn, "SELECT count(*) FROM pgaudit.procrastinate_jobs") == 0
        assert pages(conn, "SELECT pgaudit.fetch_lead(1)") < before * 1.5


def test_the_floor_rises_however_often_the_queue_was_empty(dsn: str, conn: Connection) -> None:
    """Two batches behind what is done, or less."""
    for batches in (1, 2, 3, 1, 2, 3):
        fill_and_drain(dsn, conn, batches)
        assert value(conn, FLOOR) > value(conn, "SELECT last_value FROM pgaudit.procrastinate_jobs_id_seq") - 4_000


def test_the_end_of_the_log_costs_nothing_to_find(dsn: str, conn: Connection) -> None:
    """Two thousand appends leave no version of it behind that the next one would have to walk through."""
    with old_snapshot(dsn):
        for _ in range(200):
            record(conn, 1)
            conn.commit()
            assert persist(dsn) == 1
        assert pages(conn, "SELECT size FROM pgaudit.log_head") < 10
        assert value(conn, "SELECT size FROM pgaudit.log_head") == 200


def test_an_open_transaction_is_waited_for(dsn: str, conn: Connection) -> None:
    """Its jobs have lower numbers than what is done meanwhile: the floor stays below them until it is over."""
    with psycopg.connect(dsn) as slow:
        record(slow, 1)
        fill_and_drain(dsn, conn, 3)
        job = value(slow, "SELECT max(id) FROM pgaudit.procrastinate_jobs")
        assert value(conn, FLOOR) <= job
        slow.commit()
    assert persist(dsn) == 1
    fill_and_drain(dsn, conn, 2)
    assert value(conn, FLOOR) > job


def test_a_transaction_that_began_during_a_batch_is_waited_for(dsn: str, conn: Connection) -> None:
    """It is younger than the batch that raises the floor, and no younger one is over: the floor waits for it."""
    record(conn, 2_000)
    conn.commit()
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn) as late, ThreadPoolExecutor() as pool:
        holder.execute("SELECT FROM pgaudit.log_head FOR UPDATE")
        batch = pool.submit(persist, dsn, size=1_500)  # has claimed its jobs, and waits for the end of the log
        wait_until(lambda: value(conn, WAITING) == 1)
        record(late, 1)
        holder.rollback()
        assert batch.result() == 2_000
        fill_and_drain(dsn, conn, 3)
        late.commit()
    assert persist(dsn) == 1


def test_a_savepoint_that_is_rolled_back_holds_nothing_up(dsn: str, conn: Connection) -> None:
    """Its numbers are lost, and the floor rises above them."""
    with conn.transaction() as savepoint:
        record(conn, 10)
        raise psycopg.Rollback(savepoint)
    fill_and_drain(dsn, conn, 3)
    assert value(conn, FLOOR) > 2_000


def test_a_job_below_the_floor_is_found(dsn: str, conn: Connection) -> None:
    """Somebody has put it there by hand: a round makes it due."""
    fill_and_drain(dsn, conn, 3)
    record(conn, 1)
    conn.execute("UPDATE pgaudit.procrastinate_jobs SET id = 5")
    conn.commit()
    assert persist(dsn) == 0
    assert value(conn, "SELECT pgaudit.readmit_strays()") == 1
    conn.commit()
    assert value(conn, "SELECT id FROM pgaudit.fetch_lead(1)") == 5


def test_a_floor_of_before_a_restore_is_given_up(dsn: str, conn: Connection) -> None:
    """The sequence begins anew, and so does the scan."""
    fill_and_drain(dsn, conn, 3)
    conn.execute("ALTER SEQUENCE pgaudit.procrastinate_jobs_id_seq RESTART")
    record(conn, 1)
    conn.commit()
    assert value(conn, "SELECT pgaudit.readmit_strays()") == 1
    assert value(conn, FLOOR) == 0


def test_a_floor_that_waits_for_transactions_of_another_cluster_is_given_up(dsn: str, conn: Connection) -> None:
    """Their numbers are far ahead after a dump and restore: it would not rise for years."""
    fill_and_drain(dsn, conn, 3)
    conn.execute("UPDATE pgaudit.queue_floor SET before = '999999999'")
    assert value(conn, "SELECT pgaudit.readmit_strays()") == 0
    assert value(conn, FLOOR) == 0
    conn.commit()
    fill_and_drain(dsn, conn, 3)
    assert value(conn, FLOOR) > 6_000


def test_an_empty_queue_that_is_truncated_begins_anew(dsn: str, conn: Connection) -> None:
    """Its numbers begin at 1 again, below the floor of before, and are found."""
    fill_and_drain(dsn, conn, 3)
    conn.execute("TRUNCATE pgaudit.procrastinate_jobs RESTART IDENTITY")
    record(conn, 1)
    conn.commit()
    assert persist(dsn) == 1


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM pgaudit.batch", "TRUNCATE pgaudit.batch", "UPDATE pgaudit.batch SET first_index = first_index - 1"],
)
def test_the_last_batch_stays(dsn: str, conn: Connection, statement: str) -> None:
    """It says where the log ends; those before it are history, and may go."""
    fill_and_drain(dsn, conn, 1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="end of the log"):
        conn.execute(statement)
    conn.rollback()
    assert conn.execute("DELETE FROM pgaudit.batch WHERE first_index = 0").rowcount == 1
    assert value(conn, "SELECT size FROM pgaudit.log_head") == 2_000


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_an_older_snapshot_cannot_append_twice_at_one_place(
    dsn: str, conn: Connection, level: psycopg.IsolationLevel
) -> None:
    """Inline, a transaction that does not see the last batch is told to begin again."""
    inline = AuditLog(Settings(mode="inline"))
    with psycopg.connect(dsn) as late:
        late.isolation_level = level
        late.execute("SELECT count(*) FROM pgaudit.audit_log")
        inline.record(conn, AuditEvent(action="claim.approved"))
        conn.commit()
        with pytest.raises(psycopg.errors.SerializationFailure):
            inline.record(late, AuditEvent(action="claim.approved"))
    assert value(conn, "SELECT size FROM pgaudit.log_head") == 1
