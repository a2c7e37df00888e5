"""Append-only: the log cannot be changed, and a job cannot be deleted before its event is in the log."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg.errors import InsufficientPrivilege

from pgaudit import AuditLog, Settings
from tests.support.audit_log import logged, make_small_partitions_and_commit
from tests.support.events import event, events
from tests.support.jobs import (
    insert_poison,
    let_jobs_be_edited,
    persist_and_commit,
    queued_ids,
    record_persist_and_commit,
)
from tests.support.queries import Connection

TABLES = """
    SELECT 'pgaudit.audit_log', true UNION ALL
    SELECT partition::text, first_index < (SELECT size FROM pgaudit.log_head) FROM pgaudit.log_partitions()
"""


@contextmanager
def refused(conn: Connection, message: str) -> Iterator[None]:
    """Fails unless the statements inside are refused with that message; the transaction goes on."""
    with pytest.raises(InsufficientPrivilege, match=message), conn.transaction():
        yield


@pytest.fixture
def filled(conn: Connection) -> Connection:
    """A log with events in two partitions, and an empty third one."""
    make_small_partitions_and_commit(conn)
    assert record_persist_and_commit(conn, *events(300)) == []
    conn.execute("SELECT pgaudit.ensure_partitions()")
    conn.commit()
    return conn


@pytest.mark.parametrize("role", ["origin", "replica"])
def test_no_table_of_the_log_can_be_changed(filled: Connection, role: str) -> None:
    """UPDATE, DELETE, TRUNCATE and INSERT fail on the log and each partition, for a superuser and in replica mode."""
    filled.execute(f"SET session_replication_role = {role}")
    before = logged(filled)
    tables = filled.execute(TABLES).fetchall()
    assert len(tables) == 4, "the log, two partitions with events, and the one ahead"
    for table, has_rows in tables:
        statements = [f"TRUNCATE {table}", f"INSERT INTO {table} SELECT * FROM pgaudit.audit_log LIMIT 1"]
        if has_rows:
            statements += [f"UPDATE {table} SET action = 'x'", f"DELETE FROM {table}"]
        for statement in statements:
            with refused(filled, "append-only|only the functions of pgaudit"):
                filled.execute(statement)
    assert logged(filled) == before


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("event_key", "index"),
        ("event_target", "index"),
        ("event_sighting", "index"),
        ("event_conflict", "index"),
        ("batch", "count"),
        ("log_lock", "singleton"),
        ("queue_watermark", "low_watermark"),
        ("acknowledged_jobs", "attempts"),
    ],
)
def test_owner_cannot_write_the_tables_that_the_functions_maintain(
    filled: Connection, table: str, column: str, role: str
) -> None:
    """No row can be added, changed or removed by hand, for a superuser and in replica mode."""
    filled.execute(f"SET session_replication_role = {role}")
    for statement in (
        f"INSERT INTO pgaudit.{table} OVERRIDING SYSTEM VALUE SELECT * FROM pgaudit.{table}",
        f"UPDATE pgaudit.{table} SET {column} = {column}",
        f"DELETE FROM pgaudit.{table}",
        f"TRUNCATE pgaudit.{table}",
    ):
        with refused(filled, "only the functions of pgaudit"):
            filled.execute(statement)


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize("status", ["todo", "doing", "failed"])
def test_an_unlogged_job_cannot_be_deleted(conn: Connection, settings: Settings, role: str, status: str) -> None:
    """A job whose event is not in the log cannot be deleted: in any state, through either table, in replica mode."""
    AuditLog(settings).record(conn, made := event())
    conn.execute(f"SET session_replication_role = {role}")
    conn.execute("UPDATE pgaudit.audit_jobs SET status = %s", [status])
    with refused(conn, "not in the audit log yet"):
        conn.execute("DELETE FROM pgaudit.audit_jobs")
    with refused(conn, "audit jobs leave the queue when"):
        conn.execute("DELETE FROM pgaudit.procrastinate_jobs")
    for statement in (
        "TRUNCATE pgaudit.audit_jobs",
        "TRUNCATE pgaudit.procrastinate_jobs, pgaudit.procrastinate_events, pgaudit.procrastinate_periodic_defers",
        "TRUNCATE pgaudit.procrastinate_jobs CASCADE",
    ):
        with refused(conn, "not in the audit log yet"):
            conn.execute(statement)
    assert queued_ids(conn) == [made.id]


def test_one_unlogged_job_among_logged_ones_cannot_be_deleted(conn: Connection, settings: Settings) -> None:
    """One unlogged job makes a deletion of many fail, and the error names it; the logged ones can be deleted."""
    made = events(50)
    record_persist_and_commit(conn, *made)
    AuditLog(settings).record(conn, *made[:25], new := event(99), *made[25:])
    (job,) = conn.execute("SELECT id FROM pgaudit.audit_jobs WHERE event->>'id' = %s", [str(new.id)]).fetchone() or (0,)
    with refused(conn, f"job {job} holds an audit event that is not in the audit log yet"):
        conn.execute("DELETE FROM pgaudit.audit_jobs")
    assert conn.execute("DELETE FROM pgaudit.audit_jobs WHERE id <> %s", [job]).rowcount == 50
    assert queued_ids(conn) == [new.id]


def test_a_job_with_the_id_of_a_logged_event_and_other_content_cannot_be_deleted(
    conn: Connection, settings: Settings
) -> None:
    """A logged event with the same id but other content does not allow the deletion."""
    record_persist_and_commit(conn, made := event())
    AuditLog(settings).record(conn, made.model_copy(update={"reason": "other"}))
    with refused(conn, "not in the audit log yet"):
        conn.execute("DELETE FROM pgaudit.audit_jobs")


def test_procrastinate_cannot_finish_or_delete_audit_jobs(conn: Connection, settings: Settings) -> None:
    """Procrastinate's own functions to finish and delete jobs are refused for audit jobs."""
    AuditLog(settings).record(conn, made := event())
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'doing'")
    for arguments in ("'succeeded', true", "'succeeded', false"):
        with refused(conn, "audit jobs leave the queue when|its status is todo, doing or failed"):
            conn.execute(f"SELECT pgaudit.procrastinate_finish_job_v1(id, {arguments}) FROM pgaudit.audit_jobs")
    assert queued_ids(conn) == [made.id]


