"""Procrastinate's job manager for the jobs of processors: fetches them, and gives back those that were not begun."""

import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, cast

from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from pgaudit._db_errors import safe_summary
from pgaudit._reading import run_async
from pgaudit.jobs.processed import QUEUE
from pgaudit.trail.entry import Entry, at
from pgaudit.worker.connector import AuditConnector
from pgaudit.worker.failures import is_infrastructure
from pgaudit.worker.processor_outcomes import ProcessorOutcomes
from pgaudit.worker.state import WorkerState

logger = logging.getLogger("pgaudit.worker")

FETCH: Final = """
    SELECT job_id, processor, index, attempts, unchecked
      FROM pgaudit.fetch_processor_jobs(%(token)s, %(names)s::text[], %(running)s::bigint[], %(most)s)
"""
BACKLOG_PAUSE_SECONDS: Final = 0.5


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
        self.outcomes = ProcessorOutcomes(connector, state)
        self._fetched_at = float("-inf")

    async def register_worker(self) -> int:
        """Does nothing: there is one worker for both queues, which sends heartbeats."""
        return self._state.registration.id if self._state.registration else 0

    async def unregister_worker(self, worker_id: int) -> None:  # noqa: ARG002 - as above
        """Gives back what was fetched and not begun."""
        jobs = [cast("int", job.id) for job in self._fetched]
        self._fetched.clear()
        self._running.difference_update(jobs)  # if the release fails, the next fetch gives them back
        for job in jobs:
            self._entries.pop(job, None)
        await self.outcomes.release(jobs)

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
            FETCH, token=self._state.token, names=self._names, running=list(self._running),
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
