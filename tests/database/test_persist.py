"""Persisting: batches of jobs become events of the log, in order and without a gap."""

import threading
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent
from tests.support.audit_log import assert_dense, logged, logged_ids
from tests.support.events import event, events
from tests.support.jobs import (
    fetch_and_commit,
    let_jobs_be_edited,
    persist_and_commit,
    persist_with_and_commit,
    queued_ids,
    record_and_commit,
    record_persist_and_commit,
    register_and_commit,
)
from tests.support.queries import Connection


def test_columns_are_those_of_the_event(conn: Connection) -> None:
    """A row of the log has the event's fields in columns; the target columns have the first target."""
    made = AuditEvent(
        action="claim.denied", actor="user:42", targets=["claim:7", "policy:9"], outcome="denied", tenant="acme"
    )
    record_persist_and_commit(conn, made)
    row = conn.execute("""SELECT index, event_id, occurred_at, action, outcome, actor_type, actor_id,
                                 target_type, target_id, tenant, recorded_at <= persisted_at,
                                 recorded_at = (event->>'recorded_at')::timestamptz
                            FROM pgaudit.audit_log""").fetchone()
    expected = (made.id, made.occurred_at, "claim.denied", "denied", "user", "42", "claim", "7", "acme", True, True)
    assert row == (0, *expected)


def test_further_targets_have_rows_of_their_own(conn: Connection) -> None:
    """Each further target of an event has one row in event_target, however often it is named."""
    targets = ["claim:7", "policy:9", "user:1", "policy:9", "policy:9"]
    several = AuditEvent(action="claim.denied", targets=targets)
    one, none = AuditEvent(action="claim.denied", target="claim:8"), AuditEvent(action="claim.denied")
    assert record_persist_and_commit(conn, one, several, none, several.model_copy(update={"id": one.id})) == []
    query = "SELECT type, id, index FROM pgaudit.event_target ORDER BY index, type"
    further = [("policy", "9"), ("user", "1")]
    assert conn.execute(query).fetchall() == [(*target, index) for index in (1, 3) for target in further]


def test_batches_follow_each_other_without_a_gap(conn: Connection) -> None:
    """Batches append in the order of recording, and cover the indexes without a gap."""
    made = events(10)
    record_and_commit(conn, *made)
    for _ in range(4):
        assert persist_and_commit(conn, batch_size=3) == []
    assert logged(conn) == [(number, each.id) for number, each in enumerate(made)]
    assert queued_ids(conn) == []
    assert_dense(conn)
    sizes = conn.execute("SELECT count, worker_id FROM pgaudit.batch ORDER BY first_index").fetchall()
    assert sizes == [(3, None), (3, None), (3, None), (1, None)]


def test_a_fetched_job_takes_others_up_to_the_batch_size(conn: Connection) -> None:
    """A batch has the fetched job and the next ones; all leave the queue together, and it names the worker."""
    made = events(5)
    record_and_commit(conn, *made)
    _, worker = register_and_commit(conn)
    assert persist_with_and_commit(conn, worker, fetch_and_commit(conn, worker), batch_size=3) == (3, [])
    assert logged_ids(conn) == [each.id for each in made[:3]]
    assert queued_ids(conn) == [each.id for each in made[3:]]
    same = "SELECT worker_id = pgaudit.worker_id_of(%s) FROM pgaudit.batch"
    assert conn.execute(same, [worker]).fetchall() == [(True,)]


def test_a_worker_cannot_persist_a_job_of_another_worker(conn: Connection) -> None:
    """A worker takes nothing with a job that it does not hold, such as one that was reclaimed from it."""
    record_and_commit(conn, event())
    (_, worker), (_, other) = register_and_commit(conn), register_and_commit(conn)
    job = fetch_and_commit(conn, worker)
    assert persist_with_and_commit(conn, other, job) == (0, [])
    assert persist_with_and_commit(conn, worker, job) == (1, [])
    assert persist_with_and_commit(conn, worker, job) == (0, [])


