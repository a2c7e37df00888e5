"""The Procrastinate application for the jobs of processors: a task for each of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Unpack

from procrastinate import App, JobContext
from procrastinate.app import WorkerOptions
from procrastinate.jobs import Job
from procrastinate.worker import Worker

from pgaudit.jobs.processed import QUEUE
from pgaudit.processors.attempt import attempt
from pgaudit.processors.declaration import Processor
from pgaudit.processors.entry import ProcessorEntry
from pgaudit.processors.outcomes import Discarded, Outcome
from pgaudit.settings import Settings
from pgaudit.worker.connector import AuditConnector
from pgaudit.worker.processor_job_manager import ProcessorJobManager
from pgaudit.worker.retry_policy import RetryPolicy
from pgaudit.worker.state import WorkerState

DAY = 86_400.0
MOST_CONNECTIONS = 8  # a job needs one only to begin and to end


class ProcessorApp(App):
    """Procrastinate's App with a task for each processor."""

    def __init__(self, settings: Settings, state: WorkerState, processors: Mapping[str, Processor]) -> None:
        connector = AuditConnector(
            settings.conninfo, max_size=min(settings.processor_concurrency + 1, MOST_CONNECTIONS)
        )
        manager = ProcessorJobManager(connector, state, processors, settings.processor_concurrency)
        super().__init__(connector=connector, worker_defaults=worker_defaults(settings))  # pyright: ignore[reportUnknownMemberType] - partly untyped
        self.job_manager = manager  # pyright: ignore[reportIncompatibleVariableOverride] - as in AuditApp
        self.latest: Worker | None = None
        for processor in processors.values():
            run = task_of(processor, manager)
            self.task(name=processor.name, queue=QUEUE, pass_context=True, retry=RetryPolicy())(run)

    @property
    def is_running(self) -> bool:
        """Whether it has begun to take jobs: then it ends by itself once it was told to."""
        return self.latest is not None and self.latest.run_task is not None

    def _worker(self, **options: Unpack[WorkerOptions]) -> Worker:
        self.latest = super()._worker(**options)
        return self.latest


def task_of(processor: Processor, manager: ProcessorJobManager) -> Callable[..., Awaitable[None]]:
    """Returns the task that runs a job of a processor."""

    async def run(context: JobContext, *, index: int, unchecked: bool) -> None:
        job = context.job
        try:
            await manager.outcomes.save(job, await outcome(job, index, unchecked=unchecked))
        except asyncio.CancelledError:
            await asyncio.shield(manager.outcomes.release([job.id or 0]))
            raise

    async def outcome(job: Job, index: int, *, unchecked: bool) -> Outcome:
        async def overrun(message: str) -> None:
            await manager.outcomes.note_overrun(job, message)

        found = manager.entry(job)
        if found is None:
            return Discarded(f"the event at index {index} is no longer in the log")
        entry = ProcessorEntry.of(found, processor.name, job.attempts + 1)
        return await attempt(processor, entry, overrun, unchecked=unchecked)

    return run


def worker_defaults(settings: Settings) -> WorkerOptions:
    """Returns the options of the worker."""
    return {
        "queues": [QUEUE],
        "name": "processors",
        "concurrency": settings.processor_concurrency,
        "fetch_job_polling_interval": settings.poll_interval,
        "shutdown_graceful_timeout": settings.shutdown_timeout,
        "listen_notify": False,
        "install_signal_handlers": False,
        "update_heartbeat_interval": DAY,
        "stalled_worker_timeout": DAY,
    }
