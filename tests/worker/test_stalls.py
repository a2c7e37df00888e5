"""Jobs whose worker is gone, and jobs that a living worker has lost sight of."""

from collections.abc import Generator

import psycopg
import pytest

from pgaudit import Settings, stats
from tests.worker.inside import record, running_app, until
from tests.worker.queue import fetch, insert_poison, register, rows, silence, value

pytestmark = pytest.mark.anyio
CLAIM = "UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = %s"
STATE = "SELECT status::text, stalls, attempts, worker_id FROM pgaudit.audit_jobs"
RECLAIM = "SELECT * FROM pgaudit.reclaim_stalled_jobs()"


@pytest.fixture
def watcher(dsn: str) -> Generator[psycopg.Connection]:
    """A connection that sees each change at once."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def impatient(settings: Settings, **changes: object) -> Settings:
    """Settings of a worker that makes its rounds often."""
    return settings.model_copy(update={"stalled_after": 1.0, "job_backoff_delay": 0, **changes})


def vanish(conn: psycopg.Connection, max_stalls: int = 2) -> int:
    """Lets a worker take every job, and vanish without a word; returns its number."""
    number, _ = register(conn, max_stalls=max_stalls)
    conn.execute(CLAIM, [number])
    silence(conn, number)
    return number


async def test_a_stalled_job_is_reclaimed_and_persisted(watcher: psycopg.Connection, settings: Settings) -> None:
    """The next worker finds the job of a stalled one, notes the stall, and appends the event."""
    record(watcher)
    vanished = vanish(watcher)
    assert rows(watcher, "SELECT worker_id FROM pgaudit.stalled_jobs") == [(vanished,)]
    async with running_app(impatient(settings)):
        await until(lambda: stats.queue_stats(watcher)[0].completed == 1)
    assert rows(watcher, "SELECT error_class, attempt FROM pgaudit.job_error") == [("JobStalled", 1)]


async def test_a_job_without_any_worker_is_reclaimed(watcher: psycopg.Connection, settings: Settings) -> None:
    """A running job whose worker was deleted counts as stalled."""
    record(watcher)
    vanished = vanish(watcher)
    watcher.execute("DELETE FROM pgaudit.procrastinate_workers WHERE id = %s", [vanished])
    assert rows(watcher, STATE) == [("doing", 0, 0, None)]
    async with running_app(impatient(settings)):
        await until(lambda: stats.queue_stats(watcher)[0].completed == 1)
    assert rows(watcher, "SELECT message FROM pgaudit.job_error") == [
        ("worker unknown vanished while it ran this job (stall 1 of at most 5)",)
    ]


async def test_a_job_that_stalls_too_often_fails(watcher: psycopg.Connection) -> None:
    """An event that kills its workers cannot kill them for ever; until it fails it runs alone."""
    record(watcher, 3)
    for stall in range(1, 3):
        vanish(watcher)
        watcher.execute(RECLAIM)
        assert set(watcher.execute(STATE)) == {("todo", stall, 0, None)}
    _, token = register(watcher)
    job = fetch(watcher, token)
    assert value(watcher, "SELECT taken FROM pgaudit.persist(%s, %s, 1000)", [token, job]) == 1
    vanish(watcher)
    watcher.execute(RECLAIM)
    assert {state[0] for state in watcher.execute(STATE)} == {"failed"}
    assert {job.error_class for job in stats.failed_jobs(watcher)} == {"JobStalled"}


async def test_a_job_is_reclaimed_by_one_of_several_workers(dsn: str, watcher: psycopg.Connection) -> None:
    """While one worker makes its round the others get nothing, and do not wait."""
    record(watcher)
    vanish(watcher)
    with psycopg.connect(dsn) as other:
        assert len(other.execute(RECLAIM).fetchall()) == 1
        assert watcher.execute(RECLAIM).fetchall() == []
    assert watcher.execute(RECLAIM).fetchall() == []


async def test_a_role_without_rights_cannot_keep_jobs_from_being_reclaimed(watcher: psycopg.Connection) -> None:
    """No function of pgaudit depends on an advisory lock, which any role may hold."""
    ours = "SELECT proname FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace"
    assert rows(watcher, f"{ours} AND prosrc LIKE '%advisory%lock%(%'") == []


async def test_a_job_lost_by_a_living_worker_is_found(watcher: psycopg.Connection, settings: Settings) -> None:
    """A worker notices a job that it is said to run and does not: the end of its run could not be saved."""
    async with running_app(impatient(settings, poll_interval=0.05)) as app:
        with watcher.transaction():
            watcher.execute("LOCK TABLE pgaudit.audit_jobs IN SHARE ROW EXCLUSIVE MODE")
            watcher.execute(
                """INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes, status, worker_id)
                   VALUES ('{}', '', 2, 'doing', %s)""",
                [app.job_manager.worker_id],
            )
        await until(lambda: value(watcher, "SELECT count(*) FROM pgaudit.job_error") == 3)
    assert {state[0] for state in watcher.execute(STATE)} == {"failed"}, "it ran, three times, and failed by itself"


async def test_a_worker_pruned_while_it_lives_registers_again(watcher: psycopg.Connection, settings: Settings) -> None:
    """A living worker whose row is gone gets a new number and a new token, and goes on working."""
    async with running_app(impatient(settings)) as app:
        before = app.job_manager.state.registration
        watcher.execute("DELETE FROM pgaudit.procrastinate_workers")
        await until(lambda: len(stats.worker_stats(watcher)) == 1)
        await until(lambda: app.job_manager.state.registration != before)
        after = app.job_manager.state.registration
        assert before
        assert after
        assert (after.id > before.id, after.token != before.token) == (True, True)
        assert [worker.worker_id for worker in stats.worker_stats(watcher)] == [after.id]
        record(watcher)
        await until(lambda: stats.queue_stats(watcher)[0].completed == 1)
        assert rows(watcher, "SELECT worker_id FROM pgaudit.batch") == [(after.id,)]
    assert stats.worker_stats(watcher) == []


async def test_a_worker_pruned_while_it_runs_a_job_persists_it_once(
    dsn: str, watcher: psycopg.Connection, settings: Settings
) -> None:
    """A worker that was taken for dead while its batch waited loses nothing and appends nothing twice."""
    with psycopg.connect(dsn) as holder:
        holder.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        async with running_app(impatient(settings)) as app:
            before = app.job_manager.worker_id
            job = insert_poison(watcher)
            record(watcher, 3)
            await until(lambda: job in app.job_manager.state.jobs)
            with watcher.transaction():
                # As if it had sent no heartbeat for a day: the job is unlinked once the batch has ended.
                watcher.execute("ALTER TABLE pgaudit.procrastinate_workers DISABLE TRIGGER unlink_deleted_workers")
                watcher.execute("DELETE FROM pgaudit.procrastinate_workers")
                watcher.execute("ALTER TABLE pgaudit.procrastinate_workers ENABLE TRIGGER unlink_deleted_workers")
            await until(lambda: app.job_manager.worker_id not in {before, None})
            holder.rollback()
            await until(lambda: value(watcher, "SELECT count(*) FROM pgaudit.failed_jobs") == 1)
            await until(lambda: stats.queue_stats(watcher)[0].completed == 3)
    assert rows(watcher, STATE) == [("failed", 0, 3, None)]


async def test_a_worker_whose_job_was_taken_over_changes_nothing(watcher: psycopg.Connection) -> None:
    """A worker persists, fails and releases only jobs that it holds itself."""
    record(watcher)
    (holder, own), (_, other) = register(watcher), register(watcher)
    job = fetch(watcher, own)
    assert value(watcher, "SELECT taken FROM pgaudit.persist(%s, %s, 10)", [other, job]) == 0
    record_failure = "SELECT pgaudit.record_failure(%s, %s, 0, true, NULL, 'E', NULL, 'm', NULL)"
    assert value(watcher, record_failure, [job, other]) is False
    assert value(watcher, "SELECT pgaudit.release_jobs(ARRAY[%s::bigint], %s)", [job, other]) == []
    assert rows(watcher, STATE) == [("doing", 0, 0, holder)]
