"""Exactly once: a repeated event is noted, and another event with the same id is kept beside it."""

import re
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgaudit import AuditContext, AuditEvent, AuditLog, Mode, Settings
from tests.support.audit_log import assert_dense, logged, make_small_partitions_and_commit
from tests.support.events import event
from tests.support.jobs import insert_poison, persist_and_commit, queued_ids, record_persist_and_commit
from tests.support.queries import Connection

SIGHTINGS = "SELECT event_id, index FROM pgaudit.event_sighting ORDER BY id"
CONFLICTS = "SELECT event_id, index, conflicts_with FROM pgaudit.event_conflict ORDER BY index"
FLAGGED = (
    "SELECT event_id, index, conflicts_with FROM pgaudit.audit_log WHERE conflicts_with IS NOT NULL ORDER BY index"
)


def changed(made: AuditEvent, **fields: object) -> AuditEvent:
    """Returns another event with the same id."""
    return made.model_copy(update=fields)


def record_in_and_commit(mode: Mode, conn: Connection, settings: Settings, *events: AuditEvent) -> None:
    """Records events, takes them to the log through the queue or inline, and commits."""
    if mode is Mode.QUEUE:
        assert record_persist_and_commit(conn, *events) == []
        return
    AuditLog(settings.model_copy(update={"mode": mode})).record(conn, *events)
    conn.commit()


def conflicts(conn: Connection) -> list[tuple[Any, ...]]:
    """Returns the rows of event_conflict; fails unless the log and its view have the same."""
    found = conn.execute(CONFLICTS).fetchall()
    assert conn.execute(FLAGGED).fetchall() == found
    assert conn.execute(CONFLICTS.replace("event_conflict", "conflicting_events")).fetchall() == found
    return found


both_modes = pytest.mark.parametrize("mode", [Mode.QUEUE, Mode.INLINE])


@both_modes
def test_an_event_is_stored_once_however_often_it_is_recorded(conn: Connection, settings: Settings, mode: Mode) -> None:
    """An event that is recorded again, in the same batch or a later one, gets no second row and leaves no gap."""
    first, second, third = event(1), event(2), event(3)
    record_in_and_commit(mode, conn, settings, first, first, second, first, second)
    record_in_and_commit(mode, conn, settings, second, third, first)
    record_in_and_commit(mode, conn, settings, third)
    assert logged(conn) == [(0, first.id), (1, second.id), (2, third.id)]
    assert queued_ids(conn) == []
    assert_dense(conn)
    seen = [(first, 0), (first, 0), (second, 1), (second, 1), (first, 0), (third, 2)]
    assert conn.execute(SIGHTINGS).fetchall() == [(each.id, index) for each, index in seen]
    assert conflicts(conn) == []


@both_modes
def test_a_sighting_says_who_recorded_the_event_again(conn: Connection, settings: Settings, mode: Mode) -> None:
    """A sighting has transaction, role and time of the second recording."""
    made = event()
    record_in_and_commit(mode, conn, settings, made)
    log = AuditLog(settings.model_copy(update={"mode": mode}))
    log.record(conn, made)
    (xid,) = conn.execute("SELECT pg_current_xact_id()").fetchone() or (0,)
    conn.commit()
    assert persist_and_commit(conn) == []
    query = """SELECT xid, recorded_by = session_user,
                      recorded_at > (SELECT recorded_at FROM pgaudit.audit_log) FROM pgaudit.event_sighting"""
    assert conn.execute(query).fetchall() == [(xid, True, True)]


@both_modes
def test_a_client_that_retries_in_a_new_span_records_the_same_event(
    conn: Connection, settings: Settings, mode: Mode
) -> None:
    """Events that differ only in trace_id and span_id are the same; other differences in the context are a conflict."""
    made = changed(event(), context=AuditContext(request_id="1", trace_id="a" * 32, span_id="b" * 16))
    in_new_span = changed(made, context=AuditContext(request_id="1", trace_id="c" * 32, span_id="d" * 16))
    record_in_and_commit(mode, conn, settings, made, in_new_span)
    assert len(logged(conn)) == 1
    assert conflicts(conn) == []
    record_in_and_commit(mode, conn, settings, changed(made, context=AuditContext(request_id="2")))
    assert conflicts(conn) == [(made.id, 1, 0)]


