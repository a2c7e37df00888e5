"""Jobs whose worker is gone, and jobs that a living worker has lost sight of."""

from collections.abc import Generator

import psycopg
import pytest

from pgaudit import Settings, stats
from tests.worker.inside import record, running_app, until

pytestmark = pytest.mark.anyio
CLAIM = "UPDATE pgaudit.procrastinate_jobs SET status = 'doing', worker_id = %s"
STATE = "SELECT status::text, priority, attempts, worker_id FROM pgaudit.procrastinate_jobs"


@pytest.fixture
def watcher(dsn: str) -> Generator[psycopg.Connection]:
    """A connection that sees each change at once."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def impatient(settings: Settings, **changes: object) -> Settings:
    """Settings of a worker that calls another one silent after a second."""
    return settings.model_copy(update={"stalled_after": 1.0, "job_backoff_delay": 0, **changes})


def vanish(conn: psycopg.Connection) -> int:
    """Lets a worker take every job, and vanish without a word; its number."""
    (worker_id,) = conn.execute("SELECT pgaudit.procrastinate_register_worker_v1()").fetchone() or (0,)
    conn.execute("UPDATE pgaudit.procrastinate_workers SET last_heartbeat = now() - interval '1 minute'")
    conn.execute(CLAIM, [worker_id])
    return int(worker_id)


async def test_a_stalled_job_is_reclaimed_and_persisted(watcher: psycopg.Connection, settings: Settings) -> None:
    """The next worker finds the job of a silent one, notes the stall, and appends the event."""
    record(watcher)
    vanish(watcher)
    assert len(watcher.execute("SELECT * FROM pgaudit.stalled_jobs").fetchall()) == 1
    async with running_app(impatient(settings)):
        await until(lambda: stats.queue_stats(watcher)[0].completed == 1)
    assert watcher.execute("SELECT error_class, attempt FROM pgaudit.job_error").fetchall() == [("JobStalled", 1)]


async def test_a_job_without_any_worker_is_reclaimed(watcher: psycopg.Connection, settings: Settings) -> None:
    """So is a running job whose worker is forgotten."""
    record(watcher)
    watcher.execute(CLAIM, [None])
    async with running_app(impatient(settings)):
        await until(lambda: stats.queue_stats(watcher)[0].completed == 1)


async def test_a_job_that_stalls_too_often_fails(watcher: psycopg.Connection) -> None:
    """An event that kills its workers cannot kill them for ever; until then it runs alone."""
    record(watcher, 3)
    watcher.execute("DELETE FROM pgaudit.procrastinate_workers")
    for stall in range(1, 3):
        vanish(watcher)
        watcher.execute("SELECT pgaudit.reclaim_stalled('1 s', 2)")
        assert set(watcher.execute(STATE)) == {("todo", -1 - stall, 0, None)}
    (lead,) = watcher.execute("SELECT id FROM pgaudit.fetch_lead(77)").fetchone() or (0,)
    assert watcher.execute("SELECT claimed FROM pgaudit.persist(77, %s, 1000)", [lead]).fetchone() == (1,)
    vanish(watcher)
    watcher.execute("SELECT pgaudit.reclaim_stalled('1 s', 2)")
    assert {state[0] for state in watcher.execute(STATE)} == {"failed"}
    assert {job.error_class for job in stats.failed_jobs(watcher)} == {"JobStalled"}


async def test_a_job_is_reclaimed_by_one_of_several_workers(dsn: str, watcher: psycopg.Connection) -> None:
    """While one makes its round the others get nothing, and do not wait."""
    record(watcher)
    vanish(watcher)
    with psycopg.connect(dsn) as other:
        assert len(other.execute("SELECT pgaudit.reclaim_stalled('1 s', 2)").fetchall()) == 1
        assert watcher.execute("SELECT pgaudit.reclaim_stalled('1 s', 2)").fetchall() == []
    assert watcher.execute("SELECT pgaudit.reclaim_stalled('1 s', 2)").fetchall() == []


async def test_a_role_without_rights_cannot_keep_jobs_from_being_reclaimed(
    dsn: str, watcher: psycopg.Connection
) -> None:
    """Advisory locks need none, so nothing depends on them."""
    record(watcher)
    vanish(watcher)
    with psycopg.connect(dsn) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('pgaudit.reclaim_stalled'))")
        assert len(watcher.execute("SELECT pgaudit.reclaim_stalled('1 s', 2)").fetchall()) == 1


async def test_a_job_lost_by_a_living_worker_is_found(watcher: psycopg.Connection, settings: Settings) -> None:
    """A job is left running when its end could not be saved; its own worker notices that it does not run it."""
    async with running_app(impatient(settings, poll_interval=0.05)) as app:
        with watcher.transaction():
            record_in = watcher
            record_in.execute(
                """INSERT INTO pgaudit.procrastinate_jobs (queue_name, task_name, status, worker_id)
                                 VALUES ('audit', 'pgaudit.persist', 'doing', %s)""",
                [app.job_manager.worker_id],
            )
        await until(lambda: watcher.execute("SELECT count(*) FROM pgaudit.job_error").fetchone() == (3,))
    assert {state[0] for state in watcher.execute(STATE)} == {"failed"}, "it ran, three times, and failed by itself"


async def test_a_worker_pruned_while_it_lives_comes_back(watcher: psycopg.Connection, settings: Settings) -> None:
    """Its next heartbeat restores its row; it goes on working."""
    async with running_app(impatient(settings)):
        watcher.execute("DELETE FROM pgaudit.procrastinate_workers")
        await until(lambda: len(stats.worker_stats(watcher)) == 1)
        record(watcher)
        await until(lambda: stats.queue_stats(watcher)[0].completed == 1)
    assert stats.worker_stats(watcher) == []


async def test_a_worker_whose_job_was_taken_over_changes_nothing(watcher: psycopg.Connection) -> None:
    """persist and settle_failure act only for the worker that holds the job."""
    record(watcher)
    watcher.execute(CLAIM, [1])
    (job,) = watcher.execute("SELECT id FROM pgaudit.procrastinate_jobs").fetchone() or (0,)
    assert watcher.execute("SELECT claimed FROM pgaudit.persist(2, %s, 10)", [job]).fetchone() == (0,)
    settle = "SELECT pgaudit.settle_failure(%s, 2, 0, true, NULL, 'E', NULL, 'm', NULL)"
    assert watcher.execute(settle, [job]).fetchone() == (False,)
    assert set(watcher.execute(STATE)) == {("doing", 0, 0, 1)}
