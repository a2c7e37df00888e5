"""Jobs whose worker is gone, and jobs that a living worker does not know of."""

from collections.abc import Generator

import psycopg
import pytest

from pgaudit import Settings, stats
from tests.support.events import event, events
from tests.support.jobs import (
    date_back_heartbeat_and_commit,
    fetch_and_commit,
    insert_poison_and_commit,
    record_and_commit,
    register_and_commit,
)
from tests.support.queries import COUNT_JOB_ERRORS, rows_and_commit, value_and_commit
from tests.support.waiting import wait_until_async
from tests.support.worker import working

pytestmark = pytest.mark.anyio
CLAIM = "UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = %s"
STATE = "SELECT status::text, stalls, attempts, worker_id FROM pgaudit.audit_jobs"
RECLAIM = "SELECT * FROM pgaudit.reclaim_stalled_jobs()"


@pytest.fixture
def watcher(dsn: str) -> Generator[psycopg.Connection]:
    """A connection in autocommit, which sees each change at once."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def impatient(settings: Settings, **changes: object) -> Settings:
    """Returns settings of a worker with frequent maintenance."""
    return settings.model_copy(update={"stalled_after": 1.0, "job_backoff_delay": 0, **changes})


def stall_all_jobs(conn: psycopg.Connection, max_stalls: int = 2) -> int:
    """Gives every job to a worker whose heartbeat is old; returns the worker's id."""
    number, _ = register_and_commit(conn, max_stalls=max_stalls)
    conn.execute(CLAIM, [number])
    date_back_heartbeat_and_commit(conn, number)
    return number


async def test_a_stalled_job_is_reclaimed_and_persisted(watcher: psycopg.Connection, settings: Settings) -> None:
    """The next worker reclaims the job, records the stall, and appends the event."""
    record_and_commit(watcher, event())
    vanished = stall_all_jobs(watcher)
    assert rows_and_commit(watcher, "SELECT worker_id FROM pgaudit.stalled_jobs") == [(vanished,)]
    async with working(impatient(settings)):
        await wait_until_async("1 job is completed", lambda: stats.queue_stats(watcher)[0].completed == 1)
    assert rows_and_commit(watcher, "SELECT error_class, attempt FROM pgaudit.job_error") == [("JobStalled", 1)]


async def test_a_job_without_any_worker_is_reclaimed(watcher: psycopg.Connection, settings: Settings) -> None:
    """A running job whose worker was deleted counts as stalled."""
    record_and_commit(watcher, event())
    vanished = stall_all_jobs(watcher)
    watcher.execute("DELETE FROM pgaudit.procrastinate_workers WHERE id = %s", [vanished])
    assert rows_and_commit(watcher, STATE) == [("doing", 0, 0, None)]
    async with working(impatient(settings)):
        await wait_until_async("1 job is completed", lambda: stats.queue_stats(watcher)[0].completed == 1)
    assert rows_and_commit(watcher, "SELECT message FROM pgaudit.job_error") == [
        ("worker unknown vanished while it ran this job (stall 1 of at most 5)",)
    ]


async def test_a_job_is_reclaimed_after_the_clock_was_set_back(watcher: psycopg.Connection, settings: Settings) -> None:
    """The last heartbeat of its worker lies ahead by hours: nobody waits for that time to come again."""
    record_and_commit(watcher, event())
    number = stall_all_jobs(watcher)
    date_back_heartbeat_and_commit(watcher, number, "-5 hours")
    watcher.execute("UPDATE pgaudit.procrastinate_workers SET stalled_after = '1 s'")
    async with working(impatient(settings)):
        await wait_until_async("1 job is completed", lambda: stats.queue_stats(watcher)[0].completed == 1)


async def test_a_job_that_stalls_too_often_fails(watcher: psycopg.Connection) -> None:
    """A job that has stalled is persisted alone; after max_stalls it fails, and crashes no further worker."""
    record_and_commit(watcher, *events(3))
    for stall in range(1, 3):
        stall_all_jobs(watcher)
        watcher.execute(RECLAIM)
        assert set(watcher.execute(STATE)) == {("todo", stall, 0, None)}
    _, token = register_and_commit(watcher)
    job = fetch_and_commit(watcher, token)
    assert value_and_commit(watcher, "SELECT taken FROM pgaudit.persist(%s, %s, 1000)", [token, job]) == 1
    stall_all_jobs(watcher)
    watcher.execute(RECLAIM)
    assert {state[0] for state in watcher.execute(STATE)} == {"failed"}
    assert {job.error_class for job in stats.failed_jobs(watcher)} == {"JobStalled"}


async def test_a_job_is_reclaimed_by_one_of_several_workers(dsn: str, watcher: psycopg.Connection) -> None:
    """While one worker reclaims, others get no job and do not wait."""
    record_and_commit(watcher, event())
    stall_all_jobs(watcher)
    with psycopg.connect(dsn) as other:
        assert len(other.execute(RECLAIM).fetchall()) == 1
        assert watcher.execute(RECLAIM).fetchall() == []
    assert watcher.execute(RECLAIM).fetchall() == []


