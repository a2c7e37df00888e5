"""The queue under a worker: which jobs it takes, in which order, and under which settings of the database."""

import asyncio
from collections.abc import Sequence

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from tests.support.audit_log import assert_dense, logged_ids
from tests.support.events import event
from tests.support.jobs import insert_poison_and_commit, queue_events
from tests.support.queries import COUNT_JOB_ERRORS, COUNT_JOBS, LOG_SIZE, Connection, rows_and_commit, value_and_commit
from tests.support.waiting import wait_until_async
from tests.support.worker import drain, working

pytestmark = pytest.mark.anyio

OUTLASTED = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock' AND clock_timestamp() - xact_start > '400ms'
"""
BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%pgaudit.persist(%'
"""
WAITING_RETRIES = """
    INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes, attempts, scheduled_at)
    SELECT '{}', '', 2, 1, now() + interval '1 hour' FROM generate_series(1, 2000)
"""


async def test_a_job_that_its_own_batch_has_deleted_is_a_success(
    dsn: str, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker whose job is gone when its run ends logs no warning."""
    queue_events(dsn, 3)
    async with working(Settings(dsn=dsn)) as worker:
        await wait_until_async("the log has 3 events", lambda: value_and_commit(conn, LOG_SIZE) == 3)
        await wait_until_async("the worker has finished its job", lambda: not worker.jobs)
    assert value_and_commit(conn, COUNT_JOBS) == 0
    assert [entry.getMessage() for entry in caplog.records if entry.levelname in {"WARNING", "ERROR"}] == []


async def test_retries_that_wait_do_not_delay_fresh_jobs(dsn: str, conn: Connection) -> None:
    """An event behind 2,000 waiting retries is appended at once."""
    conn.execute(WAITING_RETRIES)
    conn.commit()
    queue_events(dsn, 5)
    await drain(Settings(dsn=dsn))
    assert value_and_commit(conn, LOG_SIZE) == 5
    assert value_and_commit(conn, COUNT_JOBS) == 2_000


async def test_a_retry_that_is_due_comes_before_fresh_jobs(dsn: str, conn: Connection) -> None:
    """A due retry is appended before fresh jobs, however long the queue is."""
    queue_events(dsn, 30)
    due = value_and_commit(
        conn,
        """UPDATE pgaudit.audit_jobs SET attempts = 1, scheduled_at = now()
            WHERE id = (SELECT max(id) FROM pgaudit.audit_jobs) RETURNING event->>'id'""",
    )
    await drain(Settings(dsn=dsn, batch_size=10))
    assert str(logged_ids(conn)[0]) == due


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
async def test_the_default_isolation_of_the_database_does_not_matter(dsn: str, conn: Connection, level: str) -> None:
    """Two workers append each event once under any default isolation."""
    name = conn.info.dbname
    conn.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    conn.commit()
    await drain_with_two_workers(dsn, conn)


@pytest.mark.parametrize("setting", ["datestyle = 'SQL, DMY'", "client_encoding = 'LATIN1'"])
async def test_settings_of_the_database_do_not_matter(dsn: str, conn: Connection, setting: str) -> None:
    """An error that quotes text outside of the database's client encoding is recorded for its own job only."""
    queue_events(dsn)
    poison = insert_poison_and_commit(conn, '{"id": "Δ"}')
    conn.execute(f"ALTER DATABASE {conn.info.dbname} SET {setting}")
    conn.commit()
    queue_events(dsn, 50)
    await drain(Settings(dsn=dsn, job_backoff_delay=0))
    assert value_and_commit(conn, LOG_SIZE) == 51
    assert rows_and_commit(conn, "SELECT job_id, attempt FROM pgaudit.job_error") == [
        (poison, attempt) for attempt in (1, 2, 3)
    ]


@pytest.mark.parametrize("setting", ["statement_timeout", "transaction_timeout"])
async def test_a_timeout_of_the_database_does_not_end_a_batch(dsn: str, conn: Connection, setting: str) -> None:
    """Timeouts do not apply to a batch, because it would take as long the next time."""
    if conn.info.server_version < 170_000:  # the first version with transaction_timeout
        setting = "statement_timeout"
    queue_events(dsn)
    conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute(f"ALTER DATABASE {conn.info.dbname} SET {setting} = '250ms'")
        async with working(Settings(dsn=dsn)):
            await wait_until_async(
                "the batch has run for longer than the timeout", lambda: value_and_commit(other, OUTLASTED)
            )
            conn.rollback()
            await wait_until_async("the log has 1 event", lambda: value_and_commit(other, LOG_SIZE) == 1)
        assert value_and_commit(other, COUNT_JOB_ERRORS) == 0


async def test_functions_that_forbid_sequential_scans_switch_jit_off(conn: Connection) -> None:
    """Before PostgreSQL 18, jit would compile such a plan at every call, because its cost is prohibitive."""
    query = """SELECT proname, proconfig @> ARRAY['jit=off'] FROM pg_proc
                WHERE pronamespace = 'pgaudit'::regnamespace AND proconfig @> ARRAY['enable_seqscan=off']"""
    found = dict(rows_and_commit(conn, query))
    assert {"fetch_job", "persist", "advance_watermark", "requeue_skipped_jobs"} <= found.keys()
    assert all(found.values()), found


async def test_a_worker_that_keeps_up_appends_in_the_order_of_recording(dsn: str, conn: Connection) -> None:
    """A second batch never overtakes the first, however often the worker polls."""
    recorded = [event(number) for number in range(300)]
    async with working(Settings(dsn=dsn, poll_interval=0.005)):
        await asyncio.to_thread(record_singly, dsn, recorded)
        await wait_until_async("the log has 300 events", lambda: value_and_commit(conn, LOG_SIZE) == 300)
    assert logged_ids(conn) == [each.id for each in recorded]


def record_singly(dsn: str, events: Sequence[AuditEvent]) -> None:
    """Records each event in a transaction of its own, and commits it."""
    with psycopg.connect(dsn) as conn:
        for each in events:
            AuditLog(Settings(dsn=dsn)).record(conn, each)
            conn.commit()


async def test_two_workers_keep_the_index_dense(dsn: str, conn: Connection) -> None:
    """Two workers leave no gap and use no index twice, with failed jobs between the events."""
    poison = {insert_poison_and_commit(conn) for _ in range(3)}
    await drain_with_two_workers(dsn, conn)
    failed = {job for (job,) in rows_and_commit(conn, "SELECT job_id FROM pgaudit.failed_jobs")}
    assert failed <= poison


async def drain_with_two_workers(dsn: str, conn: Connection) -> None:
    """Records 600 events while two workers persist them; fails unless the log is dense."""
    settings = Settings(dsn=dsn, batch_size=7, job_backoff_delay=0, poll_interval=0.02, linger=0, stalled_after=2)
    async with working(settings), working(settings):
        for _ in range(20):
            await asyncio.to_thread(queue_events, dsn, 30)
        await wait_until_async("the log has 600 events", lambda: value_and_commit(conn, LOG_SIZE) == 600)
        await wait_until_async(
            "every job has ended", lambda: value_and_commit(conn, f"{COUNT_JOBS} WHERE status <> 'failed'") == 0
        )
    assert_dense(conn)
    assert len(set(logged_ids(conn))) == 600
    workers = value_and_commit(conn, "SELECT count(DISTINCT worker_id) FROM pgaudit.batch")
    assert workers == 2


async def test_functions_need_no_search_path(dsn: str, conn: Connection) -> None:
    """Our functions and Procrastinate's use their own tables under any search_path."""
    conn.execute("CREATE TABLE public.procrastinate_jobs (id bigint)")
    conn.execute("CREATE TABLE public.procrastinate_workers (id bigint)")
    conn.commit()
    queue_events(dsn, 2)
    settings = Settings(dsn=f"{dsn} options='-c search_path=public'")
    await drain(settings)
    assert value_and_commit(conn, LOG_SIZE) == 2
    with psycopg.connect(settings.dsn) as own:
        assert own.execute("SELECT pgaudit.procrastinate_prune_stalled_workers_v1(30)").fetchall() == []
        register = "SELECT pgaudit.procrastinate_register_worker_v1()"
        assert own.execute(register).fetchone() is not None


async def test_an_aborted_job_is_released(dsn: str, conn: Connection) -> None:
    """A job whose task Procrastinate cancels is released and persisted later."""
    queue_events(dsn)
    conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
    with psycopg.connect(dsn, autocommit=True) as other:
        # If the release gets no connection in time, as on a busy machine, two rounds of maintenance find the job: 4 s.
        async with working(Settings(dsn=dsn, stalled_after=8)) as worker:
            await wait_until_async("the batch waits for the end of the log", lambda: value_and_commit(other, BLOCKED))
            (job,) = worker.jobs
            (task,) = [task for task in asyncio.all_tasks() if task.get_name() == f"process job pgaudit.persist[{job}]"]
            task.cancel()
            await wait_until_async("the aborted task ends", task.done)
            conn.rollback()
            await wait_until_async("the log has 1 event", lambda: value_and_commit(other, LOG_SIZE) == 1)
        assert value_and_commit(other, COUNT_JOB_ERRORS) == 0


async def test_an_event_that_is_recorded_twice_is_logged_once(dsn: str, conn: Connection) -> None:
    """The second job with the same event succeeds, and is noted as a sighting."""
    made = event()
    AuditLog(Settings(dsn=dsn)).record(conn, made, made)
    conn.commit()
    await drain(Settings(dsn=dsn))
    assert logged_ids(conn) == [made.id]
    assert value_and_commit(conn, COUNT_JOBS) == 0
    assert rows_and_commit(conn, "SELECT event_id, index FROM pgaudit.event_sighting") == [(made.id, 0)]
