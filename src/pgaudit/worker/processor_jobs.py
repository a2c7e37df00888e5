"""Procrastinate's job manager for the jobs of processors: takes them, and saves how they end."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Final, LiteralString, cast

from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from pgaudit import signals
from pgaudit._db_errors import safe_summary
from pgaudit._reading import run_async
from pgaudit.jobs.processed import QUEUE
from pgaudit.processors.attempt import Discarded, Failed, Outcome
from pgaudit.trail.entry import Entry, at
from pgaudit.worker.connector import AuditConnector
from pgaudit.worker.failures import is_infrastructure
from pgaudit.worker.retry_policy import NotPersisted, with_jitter
from pgaudit.worker.state import WorkerState

logger = logging.getLogger("pgaudit.worker")

FETCH: Final = """
    SELECT job_id, processor, index, attempts, unchecked
      FROM pgaudit.fetch_processor_jobs(%(token)s, %(names)s::text[], %(running)s::bigint[], %(most)s)
"""
SUCCEED: Final = "SELECT pgaudit.succeed_processor_jobs(%(jobs)s::bigint[], %(token)s)"
DISCARD: Final = "SELECT pgaudit.discard_processor_job(%(job)s, %(token)s, %(reason)s) AS held"
FAIL: Final = """
    SELECT status, again_in, paused
      FROM pgaudit.fail_processor_job(%(job)s, %(token)s, %(counted)s, %(retry_in)s, %(error_class)s, %(sqlstate)s,
                                      %(message)s, %(traceback)s)
"""
OVERRUN: Final = "SELECT pgaudit.note_processor_overrun(%(job)s, %(token)s, %(message)s)"
RELEASE: Final = "SELECT pgaudit.release_processor_jobs(%(jobs)s::bigint[], %(token)s)"
LONGEST_PAUSE_SECONDS: Final = 5.0
BACKLOG_PAUSE_SECONDS: Final = 0.5


class AttemptFailed(NotPersisted):
    """What Procrastinate sees and logs of a failed attempt: its class. The job's history has the rest."""


