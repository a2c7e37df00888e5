"""Append-only: nobody changes the log, or takes out of the queue what the log does not hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pgaudit import AuditLog, Settings
from tests.postgres.trail import (
    Connection,
    event,
    let_jobs_be_edited,
    logged,
    persist,
    queued_ids,
    record_and_persist,
)

PARTITIONS = """
    SELECT 'pgaudit.audit_log' UNION ALL
    SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'pgaudit.audit_log'::regclass
"""


@contextmanager
def refused(conn: Connection, message: str) -> Iterator[None]:
    """What is inside is refused with that message; the transaction goes on."""
    with pytest.raises(InsufficientPrivilege, match=message), conn.transaction():
        yield


@pytest.fixture
def filled(conn: Connection, settings: Settings) -> Connection:
    """A log with an event of today and one of 1999, in the default partition."""
    old = event(2).model_copy(update={"occurred_at": datetime(1999, 1, 1, tzinfo=UTC)})
    assert record_and_persist(conn, settings, event(1), old) == []
    return conn


@pytest.mark.parametrize("role", ["origin", "replica"])
def test_no_table_of_the_log_can_be_changed(filled: Connection, role: str) -> None:
    """UPDATE, DELETE and TRUNCATE: on the log and every partition, for a superuser, and as a replica, too."""
    filled.execute(f"SET session_replication_role = {role}")
    before = logged(filled)
    tables = [table for (table,) in filled.execute(PARTITIONS).fetchall()]
    assert len(tables) == 6, "the log, the default partition, this month and the next three"
    for table in tables:
        (rows,) = filled.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        statements = [f"TRUNCATE {table}"]
        if rows:
            statements += [f"UPDATE {table} SET action = 'x'", f"DELETE FROM {table}"]
        for statement in statements:
            with refused(filled, "the audit log is append-only"):
                filled.execute(statement)
    assert logged(filled) == before


def test_a_partition_that_is_made_later_is_guarded_too(filled: Connection) -> None:
    """Row triggers and the TRUNCATE trigger are on every partition, enabled ALWAYS."""
    filled.execute("SELECT pgaudit.create_partition('2031-05-01')")
    filled.execute("SET session_replication_role = replica")
    filled.execute("""INSERT INTO pgaudit.audit_log
                      SELECT index, event_id, '2031-05-05', recorded_at, persisted_at, action, outcome,
                             actor_type, actor_id,
                             target_type, target_id, tenant, event, leaf_hash FROM pgaudit.audit_log LIMIT 1""")
    table = "pgaudit.audit_log_2031_05"
    for statement in (f"TRUNCATE {table}", f"UPDATE {table} SET action = 'x'", f"DELETE FROM {table}"):
        with refused(filled, "append-only"):
            filled.execute(statement)


@pytest.mark.parametrize("role", ["origin", "replica"])
def test_an_unlogged_job_cannot_be_deleted(conn: Connection, settings: Settings, role: str) -> None:
    """Whoever deletes, and in whatever state the job is; the hint says what to do instead."""
    AuditLog(settings).record(conn, made := event())
    conn.execute(f"SET session_replication_role = {role}")
    for status in ("todo", "doing", "failed"):
        conn.execute("UPDATE pgaudit.procrastinate_jobs SET status = %s", [status])
        with refused(conn, "not in the log yet"):
            conn.execute("DELETE FROM pgaudit.procrastinate_jobs")
    with refused(conn, "not in the log yet"):
        conn.execute("TRUNCATE pgaudit.procrastinate_jobs, pgaudit.procrastinate_events")
    with refused(conn, "not in the log yet"):
        conn.execute("TRUNCATE pgaudit.procrastinate_jobs CASCADE")
    assert queued_ids(conn) == [made.id]


def test_procrastinates_own_pruning_is_refused_too(conn: Connection, settings: Settings) -> None:
    """delete_old_jobs and finish_job with delete_job go through the same door."""
    AuditLog(settings).record(conn, event())
    conn.execute("UPDATE pgaudit.procrastinate_jobs SET status = 'doing'")
    with refused(conn, "not in the log yet"):
        conn.execute(
            "SELECT pgaudit.procrastinate_finish_job_v1(id, 'succeeded', true) FROM pgaudit.procrastinate_jobs"
        )


def test_a_broken_job_cannot_be_deleted_either(conn: Connection) -> None:
    """A job without an event in it is evidence, too."""
    conn.execute("INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name) VALUES ('audit', 'pgaudit.persist')")
    with refused(conn, "not in the log yet"):
        conn.execute("DELETE FROM pgaudit.procrastinate_jobs")


def test_other_queues_and_an_empty_one_are_free(conn: Connection) -> None:
    """The guard is for audit jobs alone; deleting a job takes its events along, as Procrastinate's own trigger did."""
    conn.execute("INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name) VALUES ('mail', 'send')")
    assert conn.execute("SELECT count(*) FROM pgaudit.procrastinate_events").fetchone() == (1,)
    conn.execute("DELETE FROM pgaudit.procrastinate_jobs")
    assert conn.execute("SELECT count(*) FROM pgaudit.procrastinate_events").fetchone() == (0,)
    conn.execute("TRUNCATE pgaudit.procrastinate_jobs")


def test_an_event_in_the_queue_is_not_to_be_changed(conn: Connection, settings: Settings) -> None:
    """Not into another one that the log holds already, either: it would be taken for a duplicate, and go."""
    record_and_persist(conn, settings, event(1))
    AuditLog(settings).record(conn, made := event(2))
    logged_args = "(SELECT jsonb_build_object('event', event) FROM pgaudit.audit_log)"
    for table, args in (("procrastinate_jobs", "'{}'"), ("audit_jobs", logged_args)):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not to be changed"), conn.transaction():
            conn.execute(f"UPDATE pgaudit.{table} SET args = {args}")
    assert queued_ids(conn) == [made.id]


def test_the_lock_of_the_log_stays(conn: Connection) -> None:
    """Without its row nothing could be appended."""
    for statement in ("DELETE FROM pgaudit.log_lock", "TRUNCATE pgaudit.log_lock"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute(statement)


@pytest.mark.parametrize(
    "edit",
    [
        "jsonb_set(args, '{event,action}', '\"claim.denied\"')",
        "jsonb_set(args, '{event,recorded_at}', '\"2020-01-01T00:00:00Z\"')",
        "args #- '{event,actor}'",
        "jsonb_set(args, '{leaf_hash}', '\"00\"')",
        "args - 'leaf_hash'",
        "args - 'event'",
        "'{}'",
    ],
)
def test_an_event_edited_in_the_queue_does_not_reach_the_log(conn: Connection, settings: Settings, edit: str) -> None:
    """Its text no longer matches its hash: it fails, stays where it is, and its neighbours go through."""
    AuditLog(settings).record(conn, first := event(1), event(2), third := event(3))
    let_jobs_be_edited(conn)
    conn.execute(f"UPDATE pgaudit.procrastinate_jobs SET args = {edit} WHERE id = 2")
    conn.commit()
    (failure,) = persist(conn)
    assert (failure["job_id"], failure["sqlstate"]) == (2, "XX001")
    assert logged(conn) == [(0, first.id), (1, third.id)]
    assert conn.execute("SELECT id FROM pgaudit.procrastinate_jobs").fetchall() == [(2,)]
