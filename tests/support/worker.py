"""A worker in the test's own process."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.worker.procrastinate_app import AuditApp


def record(conn: psycopg.Connection, count: int = 1) -> None:
    """Queues that many events."""
    with conn.transaction():
        AuditLog(Settings()).record(conn, *(AuditEvent(action="claim.approved") for _ in range(count)))


async def drain(settings: Settings) -> None:
    """Runs a worker, one job at a time, until it finds nothing more to do."""
    app = AuditApp(settings.model_copy(update={"worker_concurrency": 1}))
    async with app.open_async():
        await app.run_worker_async(wait=False, install_signal_handlers=False)


@asynccontextmanager
async def running_app(settings: Settings) -> AsyncGenerator[AuditApp]:
    """A worker that runs for as long as the block lasts."""
    app = AuditApp(settings)
    async with app.open_async():
        run = asyncio.create_task(app.run_worker_async(install_signal_handlers=False))
        await until(lambda: app.job_manager.worker_id is not None)
        try:
            yield app
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)


async def until(condition: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Returns as soon as the condition holds; fails when it does not within that time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