@both_modes
@pytest.mark.parametrize("together", [True, False])
def test_another_event_under_a_taken_id_is_kept(
    conn: Connection, settings: Settings, mode: Mode, together: bool
) -> None:
    """An event with the id of another one gets its own index, and names the index of the first."""
    made = event(1)
    other = changed(made, reason="another")
    batches = [[made, event(2), other, event(3)]] if together else [[made], [event(2), other, event(3)]]
    for batch in batches:
        record_in_and_commit(mode, conn, settings, *batch)
    (index,) = [index for index, identity in logged(conn) if identity == made.id and index]
    assert conflicts(conn) == [(made.id, index, 0)]
    row = conn.execute("SELECT event->>'reason' FROM pgaudit.audit_log WHERE index = %s", [index]).fetchone()
    assert row == ("another",)
    assert len(logged(conn)) == 4
    assert queued_ids(conn) == []
    assert_dense(conn)


@both_modes
def test_the_same_id_with_another_time_is_a_conflict(conn: Connection, settings: Settings, mode: Mode) -> None:
    """An id belongs to one event, whatever occurred_at the second event has."""
    made = event()
    for days in (0, 40, 4_000):
        record_in_and_commit(mode, conn, settings, changed(made, occurred_at=made.occurred_at - timedelta(days=days)))
    assert conflicts(conn) == [(made.id, 1, 0), (made.id, 2, 0)]
    assert conn.execute("SELECT index FROM pgaudit.event_key").fetchall() == [(0,)]


@both_modes
@pytest.mark.parametrize("together", [True, False])
def test_a_conflicting_event_is_stored_once_too(
    conn: Connection, settings: Settings, mode: Mode, together: bool
) -> None:
    """A conflicting event that is recorded again is a sighting; a third content is another conflict."""
    made = event()
    other, third = changed(made, reason="other"), changed(made, reason="third")
    given = [made, other, other, made, third, other, third]
    for batch in [given] if together else [[each] for each in given]:
        record_in_and_commit(mode, conn, settings, *batch)
    assert conflicts(conn) == [(made.id, 1, 0), (made.id, 2, 0)]
    assert sorted(conn.execute(SIGHTINGS).fetchall()) == [(made.id, index) for index in (0, 1, 1, 2)]
    assert_dense(conn)


def test_a_failed_job_does_not_take_the_id_of_its_event(conn: Connection) -> None:
    """A job that was changed in the queue fails, and the genuine event with its id is the first one."""
    made = event()
    insert_poison(conn, made.to_json())
    (failure,) = record_persist_and_commit(conn, made)
    assert failure["sqlstate"] == "XX001"
    assert logged(conn) == [(0, made.id)]
    assert conflicts(conn) == []


def test_an_event_that_the_log_refuses_leaves_its_id_free(conn: Connection) -> None:
    """An event that fails a CHECK of the DBA does not take its id: a later event with that id is no conflict."""
    conn.execute("ALTER TABLE pgaudit.audit_log ADD CHECK (event->>'reason' IS DISTINCT FROM 'refused')")
    made = event()
    (failure,) = record_persist_and_commit(conn, changed(made, reason="refused"), event(2), made)
    assert failure["sqlstate"] == "23514"
    assert conflicts(conn) == []
    assert conn.execute("SELECT index FROM pgaudit.event_key WHERE event_id = %s", [made.id]).fetchall() == [(1,)]
    assert_dense(conn)


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_an_older_snapshot_does_not_take_a_known_event_for_a_conflict(
    dsn: str, conn: Connection, settings: Settings, level: psycopg.IsolationLevel
) -> None:
    """An inline transaction with a snapshot older than the first event fails with a serialization error."""
    inline = AuditLog(settings.model_copy(update={"mode": Mode.INLINE}))
    made = event()
    with psycopg.connect(dsn) as late:
        late.isolation_level = level
        late.execute("SELECT count(*) FROM pgaudit.audit_log")
        inline.record(conn, made)
        conn.commit()
        with pytest.raises(psycopg.errors.SerializationFailure):
            inline.record(late, made)
        late.rollback()
        inline.record(late, made)
        late.commit()
    assert logged(conn) == [(0, made.id)]
    assert conflicts(conn) == []
    assert conn.execute(SIGHTINGS).fetchall() == [(made.id, 0)]


