"""Batches with many failures: each is recorded in one statement, and delays no other event by more than its batch."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.signals import job_completed, job_failed, job_retried
from pgaudit.worker.persist import persist_batch
from pgaudit.worker.procrastinate_app import AuditApp
from tests.support.audit_log import assert_dense, logged_ids
from tests.support.events import event
from tests.support.jobs import fetch_and_commit, queue_events, register_and_commit
from tests.support.queries import COUNT_JOBS, LOG_SIZE, Connection, rows_and_commit, value_and_commit
from tests.support.worker import drain

pytestmark = pytest.mark.anyio

POISON, BATCH = 20_000, 1_000
# Every second job has a correct hash, and fails because of its content.
INSERT_POISON = """
    INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
    SELECT content, CASE WHEN n %% 2 = 0 THEN pgaudit.leaf_hash(content) ELSE '\\x00' END, octet_length(content::text)
      FROM generate_series(1, %s) n, jsonb_build_object('id', 'poison-' || n) content
"""
# Counts the statements that record failures.
COUNT_FAILURE_STATEMENTS = """
    CREATE SEQUENCE failure_statements;
    CREATE FUNCTION count_failure_statement() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM nextval('public.failure_statements'); RETURN NULL; END $$;
    CREATE TRIGGER count_failure_statement AFTER INSERT ON pgaudit.job_error
        FOR EACH STATEMENT EXECUTE FUNCTION count_failure_statement();
"""
FAILURE_STATEMENTS = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM failure_statements"
ERRORS = """
    SELECT attempt, error_class, sqlstate, count(*), count(DISTINCT job_id), count(event_id)
      FROM pgaudit.job_error GROUP BY 1, 2, 3 ORDER BY 1, 2
"""
# A trigger of a DBA that raises for some events.
DBAS_TRIGGER = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.event->'data' ? 'refused' THEN
            RAISE EXCEPTION 'not this one' USING ERRCODE = 'P0001';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON pgaudit.audit_log FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def queue_poison_and_commit(conn: Connection, count: int = POISON) -> None:
    """Inserts poison jobs as the owner can, and commits."""
    conn.execute(INSERT_POISON, [count])
    conn.commit()


def record_mixed(dsn: str, count: int, refused_every: int) -> tuple[list[AuditEvent], list[AuditEvent]]:
    """Records events of which the DBA's trigger refuses every n-th; returns the accepted and the refused ones."""
    events = [
        AuditEvent(action="claim.approved", data={"refused": True} if number % refused_every == 0 else {})
        for number in range(count)
    ]
    with psycopg.connect(dsn) as conn:
        AuditLog(Settings(dsn=dsn)).record(conn, *events)
    return [each for each in events if not each.data], [each for each in events if each.data]


