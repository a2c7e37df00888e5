"""Persisting: from the queue into the log, each event once, without a gap."""

import random
import threading
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Mode, Settings
from pgaudit.sqlstates import INFRASTRUCTURE
from tests.postgres.trail import (
    Connection,
    event,
    is_dense,
    let_jobs_be_edited,
    logged,
    logged_ids,
    persist,
    queued_ids,
    record_and_persist,
)


def record(conn: Connection, settings: Settings, *events: AuditEvent) -> None:
    """Records and commits."""
    AuditLog(settings).record(conn, *events)
    conn.commit()


def fetch(conn: Connection, worker: int = 1) -> int | None:
    """The job that a worker is given to lead a batch."""
    row = conn.execute("SELECT id FROM pgaudit.fetch_lead(%s)", [worker]).fetchone()
    conn.commit()
    return row[0] if row else None


def persist_with(conn: Connection, lead: int | None, worker: int = 1, batch_size: int = 1_000) -> tuple[int, list[Any]]:
    """Persists a lead with its followers; how many were claimed, and the failures."""
    query = "SELECT claimed, failures FROM pgaudit.persist(%s, %s, %s)"
    row = conn.execute(query, [worker, lead, batch_size]).fetchone()
    conn.commit()
    assert row is not None
    return row[0], row[1]


def test_the_columns_are_those_of_the_event(conn: Connection, settings: Settings) -> None:
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


def test_batches_follow_each_other_without_a_gap(conn: Connection, settings: Settings) -> None:
    """In the order recorded, whatever the size of a batch; the batches and the head say the same."""
    made = [event(number) for number in range(10)]
    record(conn, settings, *made)
    for _ in range(4):
        assert persist(conn, batch_size=3) == []
    assert logged(conn) == [(number, each.id) for number, each in enumerate(made)]
    assert (is_dense(conn), queued_ids(conn)) == (True, [])
    sizes = conn.execute("SELECT count, worker_id FROM pgaudit.batch ORDER BY first_index").fetchall()
    assert sizes == [(3, 1), (3, 1), (3, 1), (1, 1)]


def test_a_lead_takes_followers_up_to_the_batch_size(conn: Connection, settings: Settings) -> None:
    """The lead is one of them; all are gone from the queue in the same transaction."""
    made = [event(number) for number in range(5)]
    record(conn, settings, *made)
    lead = fetch(conn)
    assert persist_with(conn, lead, batch_size=3) == (3, [])
    assert logged_ids(conn) == [each.id for each in made[:3]]
    assert queued_ids(conn) == [each.id for each in made[3:]]


def test_a_lead_that_is_somebody_elses_is_left_alone(conn: Connection, settings: Settings) -> None:
    """After a stall another worker may have it: the first must not go on."""
    record(conn, settings, event())
    lead = fetch(conn, worker=1)
    assert persist_with(conn, lead, worker=2) == (0, [])
    assert persist_with(conn, lead, worker=1) == (1, [])
    assert persist_with(conn, lead, worker=1) == (0, [])


def test_duplicates_are_stored_once(conn: Connection, settings: Settings) -> None:
    """Within a batch and across batches, at the head, the middle and the tail: no gap where one was dropped."""
    first, second, third = event(1), event(2), event(3)
    record(conn, settings, first, first, second, first, second)
    assert persist(conn) == []
    record(conn, settings, second, third, first)
    assert persist(conn) == []
    record(conn, settings, third)
    assert persist(conn) == []
    assert logged(conn) == [(0, first.id), (1, second.id), (2, third.id)]
    assert (is_dense(conn), queued_ids(conn)) == (True, [])


def test_the_same_id_with_other_content_is_no_duplicate(conn: Connection, settings: Settings) -> None:
    """It fails and is kept: nobody gets an event dropped by giving it the id of another."""
    made = event(1)
    other = made.model_copy(update={"reason": "another"})
    record_and_persist(conn, settings, made)
    record(conn, settings, event(2), other, event(3))
    (failure,) = persist(conn)
    assert (failure["sqlstate"], failure["event_id"]) == ("23505", str(made.id))
    assert queued_ids(conn) == [made.id]
    assert (len(logged(conn)), is_dense(conn)) == (3, True)
    row = conn.execute("SELECT event ? 'reason' FROM pgaudit.audit_log WHERE event_id = %s", [made.id]).fetchone()
    assert row == (False,)


