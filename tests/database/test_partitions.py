"""Partitions: ranges of the index, made before they are needed, and taken from the front of the log at no cost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Mode, Settings
from tests.postgres.trail import (
    Connection,
    assert_dense,
    event,
    insert_poison,
    logged,
    make_small_partitions,
    persist,
    queued_ids,
    record_and_persist,
)
from tests.waiting import wait_until

PARTITIONS = "SELECT partition::text, first_index, end_index FROM pgaudit.log_partitions()"
PLACES = "SELECT tableoid::regclass::text, count(*) FROM pgaudit.audit_log GROUP BY 1, tableoid ORDER BY min(index)"
LOCKS = """SELECT relation::regclass::text FROM pg_locks
            WHERE locktype = 'relation' AND pid = pg_backend_pid() AND mode <> 'AccessShareLock' OR
                  locktype = 'relation' AND pid = pg_backend_pid() AND relation::regclass::text LIKE '%audit_log%'"""
WORK = "EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT JSON) "
PERSIST = "SELECT * FROM pgaudit.persist(NULL, NULL, 1000)"


@pytest.fixture
def small(conn: Connection) -> Connection:
    """An empty log with partitions of 256 events; what waits for a lock fails, as in a worker."""
    conn.execute("SET lock_timeout = '10s'")
    make_small_partitions(conn)
    return conn


def ranges(conn: Connection) -> list[tuple[int, int]]:
    """The ranges of the partitions, each of which has the name of its first index unless it was made by hand."""
    found = conn.execute(PARTITIONS).fetchall()
    assert all(name == f"pgaudit.audit_log_{first}" for name, first, _ in found if "by_hand" not in name)
    return [(first, end) for _, first, end in found]


def fill(conn: Connection, settings: Settings, count: int) -> None:
    """Appends that many events, in one batch."""
    assert record_and_persist(conn, settings, *(event(number) for number in range(count))) == []


def ensure(conn: Connection) -> int:
    """How many partitions were made to keep one ahead."""
    (made,) = conn.execute("SELECT pgaudit.ensure_partitions()").fetchone() or (0,)
    conn.commit()
    return int(made)


def test_new_log_has_the_partition_to_fill_and_the_next(conn: Connection) -> None:
    """Their size is that of the settings, a multiple of what a tile of the log holds."""
    assert ranges(conn) == [(0, 10_485_760), (10_485_760, 20_971_520)]
    assert ensure(conn) == 0
    for size in (0, 255, 257, 300):
        with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
            conn.execute("UPDATE pgaudit.settings SET partition_size = %s", [size])


def test_append_makes_the_partitions_that_it_needs(small: Connection, settings: Settings) -> None:
    """One batch may fill several of them: it is one batch, and no event fails."""
    fill(small, settings, 1_000)
    assert small.execute(PLACES).fetchall() == [
        (f"pgaudit.audit_log_{first}", min(256, 1_000 - first)) for first in (0, 256, 512, 768)
    ]
    assert small.execute("SELECT count FROM pgaudit.batch").fetchall() == [(1_000,)]
    assert_dense(small)
    assert ranges(small)[-1] == (768, 1_024)


def test_inline_mode_makes_the_partitions_that_it_needs(small: Connection, settings: Settings) -> None:
    """The events of one transaction may fill several of them."""
    inline = AuditLog(settings.model_copy(update={"mode": Mode.INLINE}))
    inline.record(small, *(event(number) for number in range(600)))
    small.commit()
    assert ranges(small) == [(0, 256), (256, 512), (512, 768)]
    assert_dense(small)


def test_a_conflicting_event_may_be_the_first_of_a_partition(small: Connection, settings: Settings) -> None:
    """It is appended alone, and its partition made for it."""
    made = event()
    small.execute("DROP TABLE pgaudit.audit_log_256")
    assert record_and_persist(small, settings, made, *(event(number) for number in range(255))) == []
    assert record_and_persist(small, settings, made.model_copy(update={"reason": "other"})) == []
    assert small.execute("SELECT index FROM pgaudit.event_conflict").fetchall() == [(256,)]


def test_a_missing_partition_and_a_poison_job_in_one_batch(small: Connection, settings: Settings) -> None:
    """The job fails alone, and the partitions are made for the others."""
    AuditLog(settings).record(small, *(event(number) for number in range(400)))
    insert_poison(small)
    AuditLog(settings).record(small, *(event(number) for number in range(400)))
    small.commit()
    assert [failure["sqlstate"] for failure in persist(small)] == ["XX001"]
    assert len(logged(small)) == 800
    assert_dense(small)


def test_one_partition_is_kept_ahead(small: Connection, settings: Settings) -> None:
    """Calling it again changes nothing until the log has reached the last one."""
    assert (ensure(small), len(ranges(small))) == (0, 2)
    fill(small, settings, 255)
    assert ensure(small) == 0
    fill(small, settings, 1)
    assert (ensure(small), ensure(small)) == (1, 0)
    assert ranges(small) == [(0, 256), (256, 512), (512, 768)]
    fill(small, settings, 600)
    assert (ensure(small), ensure(small)) == (1, 0)
    assert ranges(small)[-1] == (1_024, 1_280)


def test_changed_partition_size_holds_for_new_partitions(small: Connection, settings: Settings) -> None:
    """Larger or smaller, they begin on a multiple of the size as soon as that is free."""
    small.execute("UPDATE pgaudit.settings SET partition_size = 1024")
    fill(small, settings, 600)
    assert ranges(small) == [(0, 256), (256, 512), (512, 1_024)]
    assert ensure(small) == 1
    small.execute("UPDATE pgaudit.settings SET partition_size = 512")
    fill(small, settings, 1_000)
    fill(small, settings, 700)
    assert ranges(small) == [(0, 256), (256, 512), (512, 1_024), (1_024, 2_048), (2_048, 2_560)]
    assert_dense(small)


def test_partitions_made_by_hand_are_used(small: Connection, settings: Settings) -> None:
    """Whatever their width, and whatever gaps are between them: the gaps are closed up to their neighbours."""
    create = "CREATE TABLE pgaudit.by_hand_{0} PARTITION OF pgaudit.audit_log FOR VALUES FROM ({0}) TO ({1})"
    small.execute(create.format(512, 519))
    small.execute(create.format(700, 900))
    small.execute(create.format(1_300, 1_301))
    fill(small, settings, 1_000)
    fill(small, settings, 1_000)
    expected = [(0, 256), (256, 512), (512, 519), (519, 700), (700, 900), (900, 1_024), (1_024, 1_280), (1_280, 1_300)]
    assert ranges(small) == [*expected, (1_300, 1_301), (1_301, 1_536), (1_536, 1_792), (1_792, 2_048)]
    assert ensure(small) == 1
    assert_dense(small)


def test_partition_of_an_open_range_is_used(small: Connection, settings: Settings) -> None:
    """A DBA may have made one up to MAXVALUE: nothing is missing behind it."""
    small.execute("DROP TABLE pgaudit.audit_log_256")
    small.execute("""CREATE TABLE pgaudit.by_hand PARTITION OF pgaudit.audit_log
                     FOR VALUES FROM (256) TO (MAXVALUE)""")
    fill(small, settings, 1_000)
    assert_dense(small)
    assert small.execute("SELECT pgaudit.ensure_partitions()").fetchone() == (0,)


def test_a_new_partition_has_every_index_of_the_log(small: Connection, settings: Settings) -> None:
    """Those that a DBA has added, too."""
    small.execute("CREATE INDEX by_reason ON pgaudit.audit_log ((event->>'reason'))")
    fill(small, settings, 600)
    query = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass AND indisvalid"
    counts = [small.execute(query, [f"pgaudit.{name}"]).fetchone() for name in ("audit_log", "audit_log_512")]
    assert counts == [(6,), (6,)]


@pytest.mark.parametrize(
    "change",
    [
        "ADD COLUMN month text GENERATED ALWAYS AS (left(event->>'occurred_at', 7)) STORED",
        "ADD COLUMN noted_at timestamptz DEFAULT now()",
        "ADD COLUMN number bigint GENERATED ALWAYS AS (index + 1) STORED NOT NULL",
        "ADD CONSTRAINT short CHECK (length(action) < 100)",
    ],
)
def test_log_changed_by_a_dba_is_appended_to(small: Connection, settings: Settings, change: str) -> None:
    """A column or a constraint that a DBA adds stops neither appending nor new partitions."""
    small.execute(f"ALTER TABLE pgaudit.audit_log {change}")
    fill(small, settings, 1_000)
    assert (ensure(small), len(ranges(small))) == (1, 5)
    assert_dense(small)


def test_default_privileges_open_no_partition(small: Connection, settings: Settings) -> None:
    """What the owner gives to others as a matter of course, or to all, does not count for a partition."""
    small.execute("CREATE ROLE t_everywhere")
    small.execute('CREATE ROLE "t Odd ""name"')
    try:
        for role in ("PUBLIC", "t_everywhere", '"t Odd ""name"'):
            small.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {role}")
        small.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA pgaudit GRANT SELECT ON TABLES TO PUBLIC")
        fill(small, settings, 600)
        assert ensure(small) == 1
        query = """SELECT relname, grantee::regrole::text FROM pgaudit.log_partitions(), pg_class, aclexplode(relacl)
                    WHERE oid = partition AND grantee <> relowner"""
        assert small.execute(query).fetchall() == []
        assert len(ranges(small)) == 4
    finally:
        small.rollback()
        for role in ("t_everywhere", '"t Odd ""name"'):
            small.execute(f"DROP OWNED BY {role}")
            small.execute(f"DROP ROLE {role}")
        small.commit()


def test_every_partition_is_guarded(small: Connection, settings: Settings) -> None:
    """As a replica, too: nobody writes to one by its name, changes or deletes rows, or truncates it."""
    fill(small, settings, 600)
    assert ensure(small) == 1
    small.execute("SET session_replication_role = replica")
    for partition, *_ in small.execute(PARTITIONS).fetchall():
        for statement in (
            f"INSERT INTO {partition} SELECT * FROM pgaudit.audit_log LIMIT 1",
            f"TRUNCATE {partition}",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"), small.transaction():
                small.execute(statement)
    for statement in ("UPDATE {} SET action = 'x'", "DELETE FROM {}"):
        for partition, _ in small.execute(PLACES).fetchall():
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"), small.transaction():
                small.execute(statement.format(partition))


def work_of_persisting(conn: Connection, settings: Settings, *events: AuditEvent) -> tuple[dict[str, int], set[str]]:
    """What it costs to persist the events, and the tables and indexes of the log that are locked for it."""
    AuditLog(settings).record(conn, *events)
    conn.commit()
    ((plans,),) = conn.execute(WORK + PERSIST).fetchall()
    locked = {name for (name,) in conn.execute(LOCKS).fetchall()}
    conn.commit()
    plan: dict[str, Any] = plans[0]["Plan"]
    read = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] + plan["Shared Dirtied Blocks"]
    return {"pages": read, "records": plan["WAL Records"]}, locked


def kinds_of_work(conn: Connection, settings: Settings, original: AuditEvent) -> dict[str, Any]:
    """What one event costs that is new, known or in conflict, with the plans of a session that has made others."""
    other = original.model_copy(update={"reason": "other"})
    for _ in range(7):
        for each in (event(), original, other.model_copy(update={"reason": "warm"})):
            fill_again(conn, settings, each)
    return {
        "new": work_of_persisting(conn, settings, event()),
        "known": work_of_persisting(conn, settings, original),
        "in conflict": work_of_persisting(conn, settings, other),
        "in conflict again": work_of_persisting(conn, settings, other),
    }


def fill_again(conn: Connection, settings: Settings, made: AuditEvent) -> None:
    """Persists an event that may be known."""
    assert record_and_persist(conn, settings, made) == []


def test_a_batch_costs_the_same_whatever_the_number_of_partitions(small: Connection, settings: Settings) -> None:
    """Locks and WAL are the same with two partitions and with two hundred, and so are the pages, but for a few."""
    original = event()
    fill_again(small, settings, original)
    few = kinds_of_work(small, settings, original)
    for first in range(512, 200 * 256, 256):
        small.execute("SELECT pgaudit.create_partition(%s)", [first])
    small.commit()
    assert len(ranges(small)) == 200
    many = kinds_of_work(small, settings, event_of(small, 1))
    assert {kind: locks for kind, (_, locks) in many.items()} == {kind: locks for kind, (_, locks) in few.items()}
    for kind, (work, _) in many.items():
        assert work["records"] <= few[kind][0]["records"] + 5, kind
        assert work["pages"] <= few[kind][0]["pages"] + 10, kind


def event_of(conn: Connection, index: int) -> AuditEvent:
    """The event with that index, as it was recorded."""
    (content,) = conn.execute("SELECT event FROM pgaudit.audit_log WHERE index = %s", [index]).fetchone() or ({},)
    return AuditEvent.model_validate({key: content[key] for key in content if key in AuditEvent.model_fields})


@contextmanager
def reader_of(dsn: str, partition: str) -> Iterator[None]:
    """A report that reads one partition, for as long as the block lasts."""
    with psycopg.connect(dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute(f"SELECT count(*) FROM {partition}")
        yield


def detach(dsn: str, partition: str) -> None:
    """Detaches a partition, in a session of its own."""
    with psycopg.connect(dsn, autocommit=True) as dba:
        dba.execute(f"ALTER TABLE pgaudit.audit_log DETACH PARTITION {partition} CONCURRENTLY")


def test_the_front_of_the_log_is_detached_beside_readers_and_appends(
    dsn: str, small: Connection, settings: Settings
) -> None:
    """A long reader of another partition delays nothing; a long reader of the log delays the DBA alone."""
    fill(small, settings, 700)
    with reader_of(dsn, "pgaudit.audit_log_512"):
        detach(dsn, "pgaudit.audit_log_0")
        fill(small, settings, 10)
    pending = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"
    with ThreadPoolExecutor() as pool, psycopg.connect(dsn, autocommit=True) as watcher:
        with reader_of(dsn, "pgaudit.audit_log"):
            detached = pool.submit(detach, dsn, "pgaudit.audit_log_256")
            wait_until(lambda: watcher.execute(pending).fetchone() == (1,))
            fill(small, settings, 10)
            assert not detached.done()
        detached.result(30)
    fill(small, settings, 400)
    assert ranges(small) == [(512, 768), (768, 1_024), (1_024, 1_280)]
    assert [index for index, _ in logged(small)] == list(range(512, 1_120))


def test_events_of_a_dropped_partition_are_stored_when_recorded_again(
    dsn: str, small: Connection, settings: Settings
) -> None:
    """Nothing is there to compare them with: they are kept, and name the index that they had."""
    made = [event(number) for number in range(600)]
    assert record_and_persist(small, settings, *made) == []
    detach(dsn, "pgaudit.audit_log_0")
    small.execute("DROP TABLE pgaudit.audit_log_0")
    small.commit()
    assert record_and_persist(small, settings, made[0], made[5], event(9), made[300], made[0]) == []
    query = "SELECT event_id, index, conflicts_with FROM pgaudit.event_conflict ORDER BY index"
    assert small.execute(query).fetchall() == [(made[0].id, 601, 0), (made[5].id, 602, 5)]
    assert small.execute("SELECT event_id, index FROM pgaudit.event_sighting ORDER BY id").fetchall() == [
        (made[300].id, 300),
        (made[0].id, 601),
    ]
    assert queued_ids(small) == []
    fill(small, settings, 600)
    assert ensure(small) == 1
    assert [index for index, _ in logged(small)] == list(range(256, 1_203))
    assert small.execute("SELECT count(*) FROM pgaudit.column_drift()").fetchone() == (0,)


def test_an_emptied_log_goes_on_where_it_ended(dsn: str, small: Connection, settings: Settings) -> None:
    """When every partition was detached, the next index still follows the last one that was given."""
    fill(small, settings, 512)
    for partition, *_ in small.execute(PARTITIONS).fetchall():
        detach(dsn, partition)
    fill(small, settings, 10)
    assert [index for index, _ in logged(small)] == list(range(512, 522))


def test_long_reader_does_not_hold_up_the_log_for_a_partition(dsn: str, small: Connection, settings: Settings) -> None:
    """A transaction that reads the log hinders neither a new partition nor appends that need one."""
    with reader_of(dsn, "pgaudit.audit_log"):
        fill(small, settings, 600)
        assert (ensure(small), len(ranges(small))) == (1, 4)


def test_workers_give_up_on_a_partition_while_a_dba_has_the_log(
    dsn: str, small: Connection, settings: Settings
) -> None:
    """Keeping one ahead waits for no lock of a DBA's: it raises nothing, and makes the partition another time."""
    fill(small, settings, 300)
    with psycopg.connect(dsn) as dba:
        dba.execute("LOCK TABLE pgaudit.audit_log IN SHARE UPDATE EXCLUSIVE MODE")
        assert ensure(small) == 0
        dba.rollback()
        dba.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        assert ensure(small) == 0
    assert (ensure(small), ranges(small)[-1]) == (1, (512, 768))


def test_two_sessions_that_need_a_partition_make_one(dsn: str, small: Connection) -> None:
    """The lock of the log is between them: both append, and neither fails."""
    settings = Settings(dsn=dsn)
    with ThreadPoolExecutor() as pool, psycopg.connect(dsn) as holder:
        holder.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")

        def append() -> None:
            with psycopg.connect(dsn) as own:
                inline = AuditLog(settings.model_copy(update={"mode": Mode.INLINE}))
                inline.record(own, *(event(number) for number in range(300)))

        both = [pool.submit(append) for _ in range(2)]
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: small.execute(waiting).fetchone() == (2,))
        holder.rollback()
        for each in both:
            each.result(30)
    assert ranges(small) == [(0, 256), (256, 512), (512, 768)]
    assert_dense(small)
