"""Persisting a batch in which jobs fail: each fails alone, and the rest is appended."""

from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Mode, Settings
from pgaudit._db_errors import INFRASTRUCTURE
from tests.support.audit_log import assert_dense, logged, logged_ids
from tests.support.events import event, events
from tests.support.jobs import (
    fetch_and_commit,
    insert_poison,
    let_jobs_be_edited,
    persist_and_commit,
    queued_ids,
    record_and_commit,
    record_persist_and_commit,
    register_and_commit,
)
from tests.support.queries import Connection

REFUSE_REJECTED = "ALTER TABLE pgaudit.audit_log ADD CONSTRAINT none_rejected CHECK (action <> 'claim.rejected')"


@pytest.mark.parametrize("poison", [{0}, {6}, {2, 3}, {0, 2, 4, 6}, {0, 1, 2, 3, 4, 5, 6}])
def test_a_job_changed_in_the_queue_fails_alone(conn: Connection, poison: set[int]) -> None:
    """Jobs that were changed in the queue fail, wherever they are in the batch; the others are appended in order."""
    made = events(7)
    record_and_commit(conn, *made)
    let_jobs_be_edited(conn)
    conn.execute(
        "UPDATE pgaudit.audit_jobs SET event = jsonb_set(event, '{outcome}', 'null') WHERE id = ANY (%s)",
        [[number + 1 for number in poison]],
    )
    conn.commit()
    failures = persist_and_commit(conn)
    assert {failure["job_id"] - 1 for failure in failures} == poison
    assert {failure["event_id"] for failure in failures} == {str(made[number].id) for number in poison}
    assert {failure["sqlstate"] for failure in failures} == {"XX001"}
    assert logged_ids(conn) == [each.id for number, each in enumerate(made) if number not in poison]
    assert len(queued_ids(conn)) == len(poison)
    assert_dense(conn)


@pytest.mark.parametrize("refused", [{0}, {6}, {2, 3}, {0, 2, 4, 6}, {0, 1, 2, 3, 4, 5, 6}])
def test_an_event_that_the_log_refuses_fails_alone(conn: Connection, refused: set[int]) -> None:
    """Events that fail a CHECK of the DBA fail alone; the others are appended in order."""
    conn.execute(REFUSE_REJECTED)
    made = [AuditEvent(action=f"claim.{'rejected' if number in refused else 'approved'}") for number in range(7)]
    failures = record_persist_and_commit(conn, *made)
    assert {failure["event_id"] for failure in failures} == {str(made[number].id) for number in refused}
    assert {(failure["sqlstate"], failure["error_class"]) for failure in failures} == {("23514", "CheckViolation")}
    assert logged_ids(conn) == [each.id for number, each in enumerate(made) if number not in refused]
    assert_dense(conn)


@pytest.mark.parametrize(
    "change",
    [
        "'{}'",
        "'[]'",
        "event - 'id'",
        "event - 'recorded_at'",
        """event || '{"recorded_at": "yesterday, about noon"}'""",
        """event || '{"occurred_at": "infinity"}'""",
        """event || '{"outcome": "unknown"}'""",
        """event || '{"targets": "claim:7"}'""",
    ],
)
def test_an_invalid_event_inserted_by_hand_fails(conn: Connection, change: str) -> None:
    """An event that the owner inserts into the queue by hand is checked before it is appended."""
    record_and_commit(conn, made := event())
    (wrong, leaf_hash) = conn.execute(
        f"SELECT wrong::text, pgaudit.leaf_hash(wrong) FROM (SELECT {change} AS wrong FROM pgaudit.audit_jobs) made"
        if "event" in change
        else f"SELECT {change}, pgaudit.leaf_hash({change})"
    ).fetchone() or ("", b"")
    job = insert_poison(conn, wrong, leaf_hash)
    (failure,) = persist_and_commit(conn)
    assert failure["job_id"] == job
    assert failure["error_class"] == "InvalidEvent"
    assert failure["sqlstate"] == "PA001"
    assert logged_ids(conn) == [made.id]


def test_a_failure_is_recorded_in_the_transaction_of_its_batch(conn: Connection) -> None:
    """The batch schedules the retry and records the attempt; after the last attempt the job is failed."""
    no_failure: tuple[list[dict[str, Any]]] = ([{}],)
    job = insert_poison(conn)
    query = "SELECT failures FROM pgaudit.persist(%s, %s, 10, 2, interval '10 s')"
    _, worker = register_and_commit(conn)
    state = "SELECT status::text, attempts, scheduled_at > now() + interval '7 s', worker_id FROM pgaudit.audit_jobs"
    ((first,),) = conn.execute(query, [worker, fetch_and_commit(conn, worker)]).fetchone() or no_failure
    assert first["attempt"] == 1
    assert 8 <= first["retry_in"] <= 12
    assert conn.execute(state).fetchone() == ("todo", 1, True, None)
    conn.commit()
    conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now()")
    conn.commit()
    ((second,),) = conn.execute(query, [worker, fetch_and_commit(conn, worker)]).fetchone() or no_failure
    assert second["attempt"] == 2
    assert second["retry_in"] is None
    assert conn.execute(state).fetchone() == ("failed", 2, None, None)
    errors = conn.execute("SELECT job_id, attempt, error_class, sqlstate FROM pgaudit.job_error ORDER BY id").fetchall()
    assert errors == [(job, attempt, "DataCorrupted", "XX001") for attempt in (1, 2)]


def test_infrastructure_errors_give_the_whole_batch_back(conn: Connection) -> None:
    """A missing table fails the whole batch: it is rolled back, and no event is blamed."""
    record_and_commit(conn, event(1), event(2))
    conn.execute("ALTER TABLE pgaudit.event_target RENAME TO event_target_gone")
    conn.commit()
    with pytest.raises(psycopg.errors.UndefinedTable):
        persist_and_commit(conn)
    conn.rollback()
    conn.execute("ALTER TABLE pgaudit.event_target_gone RENAME TO event_target")
    conn.commit()
    assert persist_and_commit(conn) == []
    assert len(logged(conn)) == 2


def test_python_and_sql_agree_on_infrastructure(conn: Connection) -> None:
    """pgaudit.is_infrastructure and _db_errors.INFRASTRUCTURE name the same SQLSTATE classes."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    classes = [first + second for first in digits for second in digits]
    query = "SELECT c FROM unnest(%s::text[]) c WHERE pgaudit.is_infrastructure(c || '000')"
    assert {row[0] for row in conn.execute(query, [classes]).fetchall()} == INFRASTRUCTURE


def test_a_trigger_that_leaves_an_event_out_is_noticed(conn: Connection, settings: Settings) -> None:
    """An event that a trigger on the log suppresses fails and stays in the queue; no index is used twice."""
    conn.execute("""CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RETURN CASE WHEN NEW.action = 'claim.rejected' THEN NULL ELSE NEW END; END $$""")
    conn.execute("""CREATE TRIGGER leave_out BEFORE INSERT ON pgaudit.audit_log
                    FOR EACH ROW EXECUTE FUNCTION leave_out()""")
    made = [event(1), AuditEvent(action="claim.rejected"), event(2)]
    (failure,) = record_persist_and_commit(conn, *made)
    assert failure["event_id"] == str(made[1].id)
    assert failure["sqlstate"] == "27000"
    assert logged_ids(conn) == [made[0].id, made[2].id]
    assert_dense(conn)
    inline = AuditLog(settings.model_copy(update={"mode": Mode.INLINE}))
    with pytest.raises(psycopg.errors.TriggeredDataChangeViolation), conn.transaction():
        inline.record(conn, *made)
