"""A worker in the test's own process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from pgaudit import Settings
from pgaudit.worker.procrastinate_app import AuditApp
from tests.support.waiting import wait_until_async


@dataclass
class Worker:
    """A worker that runs in a task of the test's event loop."""

    app: AuditApp
    run: asyncio.Task[None]
    stopping: bool = False

    @property
    def id(self) -> int | None:
        """Returns the id under which it is registered; None if it is not."""
        return self.app.job_manager.worker_id

    @property
    def jobs(self) -> list[int]:
        """Returns the ids of the jobs that it has fetched and not finished."""
        return list(self.app.job_manager.state.jobs)

    def stop(self) -> None:
        """Begins a shutdown. Only once: a second cancellation would not wait for the jobs that run."""
        if not self.stopping:
            self.stopping = True
            self.run.cancel()


@asynccontextmanager
async def working(settings: Settings, kind: type[AuditApp] = AuditApp) -> AsyncGenerator[Worker]:
    """Runs a worker inside the block, which begins when the worker has registered itself."""
    app = kind(settings)
    async with app.open_async():
        worker = Worker(app, asyncio.create_task(app.run_worker_async(install_signal_handlers=False)))
        try:
            await wait_until_async("the worker registers", lambda: worker.run.done() or worker.id is not None)
            yield worker
        finally:
            worker.stop()
            with suppress(asyncio.CancelledError):
                await worker.run


async def drain(settings: Settings) -> None:
    """Runs a worker, one job at a time, until it finds no job."""
    app = AuditApp(settings.model_copy(update={"worker_concurrency": 1}))
    async with app.open_async():
        await app.run_worker_async(wait=False, install_signal_handlers=False)