@pytest.mark.parametrize("poison", [{0}, {6}, {2, 3}, {0, 2, 4, 6}, {0, 1, 2, 3, 4, 5, 6}])
def test_poison_fails_alone(conn: Connection, settings: Settings, poison: set[int]) -> None:
    """Wherever in the batch it is, and however many: the neighbours go through, dense and in order."""
    made = [event(number) for number in range(7)]
    record(conn, settings, *made)
    let_jobs_be_edited(conn)
    conn.execute(
        "UPDATE pgaudit.procrastinate_jobs SET args = jsonb_set(args, '{event,outcome}', 'null') WHERE id = ANY (%s)",
        [[number + 1 for number in poison]],
    )
    conn.commit()
    failures = persist(conn)
    assert {failure["job_id"] - 1 for failure in failures} == poison
    assert {failure["event_id"] for failure in failures} == {str(made[number].id) for number in poison}
    assert logged_ids(conn) == [each.id for number, each in enumerate(made) if number not in poison]
    assert len(queued_ids(conn)) == len(poison)


def test_infrastructure_errors_give_the_whole_batch_back(conn: Connection, settings: Settings) -> None:
    """An unreachable table is not the event's fault: nothing is split, nothing fails, the queue is as before."""
    record(conn, settings, event(1), event(2))
    conn.execute("ALTER TABLE pgaudit.batch RENAME TO batch_gone")
    conn.commit()
    with pytest.raises(psycopg.errors.UndefinedObject):
        persist(conn)
    conn.rollback()
    conn.execute("ALTER TABLE pgaudit.batch_gone RENAME TO batch")
    conn.commit()
    assert persist(conn) == []
    assert len(logged(conn)) == 2


def test_python_and_sql_agree_on_infrastructure(conn: Connection) -> None:
    """pgaudit.is_infrastructure holds the classes that sqlstates.INFRASTRUCTURE holds, of all there could be."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    classes = [first + second for first in digits for second in digits]
    query = "SELECT c FROM unnest(%s::text[]) c WHERE pgaudit.is_infrastructure(c || '000')"
    assert {row[0] for row in conn.execute(query, [classes]).fetchall()} == INFRASTRUCTURE


def test_a_retry_that_is_due_goes_before_fresh_jobs_and_travels_with_its_like(
    conn: Connection, settings: Settings
) -> None:
    """Waiting retries stand behind fresh jobs until their time has come; then they form a batch of their own."""
    made = [event(number) for number in range(5)]
    record(conn, settings, *made)
    conn.execute(
        """UPDATE pgaudit.procrastinate_jobs SET priority = -1, scheduled_at = now() + interval '1 hour'
            WHERE id <= 3"""
    )
    conn.commit()
    assert persist(conn) == []
    assert logged_ids(conn) == [made[3].id, made[4].id]
    assert fetch(conn) is None
    conn.execute("UPDATE pgaudit.procrastinate_jobs SET scheduled_at = now() - interval '1 s' WHERE id IN (1, 3)")
    record(conn, settings, event(9))
    lead = fetch(conn)
    assert lead == 1
    assert persist_with(conn, lead) == (2, [])
    assert logged_ids(conn)[2:] == [made[0].id, made[2].id]


def test_a_job_whose_worker_vanished_runs_alone(conn: Connection, settings: Settings) -> None:
    """It may be what killed the worker: nobody travels with it."""
    record(conn, settings, event(1), event(2), event(3))
    conn.execute("UPDATE pgaudit.procrastinate_jobs SET priority = -2, scheduled_at = now() WHERE id <= 2")
    conn.commit()
    assert persist_with(conn, fetch(conn)) == (1, [])


def test_jobs_of_other_queues_are_not_touched(conn: Connection, settings: Settings) -> None:
    """Somebody else's job in our table is neither fetched nor claimed."""
    conn.execute("""INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name, priority)
                    VALUES ('mail', 'send', 5), ('audit', 'other', 5)""")
    record(conn, settings, made := event())
    lead = fetch(conn)
    assert persist_with(conn, lead) == (1, [])
    assert fetch(conn) is None
    assert logged_ids(conn) == [made.id]