def test_duplicates_and_conflicts_are_appended_in_sets(conn: Connection, settings: Settings) -> None:
    """A batch of duplicates and conflicts takes a fixed number of statements, because it holds the lock of the log."""
    first = [event(number) for number in range(300)]
    record_in_and_commit(Mode.QUEUE, conn, settings, *first)
    others = [changed(made, reason=f"other {copy}") for made in first for copy in range(2)]
    AuditLog(settings).record(conn, *first, *others, *others)
    conn.commit()
    conn.execute("SET track_functions = 'all'")
    assert conn.execute("SELECT failures FROM pgaudit.persist(NULL, NULL, 10000)").fetchone() == ([],)
    calls = "SELECT pg_stat_get_xact_function_calls(%s::regproc)"
    functions = ["try_append", "note_sightings", "logged_indexes"]
    made = {name: conn.execute(calls, [f"pgaudit.{name}"]).fetchone() for name in functions}
    # try_append: the whole batch, the new events (none), the conflicts. note_sightings: duplicates of the log, and
    # within the batch. logged_indexes: the last of three calls is the deletion guard's.
    assert made == {"try_append": (3,), "note_sightings": (2,), "logged_indexes": (3,)}
    conn.commit()
    assert len(conflicts(conn)) == 600
    assert conn.execute("SELECT count(*) FROM pgaudit.event_sighting").fetchone() == (900,)
    assert len(logged(conn)) == 900
    assert queued_ids(conn) == []
    assert_dense(conn)


def test_copies_of_a_refused_conflict_fail_with_it(conn: Connection) -> None:
    """Each copy of a content that a CHECK refuses stays in the queue; other contents with that id are appended."""
    conn.execute("ALTER TABLE pgaudit.audit_log ADD CHECK (event->>'reason' IS DISTINCT FROM 'refused')")
    made = event()
    refused, other = changed(made, reason="refused"), changed(made, reason="other")
    failures = record_persist_and_commit(conn, made, refused, other, refused, refused, other)
    assert [failure["sqlstate"] for failure in failures] == ["23514"] * 3
    assert len({failure["job_id"] for failure in failures}) == 3
    assert conflicts(conn) == [(made.id, 1, 0)]
    assert conn.execute(SIGHTINGS).fetchall() == [(made.id, 1)]
    assert [job for job in queued_ids(conn) if job == made.id] == [made.id] * 3
    assert_dense(conn)


def test_a_duplicate_locks_only_the_partitions_of_its_originals(conn: Connection, settings: Settings) -> None:
    """Duplicates of events in two old partitions lock those two and the last two, and no other partition."""
    make_small_partitions_and_commit(conn)
    made = [event(number) for number in range(256 * 4)]
    record_in_and_commit(Mode.QUEUE, conn, settings, *made)
    record_in_and_commit(Mode.QUEUE, conn, settings, event())
    AuditLog(settings).record(conn, made[0], made[300])
    conn.commit()
    conn.execute("SELECT pgaudit.persist(NULL, NULL, 1000)")
    held = "SELECT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid() AND relation IS NOT NULL"
    partitions = {name for (name,) in conn.execute(held) if re.fullmatch(r"pgaudit.audit_log_\d+", name)}
    conn.commit()
    assert partitions == {f"pgaudit.audit_log_{first}" for first in (0, 256, 768, 1024)}


@pytest.mark.parametrize("table", ["event_key", "event_sighting"])
def test_a_trigger_that_swallows_keys_or_sightings_is_noticed(conn: Connection, settings: Settings, table: str) -> None:
    """A trigger that suppresses a key or a sighting makes the batch fail; the job stays in the queue."""
    made = event()
    record_in_and_commit(Mode.QUEUE, conn, settings, made)
    conn.execute(f"""
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER swallow BEFORE INSERT ON pgaudit.{table} FOR EACH ROW EXECUTE FUNCTION swallow()""")
    AuditLog(settings).record(conn, made if table == "event_sighting" else event(2))
    conn.commit()
    try:
        failures = persist_and_commit(conn)
    except psycopg.Error as error:
        conn.rollback()
        failures = [{"sqlstate": error.sqlstate}]
    assert [failure["sqlstate"] for failure in failures] == ["27000"]
    assert len(queued_ids(conn)) == 1
    assert len(logged(conn)) == 1
