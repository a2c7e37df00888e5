"""A role with rights on all tables, such as that of a bulk loader, can write to no guarded table of pgaudit."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pgaudit.grants import grant
from tests.support.audit_log import assert_dense
from tests.support.events import event, events
from tests.support.jobs import record_and_commit, record_persist_and_commit
from tests.support.queries import Connection, value
from tests.support.roles import temporary_roles

ROLE = "d_loader"
# Each table whose rows determine the contents of the log or its next index, or its seals, with a column to update.
TABLES = {
    "audit_log": "outcome",
    "audit_log_0": "outcome",
    "event_key": "index",
    "event_target": "index",
    "event_sighting": "index",
    "event_conflict": "index",
    "batch": "count",
    "log_lock": "singleton",
    "queue_watermark": "low_watermark",
    "acknowledged_jobs": "reason",
    "settings": "partition_size",
    "job_error": "message",
    "procrastinate_workers": "last_heartbeat",
    "tile": "root",
    "checkpoint": "note",
    "verification": "findings",
    "sealing_state": "refused",
    "anchor_receipt": "size",
    "target_period": "root",
    "target_tile": "root",
    "target_lock": "singleton",
    "schema_code": "checksum",
    "alembic_version": "version_num",
}
STATEMENTS = (
    "INSERT INTO pgaudit.{table} OVERRIDING SYSTEM VALUE SELECT * FROM pgaudit.{table}",
    "UPDATE pgaudit.{table} SET {column} = {column}",
    "DELETE FROM pgaudit.{table}",
)
# A function of that name is on the call stack when pgaudit appends.
DISGUISE = "CREATE FUNCTION pg_temp.append_rows() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {}; END $$"
REFUSALS = r"append-only|only the functions of pgaudit|only its owner"
RELATIONS = """
    SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace AND relkind IN ('r', 'p', 'v')
"""
EVENTS = "SELECT array_agg(to_jsonb(log) ORDER BY index) FROM pgaudit.audit_log log"


@pytest.fixture
def loader(dsn: str, conn: Connection) -> Iterator[Connection]:
    """A session of a role with pg_read_all_data and pg_write_all_data; the log has three events."""
    assert record_persist_and_commit(conn, *events(3)) == []
    with temporary_roles(dsn, ROLE):
        conn.execute(f"GRANT pg_write_all_data, pg_read_all_data TO {ROLE}")
        conn.commit()
        with psycopg.connect(dsn, user=ROLE, autocommit=True) as session:
            yield session


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("table", TABLES)
def test_a_role_with_rights_on_all_data_writes_to_no_guarded_table(
    loader: Connection, conn: Connection, table: str, statement: str
) -> None:
    """Each statement is refused, even inside a function named like the one that appends; the log is unchanged."""
    before = value(conn, EVENTS)
    attempt = statement.format(table=table, column=TABLES[table])
    loader.execute(DISGUISE.format(attempt))
    for forged in (attempt, "SELECT pg_temp.append_rows()"):
        with pytest.raises(InsufficientPrivilege, match=REFUSALS):
            loader.execute(forged)
    assert value(conn, EVENTS) == before
    assert record_persist_and_commit(conn, event(9)) == []
    assert_dense(conn)


def test_a_role_with_rights_on_all_data_cannot_park_events(loader: Connection, conn: Connection) -> None:
    """Such a role cannot delay a waiting event, neither through audit_jobs nor through Procrastinate's table."""
    record_and_commit(conn, event(7))
    for table in ("audit_jobs", "procrastinate_jobs"):
        with pytest.raises(InsufficientPrivilege, match="only its owner"):
            loader.execute(f"UPDATE pgaudit.{table} SET scheduled_at = 'infinity'")
    assert value(conn, "SELECT count(*) FROM pgaudit.audit_jobs WHERE scheduled_at IS NULL") == 1


def test_a_batch_cannot_take_the_last_indexes(conn: Connection) -> None:
    """A batch that would leave no index for later events is refused, even for the owner with the trigger disabled."""
    conn.execute("ALTER TABLE pgaudit.batch DISABLE TRIGGER reject_direct_write")
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("""INSERT INTO pgaudit.batch (first_index, count, persisted_at, oldest_recorded, newest_recorded,
                                                   recorded_until, late)
                        VALUES (9223372036854775806, 1, now(), now(), now(), now(), false)""")


@pytest.mark.parametrize("kind", ["writer", "inline", "worker", "operator", "reader"])
def test_a_granted_role_locks_no_table_against_others(dsn: str, conn: Connection, kind: str) -> None:
    """A granted role cannot lock any table or view in a mode stronger than that of a SELECT."""
    with temporary_roles(dsn, ROLE):
        grant(conn, **{kind: ROLE})
        relations = [name for (name,) in conn.execute(RELATIONS).fetchall()]
        conn.commit()
        assert {"pgaudit.log_lock", "pgaudit.audit_jobs", "pgaudit.procrastinate_workers"} <= set(relations)
        with psycopg.connect(dsn, user=ROLE) as role:
            for relation in relations:
                with pytest.raises(InsufficientPrivilege):
                    role.execute(f"LOCK TABLE {relation} IN ROW SHARE MODE")
                role.rollback()
