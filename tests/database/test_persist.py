"""Persisting: from the queue into the log, without a gap, and what fails fails alone."""

import threading
from typing import Any
from uuid import UUID

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Mode, Settings
from pgaudit._db_errors import INFRASTRUCTURE
from tests.postgres.trail import (
    Connection,
    assert_dense,
    event,
    insert_poison,
    let_jobs_be_edited,
    logged,
    logged_ids,
    persist,
    queued_ids,
    record_and_persist,
    register,
)

REFUSE_REJECTED = "ALTER TABLE pgaudit.audit_log ADD CONSTRAINT none_rejected CHECK (action <> 'claim.rejected')"


def record(conn: Connection, settings: Settings, *events: AuditEvent) -> None:
    """Records and commits."""
    AuditLog(settings).record(conn, *events)
    conn.commit()


def fetch(conn: Connection, worker: UUID) -> int | None:
    """The job that a worker is given."""
    row = conn.execute("SELECT job_id FROM pgaudit.fetch_job(%s)", [worker]).fetchone()
    conn.commit()
    return row[0] if row else None


def persist_with(conn: Connection, worker: UUID, job: int | None, batch_size: int = 1_000) -> tuple[int, list[Any]]:
    """Persists a job with those that travel with it; how many were taken, and the failures."""
    query = "SELECT taken, failures FROM pgaudit.persist(%s, %s, %s)"
    row = conn.execute(query, [worker, job, batch_size]).fetchone()
    conn.commit()
    assert row is not None
    return row[0], row[1]


def test_columns_are_those_of_the_event(conn: Connection, settings: Settings) -> None:
    """What is asked for often is in columns; the primary target is the first."""
    made = AuditEvent(
        action="claim.denied", actor="user:42", targets=["claim:7", "policy:9"], outcome="denied", tenant="acme"
    )
    record_and_persist(conn, settings, made)
    row = conn.execute("""SELECT index, event_id, occurred_at, action, outcome, actor_type, actor_id,
                                 target_type, target_id, tenant, recorded_at <= persisted_at,
                                 recorded_at = (event->>'recorded_at')::timestamptz
                            FROM pgaudit.audit_log""").fetchone()
    expected = (made.id, made.occurred_at, "claim.denied", "denied", "user", "42", "claim", "7", "acme", True, True)
    assert row == (0, *expected)


def test_further_targets_have_rows_of_their_own(conn: Connection, settings: Settings) -> None:
    """Each of an event's second and further targets once, however often it is named; none for a single target."""
    targets = ["claim:7", "policy:9", "user:1", "policy:9", "policy:9"]
    several = AuditEvent(action="claim.denied", targets=targets)
    one, none = AuditEvent(action="claim.denied", target="claim:8"), AuditEvent(action="claim.denied")
    assert record_and_persist(conn, settings, one, several, none, several.model_copy(update={"id": one.id})) == []
    query = "SELECT type, id, index FROM pgaudit.event_target ORDER BY index, type"
    further = [("policy", "9"), ("user", "1")]
    assert conn.execute(query).fetchall() == [(*target, index) for index in (1, 3) for target in further]


def test_batches_follow_each_other_without_a_gap(conn: Connection, settings: Settings) -> None:
    """In the order recorded, whatever the size of a batch; the batches and the end say the same."""
    made = [event(number) for number in range(10)]
    record(conn, settings, *made)
    for _ in range(4):
        assert persist(conn, batch_size=3) == []
    assert logged(conn) == [(number, each.id) for number, each in enumerate(made)]
    assert queued_ids(conn) == []
    assert_dense(conn)
    sizes = conn.execute("SELECT count, worker_id FROM pgaudit.batch ORDER BY first_index").fetchall()
    assert sizes == [(3, None), (3, None), (3, None), (1, None)]


