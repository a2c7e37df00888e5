"""The life of a worker: heartbeats as long as it runs, and an end in time."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import Settings
from pgaudit.errors import InvalidSettings
from pgaudit.worker import procrastinate_app
from pgaudit.worker.connector import AuditConnector
from pgaudit.worker.job_manager import AuditJobManager
from pgaudit.worker.maintenance import Maintenance
from pgaudit.worker.procrastinate_app import AuditApp
from pgaudit.worker.supervisor import supervise
from tests.support.audit_log import assert_dense
from tests.support.jobs import insert_poison_and_commit, queue_events
from tests.support.queries import COUNT_JOBS, LOG_SIZE, Connection, rows_and_commit, value_and_commit
from tests.support.waiting import wait_until_async
from tests.support.worker import working

pytestmark = pytest.mark.anyio

STATE = "SELECT status::text, attempts, stalls, worker_id FROM pgaudit.audit_jobs ORDER BY id"
STALLS = "SELECT error_class FROM pgaudit.job_error"
PROGRAM = """
import sys
import time
from pathlib import Path
from pgaudit import Settings, worker
from pgaudit.recording import spool

thread = worker.start_in_thread()
directory = Settings().spool_dir
while spool.files(directory):  # until the worker has replayed the file, in a thread
    time.sleep(0.01)
{ending}
"""


async def test_heartbeats_go_on_during_a_shutdown(dsn: str, conn: Connection) -> None:
    """A worker that waits for its last batch sends heartbeats, so that its jobs do not count as stalled."""
    queue_events(dsn, 3)
    conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
    with psycopg.connect(dsn, autocommit=True) as other:
        async with working(Settings(dsn=dsn, stalled_after=0.5)) as worker:
            await wait_until_async("the worker has fetched a job", lambda: worker.jobs)
            worker.stop()
            begun = value_and_commit(other, "SELECT clock_timestamp()")
            query = "SELECT max(last_heartbeat) > %s + interval '1 s' FROM pgaudit.procrastinate_workers"
            await wait_until_async(
                "a heartbeat is a second younger than the shutdown", lambda: value_and_commit(other, query, [begun])
            )
            assert rows_and_commit(other, "SELECT * FROM pgaudit.stalled_jobs") == []
            conn.rollback()
            await wait_until_async("the log has 3 events", lambda: value_and_commit(other, LOG_SIZE) == 3)
        assert rows_and_commit(other, STALLS) == []


async def test_a_worker_cannot_be_deleted_during_its_batch(dsn: str, conn: Connection) -> None:
    """Deleting a worker's row waits for its batch, which is appended once."""
    queue_events(dsn, 3)
    conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
    with psycopg.connect(dsn, autocommit=True) as other:
        async with working(Settings(dsn=dsn)):
            await wait_until_async(
                "a worker has fetched a job", lambda: value_and_commit(other, f"{COUNT_JOBS} WHERE status = 'doing'")
            )
            await wait_until_async(
                "the batch waits for a lock",
                lambda: value_and_commit(other, "SELECT count(*) FROM pg_locks WHERE NOT granted"),
            )
            other.execute("SET lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("DELETE FROM pgaudit.procrastinate_workers")
            conn.rollback()
            await wait_until_async("the log has 3 events", lambda: value_and_commit(other, LOG_SIZE) == 3)
        assert_dense(other)


async def test_a_job_is_released_after_two_rounds_in_which_it_is_unknown(dsn: str, conn: Connection) -> None:
    """A worker releases a job only if it does not know it in two consecutive rounds, and counts no stall."""
    settings = Settings(dsn=dsn, poll_interval=60)
    async with working(settings) as worker:
        queue_events(dsn)
        conn.execute("UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = %s", [worker.id])
        conn.commit()
        rounds = Maintenance(worker.app.job_manager)
        async with worker.app.connector.pool.connection() as own:
            await rounds.release_lost(own)
            assert rows_and_commit(conn, STATE) == [("doing", 0, 0, worker.id)]
            await rounds.release_lost(own)
        assert rows_and_commit(conn, STATE) == [("todo", 0, 0, None)]
    assert rows_and_commit(conn, STALLS) == []


async def test_a_drain_ends_within_the_time_of_the_shutdown(dsn: str, conn: Connection) -> None:
    """A drain that waits for the log ends within shutdown_timeout, and leaves the jobs in the queue."""
    queue_events(dsn, 3)
    conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
    with psycopg.connect(dsn, autocommit=True) as other:
        settings = Settings(dsn=dsn, shutdown_timeout=0.5, drain_on_shutdown=True)
        async with working(settings) as worker:
            await wait_until_async("the worker has fetched a job", lambda: worker.jobs)
        assert rows_and_commit(other, STATE) == [("todo", 0, 0, None)] * 3
        assert rows_and_commit(other, "SELECT * FROM pgaudit.job_error") == []


async def test_a_drain_gets_the_rest_of_the_shutdown_timeout(dsn: str, conn: Connection) -> None:
    """A drain gets no time if a job has used all of shutdown_timeout."""
    queue_events(dsn, 3)
    conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
    drained: list[float] = []

    class Watched(AuditApp):
        async def drain(self, seconds: float) -> int:
            drained.append(seconds)
            return await super().drain(seconds)

    settings = Settings(dsn=dsn, shutdown_timeout=0.5, drain_on_shutdown=True)
    async with working(settings, Watched) as worker:
        await wait_until_async("the worker has fetched a job", lambda: worker.jobs)
    assert drained == [0.0]


async def test_a_drain_goes_on_after_a_batch_of_poison(dsn: str, conn: Connection) -> None:
    """A batch in which every job fails does not end a drain."""
    for _ in range(3):
        insert_poison_and_commit(conn)
    queue_events(dsn, 3)
    app = AuditApp(Settings(dsn=dsn, batch_size=1))
    async with app.open_async():
        assert await app.drain(20) == 6
    assert value_and_commit(conn, LOG_SIZE) == 3
    assert value_and_commit(conn, COUNT_JOBS) == 3


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("sys.exit(3)", 3), ("raise SystemExit('no')", 1)])
def test_a_worker_thread_does_not_change_the_exit_of_a_program(
    dsn: str, tmp_path: Path, ending: str, code: int
) -> None:
    """The exit code is the program's own; the worker is unregistered, and nothing is printed."""
    environment = os.environ | {"PGAUDIT_DSN": dsn, "PGAUDIT_SPOOL_DIR": str(tmp_path), "PGAUDIT_STALLED_AFTER": "2"}
    (tmp_path / "host-1.ndjson").touch()
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ending=ending)],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == code
    assert result.stderr.decode() == ("no\n" if "'no'" in ending else "")
    with psycopg.connect(dsn) as conn:
        assert rows_and_commit(conn, "SELECT * FROM pgaudit.procrastinate_workers") == []


