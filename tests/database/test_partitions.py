"""Partitions of the log: made in time, whatever a DBA has changed, and guarded like the log."""

import psycopg
import pytest

from pgaudit import AuditLog, Mode, Settings
from tests.support.audit_log import assert_dense, logged
from tests.support.events import event, events
from tests.support.jobs import insert_poison, persist_and_commit, record_persist_and_commit
from tests.support.partitions import ensure_partitions_and_commit, fill_and_commit, ranges
from tests.support.queries import Connection

PARTITIONS = "SELECT partition::text, first_index, end_index FROM pgaudit.log_partitions()"
PLACES = "SELECT tableoid::regclass::text, count(*) FROM pgaudit.audit_log GROUP BY 1, tableoid ORDER BY min(index)"


def test_a_new_log_has_two_partitions(conn: Connection) -> None:
    """A new log has the partition to fill and the next one; their size must be a multiple of 256."""
    assert ranges(conn) == [(0, 10_485_760), (10_485_760, 20_971_520)]
    assert ensure_partitions_and_commit(conn) == 0
    for size in (0, 255, 257, 300):
        with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
            conn.execute("UPDATE pgaudit.settings SET partition_size = %s", [size])


def test_append_makes_the_partitions_that_it_needs(small: Connection) -> None:
    """A batch that needs several partitions makes them; it stays one batch, and no event fails."""
    fill_and_commit(small, 1_000)
    assert small.execute(PLACES).fetchall() == [
        (f"pgaudit.audit_log_{first}", min(256, 1_000 - first)) for first in (0, 256, 512, 768)
    ]
    assert small.execute("SELECT count FROM pgaudit.batch").fetchall() == [(1_000,)]
    assert_dense(small)
    assert ranges(small)[-1] == (768, 1_024)


def test_inline_mode_makes_the_partitions_that_it_needs(small: Connection, settings: Settings) -> None:
    """Events of one inline transaction may fill several partitions."""
    inline = AuditLog(settings.model_copy(update={"mode": Mode.INLINE}))
    inline.record(small, *events(600))
    small.commit()
    assert ranges(small) == [(0, 256), (256, 512), (512, 768)]
    assert_dense(small)


def test_a_conflicting_event_may_be_the_first_of_a_partition(small: Connection) -> None:
    """A conflicting event that needs a partition makes it."""
    made = event()
    small.execute("DROP TABLE pgaudit.audit_log_256")
    assert record_persist_and_commit(small, made, *events(255)) == []
    assert record_persist_and_commit(small, made.model_copy(update={"reason": "other"})) == []
    assert small.execute("SELECT index FROM pgaudit.event_conflict").fetchall() == [(256,)]


def test_a_poison_job_does_not_keep_partitions_from_being_made(small: Connection, settings: Settings) -> None:
    """A poison job in a batch that needs partitions fails alone; the others are appended."""
    AuditLog(settings).record(small, *events(400))
    insert_poison(small)
    AuditLog(settings).record(small, *events(400))
    small.commit()
    assert [failure["sqlstate"] for failure in persist_and_commit(small)] == ["XX001"]
    assert len(logged(small)) == 800
    assert_dense(small)


def test_one_partition_is_kept_ahead(small: Connection) -> None:
    """ensure_partitions makes a partition when the log has reached the last one, and nothing before."""
    assert ensure_partitions_and_commit(small) == 0
    assert len(ranges(small)) == 2
    fill_and_commit(small, 255)
    assert ensure_partitions_and_commit(small) == 0
    fill_and_commit(small, 1)
    assert ensure_partitions_and_commit(small) == 1
    assert ensure_partitions_and_commit(small) == 0
    assert ranges(small) == [(0, 256), (256, 512), (512, 768)]
    fill_and_commit(small, 600)
    assert ensure_partitions_and_commit(small) == 1
    assert ensure_partitions_and_commit(small) == 0
    assert ranges(small)[-1] == (1_024, 1_280)


