"""The Procrastinate application behind every pgaudit worker."""

import asyncio
import logging
import signal
import threading
import time
from typing import Any, Final, Unpack, cast

import psycopg
from procrastinate import App
from procrastinate.app import WorkerOptions
from procrastinate.worker import Worker

from pgaudit import housekeeping, tasks
from pgaudit.embedded import conninfo
from pgaudit.fetching import AuditConnector, AuditJobManager
from pgaudit.jobs import QUEUE, TASK
from pgaudit.outcomes import settle_outcome
from pgaudit.retries import Backoff
from pgaudit.runs import Runs
from pgaudit.settings import Settings
from pgaudit.sqlstates import in_brief

logger = logging.getLogger("pgaudit.worker")

# How long a poll waits for a connection: a shutdown during an outage waits as long.
POOL_TIMEOUT: Final = 5.0
DAY: Final = 86_400.0
CONNECTION: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": None,  # behind PgBouncer the next session knows nothing of it
    "application_name": "pgaudit worker",
    "client_encoding": "utf8",  # a message about an event may quote it
}


class AuditApp(App):
    """Procrastinate's App with our queue, heartbeat, rescue and drain; any runner of Procrastinate can run it."""

    connector: AuditConnector
    job_manager: AuditJobManager

    def __init__(self, settings: Settings) -> None:
        connector = AuditConnector(
            conninfo=conninfo(settings.dsn),
            kwargs=CONNECTION,
            min_size=1,
            max_size=settings.worker_concurrency + 3,
            timeout=POOL_TIMEOUT,
            reconnect_timeout=POOL_TIMEOUT,
        )
        # Procrastinate leaves open what one of its dicts holds.
        job_manager = AuditJobManager(connector, settings)
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - partly untyped
            connector=connector,
            worker_defaults=worker_defaults(settings, job_manager.runs),
        )
        self.settings = settings
        self._latest: AuditWorker | None = None
        # It is never replaced, so a narrower type does no harm.
        self.job_manager = job_manager  # pyright: ignore[reportIncompatibleVariableOverride]
        self.task(name=TASK, queue=QUEUE, pass_context=True, retry=Backoff(settings))(tasks.persist)

    async def run_worker_async(self, **options: Unpack[WorkerOptions]) -> None:
        """Runs a worker with its heartbeat and its rounds; both outlive the fetching, for as long as a job runs."""
        companions = [
            asyncio.create_task(housekeeping.beat(self.connector, self.job_manager, self.settings)),
            asyncio.create_task(housekeeping.make_rounds(self.connector, self.job_manager, self.settings)),
            asyncio.create_task(housekeeping.replay_spool(self.settings)),
        ]
        try:
            await housekeeping.check_schema(self.connector)
            await super().run_worker_async(**options)
        finally:
            if self.settings.drain_on_shutdown and self._latest is not None:
                await self.drain(self._latest.time_left(self.settings.shutdown_timeout))
            await housekeeping.end(companions)

    def _worker(self, **options: Unpack[WorkerOptions]) -> "AuditWorker":
        self._latest = AuditWorker(self, **(self.worker_defaults | options))
        return self._latest

    async def drain(self, seconds: float) -> int:
        """Persists queued jobs for at most that many seconds; returns how many."""
        total = 0
        try:
            async with asyncio.timeout(seconds), self.connector.pool.connection() as conn:
                while (batch := await tasks.persist_batch(conn, None, None, self.settings)).taken:
                    total += batch.taken
        except (psycopg.Error, TimeoutError) as error:
            logger.warning("stopped draining, the queue keeps the rest: %s", in_brief(error))
        logger.info("drained %d job(s)", total, extra={"action": "queue_drained", "jobs": total})
        return total


class AuditWorker(Worker):
    """Knows when it was told to stop: what its jobs leave of the shutdown's time is the drain's."""

    stopped_at: float | None = None

    @property
    def runs(self) -> Runs:
        """What it is running."""
        return cast("Runs", (self.additional_context or {})["runs"])

    def stop(self) -> None:
        if self.stopped_at is None:
            self.stopped_at = time.monotonic()
        if self.install_signal_handlers and threading.current_thread() is threading.main_thread():
            # A second Ctrl-C exits at once, as a second SIGTERM does; asyncio's own handler would wait for what runs.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.runs.stopping = True
        super().stop()  # type: ignore[no-untyped-call]  # Procrastinate has left it untyped

    def time_left(self, timeout: float) -> float:
        """How much is left of that many seconds since then; all of them, when it has ended by itself."""
        return timeout if self.stopped_at is None else max(0.0, self.stopped_at + timeout - time.monotonic())


def worker_defaults(settings: Settings, runs: Runs) -> WorkerOptions:
    """How a worker runs unless its command line says otherwise."""
    return {
        "queues": [QUEUE],
        "concurrency": settings.worker_concurrency,
        "fetch_job_polling_interval": settings.poll_interval,
        "shutdown_graceful_timeout": settings.shutdown_timeout,
        "listen_notify": False,  # audit jobs do not NOTIFY
        "worker_middleware": [settle_outcome],
        "additional_context": {"settings": settings, "runs": runs},
        # Ours does both: Procrastinate's heart stops when a shutdown begins, and a missed beat ends the worker.
        "update_heartbeat_interval": DAY,
        "stalled_worker_timeout": DAY,
    }
