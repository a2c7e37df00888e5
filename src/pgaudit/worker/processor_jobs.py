"""Procrastinate's job manager for the jobs of processors: takes them, and saves how they end."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
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
      FROM pgaudit.fetch_processor_job(%(token)s, %(names)s::text[], %(running)s::bigint[])
"""
SUCCEED: Final = "SELECT pgaudit.succeed_processor_job(%(job)s, %(token)s) AS held"
DISCARD: Final = "SELECT pgaudit.discard_processor_job(%(job)s, %(token)s, %(reason)s) AS held"
FAIL: Final = """
    SELECT status, again_in, paused
      FROM pgaudit.fail_processor_job(%(job)s, %(token)s, %(counted)s, %(retry_in)s, %(error_class)s, %(sqlstate)s,
                                      %(message)s, %(traceback)s)
"""
OVERRUN: Final = "SELECT pgaudit.note_processor_overrun(%(job)s, %(token)s, %(message)s)"
RELEASE: Final = "SELECT pgaudit.release_processor_jobs(ARRAY[%(job)s::bigint], %(token)s)"
LONGEST_PAUSE_SECONDS: Final = 5.0


class AttemptFailed(NotPersisted):
    """What Procrastinate sees and logs of a failed attempt: its class. The job's history has the rest."""


class ProcessorJobManager(JobManager):
    """Takes jobs of the processors that it knows, as the worker that is registered for the audit queue."""

    connector: AuditConnector

    def __init__(self, connector: AuditConnector, state: WorkerState, names: Collection[str]) -> None:
        super().__init__(connector)
        self._state = state
        self._names = list(names)
        self._running: set[int] = set()

    @property
    def token(self) -> Any:
        """The worker's token; None while it is not registered: then no job is its own."""
        return self._state.registration and self._state.registration.token

    async def register_worker(self) -> int:
        """Does nothing, as the next three: there is one worker for both queues."""
        return self._state.registration.id if self._state.registration else 0

    async def unregister_worker(self, worker_id: int) -> None: ...

    async def update_heartbeat(self, worker_id: int) -> None: ...

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:  # noqa: ARG002 - as above
        return []

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:  # noqa: ARG002 - not offered
        return []

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:  # noqa: ARG002 - one queue
        if self._state.registration is None:
            return None
        try:
            rows = await self.connector.execute_query_all_async(
                FETCH, token=self.token, names=self._names, running=list(self._running)
            )
        except Exception as error:
            if not is_infrastructure(error):
                raise
            logger.warning("cannot fetch jobs of processors, will retry: %s", safe_summary(error.__cause__ or error))
            return None
        return self._taken(rows[0], worker_id) if rows else None

    def _taken(self, row: Mapping[str, Any], worker_id: int) -> Job:
        self._running.add(row["job_id"])
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

    async def finish_job(self, job: Job, *_: Any, **_outcome: Any) -> None:
        """Forgets the job: how it ended is saved already."""
        self._running.discard(cast("int", job.id))

    async def retry_job(self, job: Job, *_: Any, **_decision: Any) -> None:
        """Forgets the job, too."""
        self._running.discard(cast("int", job.id))

    async def entry(self, index: int) -> Entry | None:
        """Returns the event at an index; None if its partition was detached."""
        async with self.connector.pool.connection() as conn:
            return next(iter(await run_async(conn, at([index]))), None)

    async def save(self, job: Job, outcome: Outcome) -> None:
        """Saves how an attempt ended, and sends the signals.

        :raises AttemptFailed: it has failed.
        """
        if isinstance(outcome, Failed):
            await self._save_failure(job, outcome)
        elif isinstance(outcome, Discarded):
            await self._execute(DISCARD, job, reason=outcome.reason)
        else:
            await self._execute(SUCCEED, job)

    async def _save_failure(self, job: Job, failed: Failed) -> None:
        row = await self._execute(
            FAIL, job, counted=failed.counted, retry_in=failed.retry_in, error_class=failed.error_class,
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
        await self._execute(OVERRUN, job, message=message)

    async def release(self, job: Job) -> None:
        """Gives a job back as it was. If that fails, it is found lost when the worker is gone."""
        try:
            await self.connector.execute_query_async(RELEASE, job=job.id, token=self.token)
        except Exception as error:  # noqa: BLE001 - the worker stops
            logger.warning("cannot give job %d back, it is released later: %s", job.id, safe_summary(error))

    async def _execute(self, query: LiteralString, job: Job, **values: Any) -> dict[str, Any]:
        """Runs a statement about a job, through outages of any length: what was done must not be done again."""
        pause = 0.1
        while True:
            try:
                return await self.connector.execute_query_one_async(query, job=job.id, token=self.token, **values)
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                await self.connector.leave_read_only_server(error)
                logger.warning("cannot save the outcome of job %d, will retry: %s", job.id, safe_summary(error))
            await asyncio.sleep(with_jitter(pause))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