def test_a_fetched_job_takes_others_up_to_the_batch_size(conn: Connection, settings: Settings) -> None:
    """The job is one of them; all leave the queue in the same transaction, and the batch names the worker."""
    made = [event(number) for number in range(5)]
    record(conn, settings, *made)
    worker = register(conn)
    assert persist_with(conn, worker, fetch(conn, worker), batch_size=3) == (3, [])
    assert logged_ids(conn) == [each.id for each in made[:3]]
    assert queued_ids(conn) == [each.id for each in made[3:]]
    same = "SELECT worker_id = pgaudit.worker_id_of(%s) FROM pgaudit.batch"
    assert conn.execute(same, [worker]).fetchall() == [(True,)]


def test_worker_cannot_persist_a_job_of_another_worker(conn: Connection, settings: Settings) -> None:
    """After a stall another worker may have it: the first must not go on."""
    record(conn, settings, event())
    worker, other = register(conn), register(conn)
    job = fetch(conn, worker)
    assert persist_with(conn, other, job) == (0, [])
    assert persist_with(conn, worker, job) == (1, [])
    assert persist_with(conn, worker, job) == (0, [])


@pytest.mark.parametrize("poison", [{0}, {6}, {2, 3}, {0, 2, 4, 6}, {0, 1, 2, 3, 4, 5, 6}])
def test_a_job_changed_in_the_queue_fails_alone(conn: Connection, settings: Settings, poison: set[int]) -> None:
    """Wherever in the batch it is, and however many: the others go through, dense and in order."""
    made = [event(number) for number in range(7)]
    record(conn, settings, *made)
    let_jobs_be_edited(conn)
    conn.execute(
        "UPDATE pgaudit.audit_jobs SET event = jsonb_set(event, '{outcome}', 'null') WHERE id = ANY (%s)",
        [[number + 1 for number in poison]],
    )
    conn.commit()
    failures = persist(conn)
    assert {failure["job_id"] - 1 for failure in failures} == poison
    assert {failure["event_id"] for failure in failures} == {str(made[number].id) for number in poison}
    assert {failure["sqlstate"] for failure in failures} == {"XX001"}
    assert logged_ids(conn) == [each.id for number, each in enumerate(made) if number not in poison]
    assert len(queued_ids(conn)) == len(poison)
    assert_dense(conn)


@pytest.mark.parametrize("refused", [{0}, {6}, {2, 3}, {0, 2, 4, 6}, {0, 1, 2, 3, 4, 5, 6}])
def test_an_event_that_the_log_refuses_fails_alone(conn: Connection, settings: Settings, refused: set[int]) -> None:
    """Such as for a CHECK that a DBA has added: the others go through, dense and in order."""
    conn.execute(REFUSE_REJECTED)
    made = [AuditEvent(action=f"claim.{'rejected' if number in refused else 'approved'}") for number in range(7)]
    failures = record_and_persist(conn, settings, *made)
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
def test_job_that_goes_around_the_door_is_refused(conn: Connection, settings: Settings, change: str) -> None:
    """An event that the owner inserts by hand is checked before it enters the log, and the others go through."""
    record(conn, settings, made := event())
    (wrong, leaf_hash) = conn.execute(
        f"SELECT wrong::text, pgaudit.leaf_hash(wrong) FROM (SELECT {change} AS wrong FROM pgaudit.audit_jobs) made"
        if "event" in change
        else f"SELECT {change}, pgaudit.leaf_hash({change})"
    ).fetchone() or ("", b"")
    job = insert_poison(conn, wrong, leaf_hash)
    (failure,) = persist(conn)
    assert (failure["job_id"], failure["error_class"], failure["sqlstate"]) == (job, "InvalidEvent", "PA001")
    assert logged_ids(conn) == [made.id]