@pytest.mark.parametrize(
    ("owner", "step"),
    [(AuditConnector, "open_async"), (procrastinate_app, "check_requirements"), (AuditJobManager, "register_worker")],
)
async def test_a_worker_stops_although_a_step_of_its_start_forgets_a_cancellation(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str
) -> None:
    """A worker that is starting stops even if a step drops a cancellation, as wait_for of Python 3.11 may."""
    original = getattr(owner, step)
    reached = asyncio.Event()

    async def forgetful(*arguments: Any, **options: Any) -> Any:
        reached.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        return await original(*arguments, **options)

    monkeypatch.setattr(owner, step, forgetful)
    stop = asyncio.Event()
    supervised = asyncio.create_task(supervise(Settings(dsn=dsn), stop))
    await asyncio.wait_for(reached.wait(), 10)
    stop.set()
    done, _ = await asyncio.wait({supervised}, timeout=10)
    assert done
    assert rows_and_commit(conn, "SELECT * FROM pgaudit.procrastinate_workers") == []


async def test_invalid_settings_end_the_worker(tmp_path: Path) -> None:
    """A worker is not restarted when it can never run with its settings."""
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InvalidSettings, match="is not empty"):
        await supervise(Settings(dsn=f"embedded:{tmp_path}"), asyncio.Event())