async def test_a_role_without_rights_cannot_keep_jobs_from_being_reclaimed(watcher: psycopg.Connection) -> None:
    """No function uses an advisory lock, which any role could hold."""
    ours = "SELECT proname FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace"
    assert rows_and_commit(watcher, f"{ours} AND prosrc LIKE '%advisory%lock%(%'") == []


async def test_a_job_lost_by_a_living_worker_is_found(watcher: psycopg.Connection, settings: Settings) -> None:
    """A worker releases a job that the database says it runs, if it does not."""
    async with working(impatient(settings, poll_interval=0.05)) as worker:
        with watcher.transaction():
            watcher.execute("LOCK TABLE pgaudit.audit_jobs IN SHARE ROW EXCLUSIVE MODE")
            watcher.execute(
                """INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes, status, worker_id)
                   VALUES ('{}', '', 2, 'doing', %s)""",
                [worker.id],
            )
        await wait_until_async(
            "3 failed attempts are recorded", lambda: value_and_commit(watcher, COUNT_JOB_ERRORS) == 3
        )
    assert {state[0] for state in watcher.execute(STATE)} == {"failed"}, "it ran, three times, and failed by itself"


async def test_a_worker_pruned_while_it_lives_registers_again(watcher: psycopg.Connection, settings: Settings) -> None:
    """A living worker whose row was deleted gets a new id and token, and goes on."""
    async with working(impatient(settings)) as worker:
        before = worker.app.job_manager.state.registration
        watcher.execute("DELETE FROM pgaudit.procrastinate_workers")
        await wait_until_async("one worker is registered", lambda: len(stats.worker_stats(watcher)) == 1)
        await wait_until_async(
            "the worker has a new registration", lambda: worker.app.job_manager.state.registration != before
        )
        after = worker.app.job_manager.state.registration
        assert before
        assert after
        assert after.id > before.id
        assert after.token != before.token
        assert [row.worker_id for row in stats.worker_stats(watcher)] == [after.id]
        record_and_commit(watcher, event())
        await wait_until_async("1 job is completed", lambda: stats.queue_stats(watcher)[0].completed == 1)
        assert rows_and_commit(watcher, "SELECT worker_id FROM pgaudit.batch") == [(after.id,)]
    assert stats.worker_stats(watcher) == []


async def test_a_worker_pruned_while_it_runs_a_job_persists_it_once(
    dsn: str, watcher: psycopg.Connection, settings: Settings
) -> None:
    """A worker whose row was deleted during a batch loses no event and appends none twice."""
    with psycopg.connect(dsn) as holder:
        holder.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        async with working(impatient(settings)) as worker:
            before = worker.id
            job = insert_poison_and_commit(watcher)
            record_and_commit(watcher, *events(3))
            await wait_until_async("the worker has fetched the job", lambda: job in worker.jobs)
            with watcher.transaction():
                # As after a day without a heartbeat: the job is unlinked once the batch has ended.
                watcher.execute("ALTER TABLE pgaudit.procrastinate_workers DISABLE TRIGGER unlink_deleted_workers")
                watcher.execute("DELETE FROM pgaudit.procrastinate_workers")
                watcher.execute("ALTER TABLE pgaudit.procrastinate_workers ENABLE TRIGGER unlink_deleted_workers")
            await wait_until_async("the worker has a new id", lambda: worker.id not in {before, None})
            holder.rollback()
            await wait_until_async(
                "the poison job has failed",
                lambda: value_and_commit(watcher, "SELECT count(*) FROM pgaudit.failed_jobs") == 1,
            )
            await wait_until_async("3 jobs are completed", lambda: stats.queue_stats(watcher)[0].completed == 3)
    assert rows_and_commit(watcher, STATE) == [("failed", 0, 3, None)]


async def test_a_worker_whose_job_was_taken_over_changes_nothing(watcher: psycopg.Connection) -> None:
    """A worker can persist, fail and release only jobs that it holds."""
    record_and_commit(watcher, event())
    (holder, own), (_, other) = register_and_commit(watcher), register_and_commit(watcher)
    job = fetch_and_commit(watcher, own)
    assert value_and_commit(watcher, "SELECT taken FROM pgaudit.persist(%s, %s, 10)", [other, job]) == 0
    record_failure = "SELECT pgaudit.record_failure(%s, %s, 0, true, NULL, 'E', NULL, 'm', NULL)"
    assert value_and_commit(watcher, record_failure, [job, other]) is False
    assert value_and_commit(watcher, "SELECT pgaudit.release_jobs(ARRAY[%s::bigint], %s)", [job, other]) == []
    assert rows_and_commit(watcher, STATE) == [("doing", 0, 0, holder)]