def test_failure_is_settled_with_the_batch(conn: Connection) -> None:
    """The retry is scheduled, the attempt written down, and after the last one the job stays as failed."""
    no_failure: tuple[list[dict[str, Any]]] = ([{}],)
    job = insert_poison(conn)
    query = "SELECT failures FROM pgaudit.persist(%s, %s, 10, 2, interval '10 s')"
    worker = register(conn)
    state = "SELECT status::text, attempts, scheduled_at > now() + interval '7 s', worker_id FROM pgaudit.audit_jobs"
    ((first,),) = conn.execute(query, [worker, fetch(conn, worker)]).fetchone() or no_failure
    assert (first["attempt"], 8 <= first["retry_in"] <= 12) == (1, True)
    assert conn.execute(state).fetchone() == ("todo", 1, True, None)
    conn.commit()
    conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now()")
    conn.commit()
    ((second,),) = conn.execute(query, [worker, fetch(conn, worker)]).fetchone() or no_failure
    assert (second["attempt"], second["retry_in"]) == (2, None)
    assert conn.execute(state).fetchone() == ("failed", 2, None, None)
    errors = conn.execute("SELECT job_id, attempt, error_class, sqlstate FROM pgaudit.job_error ORDER BY id").fetchall()
    assert errors == [(job, attempt, "DataCorrupted", "XX001") for attempt in (1, 2)]


def test_infrastructure_errors_give_the_whole_batch_back(conn: Connection, settings: Settings) -> None:
    """An unreachable table is not the event's fault: nothing is split, nothing fails, the queue is as before."""
    record(conn, settings, event(1), event(2))
    conn.execute("ALTER TABLE pgaudit.event_target RENAME TO event_target_gone")
    conn.commit()
    with pytest.raises(psycopg.errors.UndefinedTable):
        persist(conn)
    conn.rollback()
    conn.execute("ALTER TABLE pgaudit.event_target_gone RENAME TO event_target")
    conn.commit()
    assert persist(conn) == []
    assert len(logged(conn)) == 2


def test_python_and_sql_agree_on_infrastructure(conn: Connection) -> None:
    """pgaudit.is_infrastructure holds the classes that sqlstates.INFRASTRUCTURE holds, of all there could be."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    classes = [first + second for first in digits for second in digits]
    query = "SELECT c FROM unnest(%s::text[]) c WHERE pgaudit.is_infrastructure(c || '000')"
    assert {row[0] for row in conn.execute(query, [classes]).fetchall()} == INFRASTRUCTURE


def test_due_retries_go_before_fresh_jobs_and_travel_together(conn: Connection, settings: Settings) -> None:
    """Waiting retries stand behind fresh jobs until their time has come; then they form a batch of their own."""
    made = [event(number) for number in range(5)]
    record(conn, settings, *made)
    worker = register(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now() + interval '1 hour' WHERE id <= 3")
    conn.commit()
    assert persist(conn) == []
    assert logged_ids(conn) == [made[3].id, made[4].id]
    assert fetch(conn, worker) is None
    conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now() - interval '1 s' WHERE id IN (1, 3)")
    record(conn, settings, event(9))
    job = fetch(conn, worker)
    assert job == 1
    assert persist_with(conn, worker, job) == (2, [])
    assert logged_ids(conn)[2:] == [made[0].id, made[2].id]


def test_a_job_whose_worker_vanished_runs_alone(conn: Connection, settings: Settings) -> None:
    """It may be what killed the worker: no other job travels with it."""
    record(conn, settings, event(1), event(2), event(3))
    conn.execute("UPDATE pgaudit.audit_jobs SET stalls = 1, scheduled_at = now() WHERE id <= 2")
    conn.commit()
    worker = register(conn)
    assert persist_with(conn, worker, fetch(conn, worker)) == (1, [])


def test_jobs_of_other_queues_are_not_touched(conn: Connection, settings: Settings) -> None:
    """Another application's job in Procrastinate's table is neither fetched nor taken along."""
    conn.execute("""INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name, priority)
                    VALUES ('mail', 'send', 5), ('mail', 'pgaudit.persist', 5)""")
    record(conn, settings, made := event())
    worker = register(conn)
    assert persist_with(conn, worker, fetch(conn, worker)) == (1, [])
    assert fetch(conn, worker) is None
    assert logged_ids(conn) == [made.id]
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name) VALUES ('audit', 'send')")


def test_workers_at_once_append_each_event_once(dsn: str, conn: Connection, settings: Settings) -> None:
    """Four workers drain four hundred events, every tenth recorded twice: dense, complete, nothing twice."""
    made = [event(number) for number in range(400)]
    for start in range(0, 400, 40):
        record(conn, settings, *made[start : start + 40], *made[start : start + 40 : 10])
    failures: list[Any] = []

    def drain() -> None:
        with psycopg.connect(dsn) as own:
            worker = register(own)
            while (job := fetch(own, worker)) is not None:
                failures.extend(persist_with(own, worker, job, batch_size=7)[1])

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sorted(logged_ids(conn)) == sorted(each.id for each in made)
    assert queued_ids(conn) == []
    assert_dense(conn)
    assert conn.execute("SELECT count(*) FROM pgaudit.event_sighting").fetchone() == (40,)


LATE = """
    INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
    SELECT e, pgaudit.leaf_hash(e), 500
      FROM (SELECT %s::jsonb || '{"recorded_at": "2026-01-01T00:00:00Z"}' AS e) late
