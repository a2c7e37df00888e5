"""How a worker gets its jobs: Procrastinate's connector and job manager, with our schema, fetch and finish."""

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, LiteralString, cast

from procrastinate import PsycopgConnector
from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from pgaudit.jobs import QUEUE, TASK
from pgaudit.retries import is_infrastructure
from pgaudit.runs import Registration, Runs
from pgaudit.settings import Settings
from pgaudit.signals import worker_started, worker_stopped
from pgaudit.sqlstates import in_brief

logger = logging.getLogger("pgaudit.worker")

REGISTER: Final = "SELECT worker_id AS id, token FROM pgaudit.register_worker(%(stalled_after)s, %(max_stalls)s)"
UNREGISTER: Final = "SELECT pgaudit.unregister_worker(%(token)s)"
FETCH_JOB: Final = "SELECT job_id, attempts FROM pgaudit.fetch_job(%(token)s, %(skip)s)"


class AuditConnector(PsycopgConnector):
    """Names our schema in Procrastinate's own statements.

    A ``search_path`` would do it too, but it is session state, which PgBouncer gives to somebody else.
    """

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        await super().execute_query_async(in_schema(query), **arguments)

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        row: dict[str, Any] = await super().execute_query_one_async(in_schema(query), **arguments)
        return row

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = await super().execute_query_all_async(in_schema(query), **arguments)
        return rows


def in_schema(query: LiteralString) -> LiteralString:
    """One of Procrastinate's statements, its objects named with our schema."""
    return query.replace("procrastinate_", "pgaudit.procrastinate_")


class AuditJobManager(JobManager):
    """Fetches audit jobs, and knows which workers and jobs of this process are alive.

    A database that is away is no reason for a worker to end: it finds no job, and looks again.
    """

    def __init__(self, connector: AuditConnector, settings: Settings) -> None:
        super().__init__(connector)
        self._settings = settings
        self.runs = Runs()
        self.registration_lock = asyncio.Lock()  # held to send a heartbeat, or to end the registration

    @property
    def worker_id(self) -> int | None:
        """The worker's number; None before it is registered and after it has ended."""
        return self.runs.registration.id if self.runs.registration else None

    async def register_worker(self) -> int:
        registering = asyncio.create_task(self.register())
        try:
            registration = await asyncio.shield(registering)
        except asyncio.CancelledError:
            await registering  # told to stop before it had begun
            await self.unregister()
            raise
        worker_started.send(worker_id=registration.id)
        return registration.id

    async def register(self) -> Registration:
        """Adds the worker to the database. Also when its row was pruned: it gets another number."""
        row = await self.connector.execute_query_one_async(
            REGISTER,
            stalled_after=timedelta(seconds=self._settings.stalled_after),
            max_stalls=self._settings.max_stalls,
        )
        self.runs.registration = registration = Registration(**row)
        return registration

    async def unregister(self) -> None:
        """Removes the worker from the database."""
        async with self.registration_lock:
            registration, self.runs.registration = self.runs.registration, None
            if registration:
                await self.connector.execute_query_async(UNREGISTER, token=registration.token)

    async def unregister_worker(self, worker_id: int) -> None:
        try:
            await self.unregister()
        finally:
            worker_stopped.send(worker_id=worker_id)

    async def update_heartbeat(self, worker_id: int) -> None:
        """``pgaudit.housekeeping`` sends the heartbeats: Procrastinate's end when a shutdown begins."""

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:  # noqa: ARG002 - as above
        """``reclaim_stalled_jobs()`` removes silent workers, by what each has said of itself."""
        return []

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:  # noqa: ARG002 - as above
        """An audit job is never aborted: it is in the log, or in the queue."""
        return []

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:  # noqa: ARG002 - one queue
        registration = self.runs.registration
        if registration is None or time.monotonic() < self.runs.paused_until:
            return None
        # An active run takes the next batch itself; a second run starts behind that batch.
        skip = self._settings.batch_size if self.runs.jobs else 0
        try:
            rows = await self.connector.execute_query_all_async(FETCH_JOB, token=registration.token, skip=skip)
        except Exception as error:
            if not is_infrastructure(error):
                raise
            logger.warning("cannot fetch jobs, will retry: %s", in_brief(error.__cause__ or error))
            return None
        if not rows:
            return None
        (row,) = rows
        self.runs.jobs.add(row["job_id"])
        return Job(
            id=row["job_id"],
            attempts=row["attempts"],
            status="doing",
            queue=QUEUE,
            task_name=TASK,
            lock=None,
            queueing_lock=None,
            worker_id=registration.id,
        )

    async def finish_job(self, job: Job, *_: Any, **_outcome: Any) -> None:
        """The transaction that logged the event has deleted the job; ``pgaudit.outcomes`` has settled all others."""
        self.runs.jobs.discard(cast("int", job.id))

    async def retry_job(self, job: Job, *_: Any, **_decision: Any) -> None:
        """As for ``finish_job``."""
        self.runs.jobs.discard(cast("int", job.id))