class ProcessorJobManager(JobManager):
    """Takes jobs of the processors that it knows, as the worker that is registered for the audit queue."""

    connector: AuditConnector

    def __init__(self, connector: AuditConnector, state: WorkerState, names: Collection[str], concurrency: int) -> None:
        super().__init__(connector)
        self._state = state
        self._names = list(names)
        self._concurrency = concurrency
        self._running: set[int] = set()  # fetched, and not saved
        self._fetched: deque[Job] = deque()  # not begun: there is room for them
        self._entries: dict[int, Entry] = {}
        self._saving = Saving(self._succeed)
        self._fetched_at = float("-inf")

    @property
    def token(self) -> Any:
        """The worker's token; None while it is not registered: then no job is its own."""
        return self._state.registration and self._state.registration.token

    async def register_worker(self) -> int:
        """Does nothing: there is one worker for both queues, which sends heartbeats."""
        return self._state.registration.id if self._state.registration else 0

    async def unregister_worker(self, worker_id: int) -> None:  # noqa: ARG002 - as above
        """Gives back what was fetched and not begun."""
        await self.release([job.id or 0 for job in self._fetched])
        self._fetched.clear()

    async def update_heartbeat(self, worker_id: int) -> None: ...

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:  # noqa: ARG002 - as above
        return []

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:  # noqa: ARG002 - not offered
        return []

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:  # noqa: ARG002 - one queue
        if not self._fetched and self._state.registration is not None and self._may_fetch():
            try:
                await self._fetch(worker_id)
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                reason = safe_summary(error.__cause__ or error)
                logger.warning("cannot fetch jobs of processors, will retry: %s", reason)
        return self._fetched.popleft() if self._fetched else None

    def _may_fetch(self) -> bool:
        """Returns whether to fetch now: seldom while the queue has a backlog, whose events come first."""
        now = time.monotonic()
        if self._state.throttle.is_backlog and now < self._fetched_at + BACKLOG_PAUSE_SECONDS:
            return False
        self._fetched_at = now
        return True

    async def _fetch(self, worker_id: int) -> None:
        """Fetches as many jobs as can run now, with their events."""
        rows = await self.connector.execute_query_all_async(
            FETCH, token=self.token, names=self._names, running=list(self._running),
            most=max(self._concurrency - len(self._running), 1),
        )  # fmt: skip
        if not rows:
            return
        async with self.connector.pool.connection() as conn:
            entries = await run_async(conn, at(sorted({row["index"] for row in rows})))
        by_index = {entry.index: entry for entry in entries}
        for row in rows:
            self._running.add(row["job_id"])
            if row["index"] in by_index:
                self._entries[row["job_id"]] = by_index[row["index"]]
            self._fetched.append(job_of(row, worker_id))

    async def finish_job(self, job: Job, *_: Any, **_outcome: Any) -> None:
        """Forgets the job: how it ended is saved already."""
        self._running.discard(cast("int", job.id))
        self._entries.pop(cast("int", job.id), None)

    async def retry_job(self, job: Job, *_: Any, **_decision: Any) -> None:
        """Forgets the job, too."""
        await self.finish_job(job)

    def entry(self, job: Job) -> Entry | None:
        """Returns the event of a job; None if its partition was detached."""
        return self._entries.get(cast("int", job.id))

    async def save(self, job: Job, outcome: Outcome) -> None:
        """Saves how an attempt ended, and sends the signals.

        :raises AttemptFailed: it has failed.
        """
        if isinstance(outcome, Failed):
            await self._save_failure(job, outcome)
        elif isinstance(outcome, Discarded):
            await self._execute(DISCARD, job=job.id, reason=outcome.reason)
        else:
            await self._saving.save(cast("int", job.id))

    async def _succeed(self, jobs: Collection[int]) -> None:
        await self._execute(SUCCEED, jobs=list(jobs))

    async def _save_failure(self, job: Job, failed: Failed) -> None:
        row = await self._execute(
            FAIL, job=job.id, counted=failed.counted, retry_in=failed.retry_in, error_class=failed.error_class,
            sqlstate=failed.sqlstate, message=failed.message, traceback=failed.traceback,
        )  # fmt: skip
        details = {"processor": job.task_name, "job_id": job.id, "error_class": failed.error_class}
        if row["status"] == "failed":
            signals.processor_job_failed.send(**details)
        elif row["status"] == "todo":
            signals.processor_job_retried.send(**details, attempt=job.attempts + 1, retry_in=row["again_in"])
        if row["paused"]:
            reason = f"its attempts fail one after the other, the last one with {failed.error_class}"
            signals.stream_paused.send(stream=job.task_name, kind="failing", reason=reason)
        raise AttemptFailed(failed.error_class, row["again_in"])

    async def note_overrun(self, job: Job, message: str) -> None:
        """Notes that a job runs for too long, and goes on."""
        logger.warning("job %d of the processor %s: %s", job.id, job.task_name, message)
        await self._execute(OVERRUN, job=job.id, message=message)

    async def release(self, jobs: Collection[int]) -> None:
        """Gives jobs back as they were. If that fails, they are found lost when the worker is gone."""
        if not jobs:
            return
        try:
            await self.connector.execute_query_async(RELEASE, jobs=list(jobs), token=self.token)
        except Exception as error:  # noqa: BLE001 - the worker stops
            logger.warning("cannot give jobs %s back, they are released later: %s", list(jobs), safe_summary(error))

    async def _execute(self, query: LiteralString, **values: Any) -> dict[str, Any]:
        """Runs a statement about jobs, through outages of any length: what was done must not be done again."""
        pause = 0.1
        while True:
            try:
                return await self.connector.execute_query_one_async(query, token=self.token, **values)
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                await self.connector.leave_read_only_server(error)
                logger.warning("cannot save how jobs ended, will retry: %s", safe_summary(error))
            await asyncio.sleep(with_jitter(pause))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def job_of(row: Mapping[str, Any], worker_id: int) -> Job:
    """Returns the job of a row."""
    return Job(
        id=row["job_id"],
        attempts=row["attempts"],
        status="doing",
        queue=QUEUE,
        task_name=row["processor"],
        task_kwargs={"index": row["index"], "unchecked": row["unchecked"]},
        lock=None,
        queueing_lock=None,
        worker_id=worker_id,
    )


class Saving:
    """Saves that jobs are done: those that end while a statement runs are saved together by the next one."""

    def __init__(self, save: Callable[[Collection[int]], Awaitable[None]]) -> None:
        self._save = save
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._lock = asyncio.Lock()

    async def save(self, job: int) -> None:
        """Returns when it is saved."""
        self._waiting[job] = saved = asyncio.get_running_loop().create_future()
        async with self._lock:
            if saved.done():
                saved.result()
                return
            waiting, self._waiting = self._waiting, {}
            try:
                await self._save(waiting)
            except BaseException as error:
                for each in waiting.values():
                    each.set_exception(error)
                    each.exception()  # those who wait raise it; if none does, it is no news
                raise
            for each in waiting.values():
                each.set_result(None)