"""


def test_lags_are_counted_over_the_whole_log(conn: Connection, settings: Settings) -> None:
    """Each batch goes on where the last one ended; an event that waited for months is in the last bucket."""
    record_and_persist(conn, settings, event(1), event(2))
    conn.execute(LATE, [event(3).to_json()])
    assert persist(conn) == []
    query = "SELECT lag_buckets, lag_total > '1 hour', late FROM pgaudit.batch ORDER BY first_index DESC LIMIT 1"
    buckets, long, late = conn.execute(query).fetchone() or ([], False, False)
    assert (sum(buckets), buckets[-1], long, late) == (3, 1, True, True)


def test_a_trigger_that_leaves_an_event_out_is_noticed(conn: Connection, settings: Settings) -> None:
    """Such as one of a DBA's on the log: the event stays in the queue as failed, and no index is given twice."""
    conn.execute("""CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RETURN CASE WHEN NEW.action = 'claim.rejected' THEN NULL ELSE NEW END; END $$""")
    conn.execute("""CREATE TRIGGER leave_out BEFORE INSERT ON pgaudit.audit_log
                    FOR EACH ROW EXECUTE FUNCTION leave_out()""")
    made = [event(1), AuditEvent(action="claim.rejected"), event(2)]
    (failure,) = record_and_persist(conn, settings, *made)
    assert (failure["event_id"], failure["sqlstate"]) == (str(made[1].id), "27000")
    assert logged_ids(conn) == [made[0].id, made[2].id]
    assert_dense(conn)
    inline = AuditLog(settings.model_copy(update={"mode": Mode.INLINE}))
    with pytest.raises(psycopg.errors.TriggeredDataChangeViolation), conn.transaction():
        inline.record(conn, *made)


def test_a_batch_is_bounded_by_bytes_too(conn: Connection, settings: Settings) -> None:
    """Large events travel few at a time, retries too; one that is larger than the bound travels alone."""
    made = [event(number) for number in range(10)]
    record(conn, settings, *made)
    let_jobs_be_edited(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET event_bytes = CASE WHEN id <= 6 THEN 6000000 ELSE 20000000 END")
    conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now() - interval '1 h' WHERE id > 8")
    taken = [conn.execute("SELECT taken FROM pgaudit.persist(NULL, NULL, 1000)").fetchone() or (0,) for _ in range(5)]
    assert [count for (count,) in taken] == [3, 3, 1, 1, 0]
    assert logged_ids(conn) == [each.id for each in made[:8]]
    retries = "SELECT cardinality(pgaudit.take_due_retries(1000))"
    assert conn.execute(retries).fetchone() == (1,)