def test_due_retries_are_persisted_together_before_fresh_jobs(conn: Connection) -> None:
    """A retry waits until it is due; due retries form a batch of their own, before fresh jobs."""
    made = events(5)
    record_and_commit(conn, *made)
    _, worker = register_and_commit(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now() + interval '1 hour' WHERE id <= 3")
    conn.commit()
    assert persist_and_commit(conn) == []
    assert logged_ids(conn) == [made[3].id, made[4].id]
    assert fetch_and_commit(conn, worker) is None
    conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now() - interval '1 s' WHERE id IN (1, 3)")
    record_and_commit(conn, event(9))
    job = fetch_and_commit(conn, worker)
    assert job == 1
    assert persist_with_and_commit(conn, worker, job) == (2, [])
    assert logged_ids(conn)[2:] == [made[0].id, made[2].id]


def test_a_job_whose_worker_vanished_runs_alone(conn: Connection) -> None:
    """A job that has stalled is persisted in a batch of its own, because it may have crashed its worker."""
    record_and_commit(conn, event(1), event(2), event(3))
    conn.execute("UPDATE pgaudit.audit_jobs SET stalls = 1, scheduled_at = now() WHERE id <= 2")
    conn.commit()
    _, worker = register_and_commit(conn)
    assert persist_with_and_commit(conn, worker, fetch_and_commit(conn, worker)) == (1, [])


def test_jobs_of_other_queues_are_not_touched(conn: Connection) -> None:
    """Jobs of other queues in Procrastinate's table are neither fetched nor persisted."""
    conn.execute("""INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name, priority)
                    VALUES ('mail', 'send', 5), ('mail', 'pgaudit.persist', 5)""")
    record_and_commit(conn, made := event())
    _, worker = register_and_commit(conn)
    assert persist_with_and_commit(conn, worker, fetch_and_commit(conn, worker)) == (1, [])
    assert fetch_and_commit(conn, worker) is None
    assert logged_ids(conn) == [made.id]
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name) VALUES ('audit', 'send')")


def test_workers_at_once_append_each_event_once(dsn: str, conn: Connection) -> None:
    """Four workers at once append four hundred events, of which every tenth was recorded twice, without a gap."""
    made = events(400)
    for start in range(0, 400, 40):
        record_and_commit(conn, *made[start : start + 40], *made[start : start + 40 : 10])
    failures: list[Any] = []

    def drain() -> None:
        with psycopg.connect(dsn) as own:
            _, worker = register_and_commit(own)
            while (job := fetch_and_commit(own, worker)) is not None:
                failures.extend(persist_with_and_commit(own, worker, job, batch_size=7)[1])

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


def test_lags_are_counted_over_the_whole_log(conn: Connection) -> None:
    """Each batch continues the lag histogram of the last one; a lag of months is in the last bucket."""
    record_persist_and_commit(conn, event(1), event(2))
    conn.execute(LATE, [event(3).to_json()])
    assert persist_and_commit(conn) == []
    query = "SELECT lag_buckets, lag_total > '1 hour', late FROM pgaudit.batch ORDER BY first_index DESC LIMIT 1"
    buckets, long, late = conn.execute(query).fetchone() or ([], False, False)
    assert sum(buckets) == 3
    assert buckets[-1] == 1
    assert long
    assert late


def test_a_batch_is_bounded_by_bytes(conn: Connection) -> None:
    """Batches of large events have few jobs; an event above the bound is a batch of its own."""
    made = events(10)
    record_and_commit(conn, *made)
    let_jobs_be_edited(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET event_bytes = CASE WHEN id <= 6 THEN 6000000 ELSE 20000000 END")
    conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now() - interval '1 h' WHERE id > 8")
    taken = [conn.execute("SELECT taken FROM pgaudit.persist(NULL, NULL, 1000)").fetchone() or (0,) for _ in range(5)]
    assert [count for (count,) in taken] == [3, 3, 1, 1, 0]
    assert logged_ids(conn) == [each.id for each in made[:8]]
    retries = "SELECT cardinality(pgaudit.take_due_retries(1000))"
    assert conn.execute(retries).fetchone() == (1,)