def test_workers_at_once_append_each_event_once(dsn: str, conn: Connection, settings: Settings) -> None:
    """Four workers drain four hundred events, every tenth recorded twice: dense, complete, nothing twice."""
    made = [event(number) for number in range(400)]
    for start in range(0, 400, 40):
        record(conn, settings, *made[start : start + 40], *made[start : start + 40 : 10])
    failures: list[Any] = []

    def drain(worker: int) -> None:
        with psycopg.connect(dsn) as own:
            while (lead := fetch(own, worker)) is not None:
                failures.extend(persist_with(own, lead, worker, batch_size=7)[1])

    threads = [threading.Thread(target=drain, args=(worker,)) for worker in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sorted(logged_ids(conn)) == sorted(each.id for each in made)
    assert (is_dense(conn), queued_ids(conn)) == (True, [])


LATE = """
    INSERT INTO pgaudit.audit_jobs (queue_name, task_name, args)
    SELECT 'audit', 'pgaudit.persist', jsonb_build_object('event', e, 'leaf_hash', encode(pgaudit.leaf_hash(e), 'hex'))
      FROM (SELECT %s::jsonb || '{"recorded_at": "2026-01-01T00:00:00Z"}' AS e) late
"""


def test_lags_are_counted_over_the_whole_log(conn: Connection, settings: Settings) -> None:
    """Each batch goes on where the last one ended; an event that waited for months is in the last class."""
    record_and_persist(conn, settings, event(1), event(2))
    conn.execute(LATE, [event(3).to_json()])
    assert persist(conn) == []
    query = "SELECT lags, lag_sum > '1 hour' FROM pgaudit.batch ORDER BY first_index DESC LIMIT 1"
    lags, long = conn.execute(query).fetchone() or ([], False)
    assert (sum(lags), lags[-1], long) == (3, 1, True)


def test_a_trigger_that_leaves_an_event_out_is_noticed(conn: Connection, settings: Settings) -> None:
    """Such as one of a DBA's on the log: the event stays in the queue as failed, and no index is given twice."""
    conn.execute("""CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RETURN CASE WHEN NEW.action = 'claim.rejected' THEN NULL ELSE NEW END; END $$""")
    conn.execute("""CREATE TRIGGER leave_out BEFORE INSERT ON pgaudit.audit_log
                    FOR EACH ROW EXECUTE FUNCTION leave_out()""")
    made = [event(1), AuditEvent(action="claim.rejected"), event(2)]
    (failure,) = record_and_persist(conn, settings, *made)
    assert (failure["event_id"], failure["sqlstate"]) == (str(made[1].id), "27000")
    assert (logged_ids(conn), is_dense(conn)) == ([made[0].id, made[2].id], True)
    inline = AuditLog(settings.model_copy(update={"mode": Mode.INLINE}))
    with pytest.raises(psycopg.errors.TriggeredDataChangeViolation), conn.transaction():
        inline.record(conn, *made)


def test_a_batch_is_bounded_by_bytes_too(conn: Connection, settings: Settings) -> None:
    """Large events travel few at a time: what a batch holds in memory has a bound, whatever its size in events."""
    roomy = settings.model_copy(update={"max_event_bytes": 4_000_000})
    made = [AuditEvent(action="claim.approved", data={"scan": random.randbytes(900_000).hex()}) for _ in range(6)]
    record(conn, roomy, *made)
    query = "SELECT claimed FROM pgaudit.persist(1, NULL, 1000)"
    claimed = [conn.execute(query).fetchone() for _ in range(6)]
    assert claimed[0] in {(2,), (3,), (4,)}
    assert logged_ids(conn) == [each.id for each in made]


def test_one_event_is_not_too_large_for_a_batch(conn: Connection, settings: Settings) -> None:
    """Larger than what a batch is bounded by, it travels alone."""
    roomy = settings.model_copy(update={"max_event_bytes": 16_000_000})
    large = AuditEvent(action="claim.approved", data={"scan": random.randbytes(7_000_000).hex()})
    record(conn, roomy, large, event(1))
    assert persist(conn) == []
    assert logged_ids(conn) == [large.id]
    assert persist(conn) == []
    assert (len(logged(conn)), is_dense(conn)) == (2, True)


def test_recording_nothing_inline_is_no_error(conn: Connection) -> None:
    """As in the queue."""
    conn.execute("SELECT pgaudit.record('[]', true)")
    assert logged(conn) == []


def test_a_time_that_no_driver_can_read_does_not_enter_the_log(conn: Connection) -> None:
    """Recorded by hand; whoever pages through the log would stop there for ever."""
    conn.execute("""SELECT pgaudit.record('[{"id": "01890000-0000-7000-8000-000000000000", "action": "a.b",
                                             "occurred_at": "infinity", "outcome": "success"}]')""")
    (failure,) = persist(conn)
    assert failure["sqlstate"] == "23514"