@contextmanager
def signals_sent() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Collects the signals of jobs inside the block, by name and details."""
    sent: list[tuple[str, dict[str, Any]]] = []

    def note(signal: str, **details: Any) -> None:
        sent.append((signal, details))

    signals = (job_completed, job_failed, job_retried)
    for signal in signals:
        signal.connect(note)
    level = logging.getLogger("pgaudit.worker").level
    logging.getLogger("pgaudit.worker").setLevel(logging.CRITICAL)  # otherwise 20,000 lines are logged
    try:
        yield sent
    finally:
        logging.getLogger("pgaudit.worker").setLevel(level)
        for signal in signals:
            signal.disconnect(note)


async def test_poison_in_front_delays_a_genuine_event_by_its_batches_alone(dsn: str, conn: Connection) -> None:
    """An event behind 20,000 poison jobs waits for 20 batches, each of which records its failures in one statement."""
    conn.execute(COUNT_FAILURE_STATEMENTS)
    queue_poison_and_commit(conn)
    queue_events(dsn)
    app = AuditApp(Settings(dsn=dsn, batch_size=BATCH))
    batches = 0
    async with app.open_async():
        registration = await app.job_manager.register()
        with signals_sent() as sent:
            async with app.connector.pool.connection() as own:
                while value_and_commit(conn, LOG_SIZE) == 0:
                    batches += 1
                    assert (await persist_batch(own, registration, None, app.settings)).taken
    assert batches <= ceil(POISON / BATCH) + 2
    assert value_and_commit(conn, FAILURE_STATEMENTS) == POISON / BATCH
    assert rows_and_commit(conn, ERRORS) == [
        (1, "DataCorrupted", "XX001", POISON / 2, POISON / 2, POISON / 2),
        (1, "InvalidEvent", "PA001", POISON / 2, POISON / 2, POISON / 2),
    ]
    retried = [details for name, details in sent if name == "job_retried"]
    assert {details["job_id"] for details in retried} == {
        job for (job,) in rows_and_commit(conn, "SELECT id FROM pgaudit.audit_jobs")
    }
    assert {details["attempt"] for details in retried} == {1}
    assert all(0 < details["retry_in"] <= 2.4 for details in retried)  # 2 s and 20 %, less what a batch took
    assert [details["count"] for name, details in sent if name == "job_completed"] == [1]
    assert {name for name, _ in sent} == {"job_retried", "job_completed"}


async def test_poison_on_its_last_attempt_fails_in_one_statement_a_batch(dsn: str, conn: Connection) -> None:
    """Jobs whose only attempt fails stay as failed, each with its error and its signal."""
    conn.execute(COUNT_FAILURE_STATEMENTS)
    queue_poison_and_commit(conn, 3_000)
    queue_events(dsn)
    with signals_sent() as sent:
        await drain(Settings(dsn=dsn, batch_size=BATCH, job_attempts=1))
    assert value_and_commit(conn, LOG_SIZE) == 1
    assert value_and_commit(conn, FAILURE_STATEMENTS) <= 4
    assert rows_and_commit(
        conn, "SELECT status::text, attempts, scheduled_at, count(*) FROM pgaudit.audit_jobs GROUP BY 1, 2, 3"
    ) == [("failed", 1, None, 3_000)]
    failed = [details for name, details in sent if name == "job_failed"]
    assert len({details["job_id"] for details in failed}) == len(failed) == 3_000
    assert {details["sqlstate"] for details in failed} == {"XX001", "PA001"}


async def test_poison_that_is_due_again_does_not_starve_fresh_events(dsn: str, conn: Connection) -> None:
    """While 20,000 retries are due, a fresh event is appended after at most one batch of them."""
    queue_poison_and_commit(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET attempts = 1, scheduled_at = now() - interval '1 minute'")
    conn.commit()
    queue_events(dsn)
    _, token = register_and_commit(conn)
    persist = "SELECT taken, cardinality(failures) FROM pgaudit.persist(%s, %s, %s, 100, '0 s')"
    assert rows_and_commit(conn, persist, [token, fetch_and_commit(conn, token), BATCH]) == [(BATCH, BATCH)]
    # After the batch of its first job a run goes on with fresh jobs.
    assert rows_and_commit(conn, persist, [token, None, BATCH]) == [(1, 0)]
    assert value_and_commit(conn, LOG_SIZE) == 1
    assert value_and_commit(conn, "SELECT count(*) FROM pgaudit.audit_jobs WHERE attempts = 2") == BATCH


async def test_a_dbas_trigger_refuses_its_events_alone(dsn: str, conn: Connection) -> None:
    """A batch is halved until each refused event is alone; all others are appended in order."""
    conn.execute(DBAS_TRIGGER)
    conn.commit()
    good, refused = record_mixed(dsn, 2_000, refused_every=100)
    with signals_sent() as sent:
        await drain(Settings(dsn=dsn, batch_size=BATCH, job_attempts=2, job_backoff_delay=0))
    assert logged_ids(conn) == [each.id for each in good]
    assert_dense(conn)
    assert rows_and_commit(conn, ERRORS) == [
        (attempt, "RaiseException", "P0001", len(refused), len(refused), len(refused)) for attempt in (1, 2)
    ]
    query = (
        "SELECT DISTINCT message, status::text FROM pgaudit.audit_jobs j JOIN pgaudit.job_error e ON e.job_id = j.id"
    )
    assert rows_and_commit(conn, query) == [("not this one", "failed")]
    failed = {details["job_id"] for name, details in sent if name == "job_failed"}
    assert failed == {job for (job,) in rows_and_commit(conn, "SELECT id FROM pgaudit.audit_jobs")}
    assert sum(details["count"] for name, details in sent if name == "job_completed") == len(good)


async def test_events_that_a_trigger_refuses_do_not_starve_fresh_ones(dsn: str, conn: Connection) -> None:
    """A worker whose retries are refused again and again appends fresh events."""
    conn.execute(DBAS_TRIGGER)
    conn.commit()
    good, refused = record_mixed(dsn, 400, refused_every=2)
    made = event()
    with signals_sent():
        await drain(
            Settings(dsn=dsn, batch_size=100, job_attempts=100, job_backoff_delay=600_000, job_backoff_max=600_000)
        )
        conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now()")
        conn.commit()
        AuditLog(Settings(dsn=dsn)).record(conn, made)
        conn.commit()
        await drain(
            Settings(dsn=dsn, batch_size=100, job_attempts=100, job_backoff_delay=600_000, job_backoff_max=600_000)
        )
    assert logged_ids(conn) == [each.id for each in [*good, made]]
    assert value_and_commit(conn, COUNT_JOBS) == len(refused)
    assert value_and_commit(conn, "SELECT max(attempts) FROM pgaudit.audit_jobs") == 2


async def test_a_trigger_that_leaves_events_out_is_found(dsn: str, conn: Connection) -> None:
    """An event that a trigger suppresses without an error is a failure, and its job stays."""
    conn.execute(DBAS_TRIGGER.replace("RAISE EXCEPTION 'not this one' USING ERRCODE = 'P0001'", "RETURN NULL"))
    conn.commit()
    good, refused = record_mixed(dsn, 100, refused_every=10)
    with signals_sent():
        await drain(Settings(dsn=dsn, job_attempts=1))
    assert logged_ids(conn) == [each.id for each in good]
    assert_dense(conn)
    assert rows_and_commit(conn, ERRORS) == [
        (1, "TriggeredDataChangeViolation", "27000", len(refused), len(refused), len(refused))
    ]