def test_changed_partition_size_holds_for_new_partitions(small: Connection) -> None:
    """New partitions have the changed size, and begin on a multiple of it as soon as that is free."""
    small.execute("UPDATE pgaudit.settings SET partition_size = 1024")
    fill_and_commit(small, 600)
    assert ranges(small) == [(0, 256), (256, 512), (512, 1_024)]
    assert ensure_partitions_and_commit(small) == 1
    small.execute("UPDATE pgaudit.settings SET partition_size = 512")
    fill_and_commit(small, 1_000)
    fill_and_commit(small, 700)
    assert ranges(small) == [(0, 256), (256, 512), (512, 1_024), (1_024, 2_048), (2_048, 2_560)]
    assert_dense(small)


def test_partitions_made_by_hand_are_used(small: Connection) -> None:
    """Partitions of any width are filled; gaps between them get partitions up to the next one."""
    create = "CREATE TABLE pgaudit.by_hand_{0} PARTITION OF pgaudit.audit_log FOR VALUES FROM ({0}) TO ({1})"
    small.execute(create.format(512, 519))
    small.execute(create.format(700, 900))
    small.execute(create.format(1_300, 1_301))
    fill_and_commit(small, 1_000)
    fill_and_commit(small, 1_000)
    expected = [(0, 256), (256, 512), (512, 519), (519, 700), (700, 900), (900, 1_024), (1_024, 1_280), (1_280, 1_300)]
    assert ranges(small) == [*expected, (1_300, 1_301), (1_301, 1_536), (1_536, 1_792), (1_792, 2_048)]
    assert ensure_partitions_and_commit(small) == 1
    assert_dense(small)


def test_a_partition_up_to_maxvalue_is_used(small: Connection) -> None:
    """Behind a partition up to MAXVALUE no other one is made."""
    small.execute("DROP TABLE pgaudit.audit_log_256")
    small.execute("""CREATE TABLE pgaudit.by_hand PARTITION OF pgaudit.audit_log
                     FOR VALUES FROM (256) TO (MAXVALUE)""")
    fill_and_commit(small, 1_000)
    assert_dense(small)
    assert small.execute("SELECT pgaudit.ensure_partitions()").fetchone() == (0,)


def test_a_new_partition_has_every_index_of_the_log(small: Connection) -> None:
    """A new partition has the indexes that a DBA has added, too."""
    small.execute("CREATE INDEX by_reason ON pgaudit.audit_log ((event->>'reason'))")
    fill_and_commit(small, 600)
    query = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass AND indisvalid"
    counts = [small.execute(query, [f"pgaudit.{name}"]).fetchone() for name in ("audit_log", "audit_log_512")]
    assert counts == [(7,), (7,)]


@pytest.mark.parametrize(
    "change",
    [
        "ADD COLUMN month text GENERATED ALWAYS AS (left(event->>'occurred_at', 7)) STORED",
        "ADD COLUMN noted_at timestamptz DEFAULT now()",
        "ADD COLUMN number bigint GENERATED ALWAYS AS (index + 1) STORED NOT NULL",
        "ADD CONSTRAINT short CHECK (length(action) < 100)",
    ],
)
def test_log_changed_by_a_dba_is_appended_to(small: Connection, change: str) -> None:
    """A column or constraint of a DBA stops neither appends nor new partitions."""
    small.execute(f"ALTER TABLE pgaudit.audit_log {change}")
    fill_and_commit(small, 1_000)
    assert ensure_partitions_and_commit(small) == 1
    assert len(ranges(small)) == 5
    assert_dense(small)


def test_default_privileges_open_no_partition(small: Connection) -> None:
    """Default privileges of the owner give no right to a new partition."""
    small.execute("CREATE ROLE t_everywhere")
    small.execute('CREATE ROLE "t Odd ""name"')
    try:
        for role in ("PUBLIC", "t_everywhere", '"t Odd ""name"'):
            small.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {role}")
        small.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA pgaudit GRANT SELECT ON TABLES TO PUBLIC")
        fill_and_commit(small, 600)
        assert ensure_partitions_and_commit(small) == 1
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


def test_every_partition_is_guarded(small: Connection) -> None:
    """No partition can be written, truncated or changed by its own name, also in replica mode."""
    fill_and_commit(small, 600)
    assert ensure_partitions_and_commit(small) == 1
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
