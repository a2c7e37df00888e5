"""The Procrastinate application behind every pgaudit worker."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Collection
from typing import Final, Unpack, cast

import psycopg
from procrastinate import App
from procrastinate.app import WorkerOptions
from procrastinate.worker import Worker

from pgaudit._db_errors import safe_summary
from pgaudit.jobs.listing import QUEUE, TASK
from pgaudit.settings import Settings
from pgaudit.worker import maintenance, persist, sealing, streaming, verification
from pgaudit.worker.connector import AuditConnector
from pgaudit.worker.failures import handle_failure
from pgaudit.worker.heartbeat import send_heartbeats
from pgaudit.worker.job_manager import AuditJobManager
from pgaudit.worker.processing import Processing
from pgaudit.worker.requirements import check_requirements
from pgaudit.worker.retry_policy import RetryPolicy
from pgaudit.worker.state import WorkerState

logger = logging.getLogger("pgaudit.worker")

DAY: Final = 86_400.0
# Seconds after which a task that has not ended is cancelled again: before Python 3.12, asyncio.wait_for drops a
# cancellation that arrives together with its result.
CANCEL_AGAIN_SECONDS: Final = 1.0


class AuditApp(App):
    """Procrastinate's App with our queue, heartbeat, maintenance and drain; Procrastinate's own command can run it."""

    connector: AuditConnector
    job_manager: AuditJobManager

    def __init__(self, settings: Settings) -> None:
        connector = AuditConnector(settings.conninfo, max_size=settings.worker_concurrency + 4)
        # Procrastinate leaves open what one of its dicts holds.
        job_manager = AuditJobManager(connector, settings)
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - partly untyped
            connector=connector,
            worker_defaults=worker_defaults(settings, job_manager.state),
        )
        self.settings = settings
        self._latest: AuditWorker | None = None
        self._ending = False
        # It is never replaced, so a narrower type does no harm.
        self.job_manager = job_manager  # pyright: ignore[reportIncompatibleVariableOverride]
        self.processing = Processing(settings, job_manager.state)
        job_manager.before_unregistering = self.processing.end
        self.task(name=TASK, queue=QUEUE, pass_context=True, retry=RetryPolicy())(persist.persist)

    async def run_worker_async(self, **options: Unpack[WorkerOptions]) -> None:
        """Runs a worker with its heartbeat and maintenance; both go on after the last fetch, while a job runs.

        :raises WorkerRefused: the schema or a right is missing.
        """
        self._ending = False
        await check_requirements(self.connector)
        background_tasks = [
            asyncio.create_task(send_heartbeats(self.connector, self.job_manager, self.settings)),
            asyncio.create_task(maintenance.run_maintenance(self.connector, self.job_manager, self.settings)),
            asyncio.create_task(maintenance.replay_spool(self.settings)),
            asyncio.create_task(sealing.run_sealing(self.settings)),
            asyncio.create_task(sealing.run_anchoring(self.settings)),
            asyncio.create_task(verification.run_verification(self.settings)),
            asyncio.create_task(sealing.run_completeness(self.settings)),
            asyncio.create_task(streaming.run_streams(self.connector, self.settings, self.job_manager.state.throttle)),
        ]
        self.processing.start()
        try:
            await super().run_worker_async(**options)
        finally:
            self._ending = True
            await self.processing.end()
            if self.settings.drain_on_shutdown and self._latest is not None:
                await self.drain(self._latest.time_left(self.settings.shutdown_timeout))
            await cancel_and_wait(background_tasks)

    def stop_worker(self) -> bool:
        """Tells the worker to finish its jobs and end.

        :returns: False while it is starting: then nothing is lost if it is cancelled.
        """
        if self._latest is not None:
            self._latest.stop()
        return self._ending or (self._latest is not None and self._latest.run_task is not None)

    def _worker(self, **options: Unpack[WorkerOptions]) -> "AuditWorker":
        self._latest = AuditWorker(self, **(self.worker_defaults | options))
        return self._latest

    async def drain(self, seconds: float) -> int:
        """Persists queued jobs for at most that many seconds. Returns how many."""
        total = 0
        try:
            async with asyncio.timeout(seconds), self.connector.pool.connection() as conn:
                while (batch := await persist.persist_batch(conn, None, None, self.settings)).taken:
                    total += batch.taken
        except (psycopg.Error, TimeoutError) as error:
            logger.warning("stopped draining, the queue keeps the rest: %s", safe_summary(error))
        logger.info("drained %d job(s)", total, extra={"action": "queue_drained", "jobs": total})
        return total


class AuditWorker(Worker):
    """Knows when it was told to stop: what its jobs leave of the shutdown's time is the drain's."""

    stopped_at: float | None = None

    @property
    def state(self) -> WorkerState:
        """Its state, which its jobs share."""
        return cast("WorkerState", (self.additional_context or {})["state"])

    def stop(self) -> None:
        if self.stopped_at is None:
            self.stopped_at = time.monotonic()
        if self.install_signal_handlers and threading.current_thread() is threading.main_thread():
            # A second Ctrl-C exits at once, as a second SIGTERM does; asyncio's own handler would wait for what runs.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.state.stopping = True
        cast("AuditApp", self.app).processing.stop()
        super().stop()  # type: ignore[no-untyped-call]  # Procrastinate has left it untyped

    def time_left(self, timeout: float) -> float:
        """Returns how many of those seconds are left since the worker was told to stop; all when it ended by itself."""
        return timeout if self.stopped_at is None else max(0.0, self.stopped_at + timeout - time.monotonic())


async def cancel_and_wait(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels the tasks, and returns when all have ended."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


def worker_defaults(settings: Settings, state: WorkerState) -> WorkerOptions:
    """Returns the options of a worker, where its command line does not override them."""
    return {
        "queues": [QUEUE],
        "concurrency": settings.worker_concurrency,
        "fetch_job_polling_interval": settings.poll_interval,
        "shutdown_graceful_timeout": settings.shutdown_timeout,
        "listen_notify": False,  # audit jobs do not NOTIFY
        "worker_middleware": [handle_failure],
        "additional_context": {"settings": settings, "state": state},
        # Replaced by ours: Procrastinate's heartbeat stops when a shutdown begins, and a missed one ends the worker.
        "update_heartbeat_interval": DAY,
        "stalled_worker_timeout": DAY,
    }