def test_a_job_without_a_valid_event_cannot_be_deleted(conn: Connection) -> None:
    """A job whose event is invalid is kept as evidence."""
    insert_poison(conn)
    with refused(conn, "not in the audit log yet"):
        conn.execute("DELETE FROM pgaudit.audit_jobs")


def test_jobs_of_other_queues_can_be_deleted(conn: Connection) -> None:
    """Jobs of other queues can be deleted together with their events, and an empty queue can be truncated."""
    conn.execute("INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name) VALUES ('mail', 'send')")
    assert conn.execute("SELECT count(*) FROM pgaudit.procrastinate_events").fetchone() == (1,)
    conn.execute("DELETE FROM pgaudit.procrastinate_jobs")
    assert conn.execute("SELECT count(*) FROM pgaudit.procrastinate_events").fetchone() == (0,)
    conn.execute("TRUNCATE pgaudit.audit_jobs")


@pytest.mark.parametrize("table", ["audit_jobs", "procrastinate_jobs"])
def test_an_event_in_the_queue_cannot_be_changed(conn: Connection, settings: Settings, table: str) -> None:
    """Event, hash, size and id of a job are protected, also against a copy of an event that the log already has."""
    record_persist_and_commit(conn, event(1))
    AuditLog(settings).record(conn, made := event(2))
    changes = ["id = id + 1"]
    if table == "audit_jobs":
        logged_event = "(SELECT event FROM pgaudit.audit_log)"
        changes += [f"event = {logged_event}", "leaf_hash = '\\x00'", "event_bytes = 0"]
        changes += [f"event = {logged_event}, leaf_hash = (SELECT leaf_hash FROM pgaudit.audit_log)"]
    for change in changes:
        with refused(conn, "must not be changed"):
            conn.execute(f"UPDATE pgaudit.{table} SET {change}")
    assert queued_ids(conn) == [made.id]


@pytest.mark.parametrize(
    "edit",
    [
        "event = jsonb_set(event, '{action}', '\"claim.denied\"')",
        "event = jsonb_set(event, '{recorded_at}', '\"2020-01-01T00:00:00Z\"')",
        "event = event - 'actor'",
        "event = event - 'id'",
        "event = '{}'",
        "event = '[]'",
        "leaf_hash = '\\x00'",
        "leaf_hash = ''",
    ],
)
def test_an_event_edited_in_the_queue_does_not_reach_the_log(conn: Connection, settings: Settings, edit: str) -> None:
    """A job whose event no longer matches its hash fails and stays in the queue; the other jobs are appended."""
    AuditLog(settings).record(conn, first := event(1), event(2), third := event(3))
    let_jobs_be_edited(conn)
    conn.execute(f"UPDATE pgaudit.audit_jobs SET {edit} WHERE id = 2")
    conn.commit()
    (failure,) = persist_and_commit(conn)
    assert failure["job_id"] == 2
    assert failure["sqlstate"] == "XX001"
    assert logged(conn) == [(0, first.id), (1, third.id)]
    assert conn.execute("SELECT id FROM pgaudit.audit_jobs").fetchall() == [(2,)]
