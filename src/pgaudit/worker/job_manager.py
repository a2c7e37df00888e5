"""Procrastinate's job manager, with our way to register, fetch and finish."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, Final, cast

from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from pgaudit._db_errors import safe_summary
from pgaudit.jobs.listing import QUEUE, TASK
from pgaudit.settings import Settings
from pgaudit.signals import worker_started, worker_stopped
from pgaudit.worker.congestion import Congestion
from pgaudit.worker.connector import AuditConnector
from pgaudit.worker.failures import is_infrastructure
from pgaudit.worker.state import Registration, WorkerState

logger = logging.getLogger("pgaudit.worker")

REGISTER: Final = "SELECT worker_id AS id, token FROM pgaudit.register_worker(%(stalled_after)s, %(max_stalls)s)"
UNREGISTER: Final = "SELECT pgaudit.unregister_worker(%(token)s)"
FETCH_JOB: Final = "SELECT job_id, attempts FROM pgaudit.fetch_job(%(token)s, %(skip)s)"


async def nothing() -> None:
    """Does nothing."""


class AuditJobManager(JobManager):
    """Registers the worker and fetches audit jobs.

    While the database cannot be reached, a fetch finds no job, and the worker goes on.
    """

    connector: AuditConnector

    def __init__(self, connector: AuditConnector, settings: Settings) -> None:
        super().__init__(connector)
        self._settings = settings
        self.state = WorkerState(Congestion(settings.batch_size, settings.job_backoff_delay / 1_000))
        self.registration_lock = asyncio.Lock()  # held to send a heartbeat, or to end the registration
        self.before_unregistering: Callable[[], Awaitable[None]] = nothing

    @property
    def worker_id(self) -> int | None:
        """The worker's number; None before it is registered and after it has ended."""
        return self.state.registration.id if self.state.registration else None

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
        self.state.registration = registration = Registration(**row)
        return registration

    async def unregister(self) -> None:
        """Removes the worker from the database."""
        async with self.registration_lock:
            registration, self.state.registration = self.state.registration, None
            if registration:
                await self.connector.execute_query_async(UNREGISTER, token=registration.token)

    async def unregister_worker(self, worker_id: int) -> None:
        await self.before_unregistering()
        try:
            await self.unregister()
        finally:
            worker_stopped.send(worker_id=worker_id)

    async def update_heartbeat(self, worker_id: int) -> None:
        """Does nothing: ``heartbeat`` sends them, because Procrastinate's end when a shutdown begins."""

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:  # noqa: ARG002 - as above
        """Returns none: ``reclaim_stalled_jobs()`` removes stalled workers, by the limits that each has registered."""
        return []

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:  # noqa: ARG002 - as above
        """Returns none: an audit job is never aborted. Its event is in the audit log or in the queue."""
        return []

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:  # noqa: ARG002 - one queue
        registration = self.state.registration
        if registration is None or self.state.congestion.is_paused:
            return None
        # An active run takes the next batch itself; a second run starts behind that batch.
        skip = self._settings.batch_size if self.state.jobs else 0
        try:
            rows = await self.connector.execute_query_all_async(FETCH_JOB, token=registration.token, skip=skip)
        except Exception as error:
            if not is_infrastructure(error):
                raise
            self.state.congestion.fail(error)
            await self.connector.leave_read_only_server(error)
            logger.warning("cannot fetch jobs, will retry: %s", safe_summary(error.__cause__ or error))
            return None
        if not rows:
            return None
        (row,) = rows
        self.state.jobs.add(row["job_id"])
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
        """Forgets the job: the transaction that appended its event deleted it, or ``failures`` has recorded why not."""
        self.state.jobs.discard(cast("int", job.id))

    async def retry_job(self, job: Job, *_: Any, **_decision: Any) -> None:
        """Forgets the job: ``failures`` has scheduled its retry."""
        self.state.jobs.discard(cast("int", job.id))
