"""The Procrastinate application behind every pgaudit worker."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Iterable
from typing import Any, Final, LiteralString, Unpack, cast

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.app import WorkerOptions
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.worker import Worker

from pgaudit import housekeeping, tasks
from pgaudit.embedded import conninfo
from pgaudit.jobs import QUEUE, TASK
from pgaudit.outcomes import settle_outcome
from pgaudit.retries import Backoff, is_infrastructure
from pgaudit.settings import Settings
from pgaudit.signals import worker_started, worker_stopped
from pgaudit.sqlstates import in_brief

logger = logging.getLogger("pgaudit.worker")

FETCH_LEAD: Final = """
    SELECT id, status, task_name, priority, lock, queueing_lock, '{}'::jsonb AS args, scheduled_at, queue_name,
           attempts, worker_id
      FROM pgaudit.fetch_lead(%(worker_id)s)
"""
# How long a poll waits for a connection: a shutdown during an outage waits as long.
POOL_TIMEOUT: Final = 5.0
DAY: Final = 86_400.0


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

    def __init__(self, connector: AuditConnector) -> None:
        super().__init__(connector)
        self.worker_id: int | None = None
        self.running: set[int] = set()
        self.paused_until = 0.0  # after an infrastructure error: every job would meet the same one
        self.leaving = asyncio.Lock()  # who holds it shows that the worker lives, or takes it out of the list

    async def register_worker(self) -> int:
        registration = asyncio.create_task(super().register_worker())
        try:
            self.worker_id = worker_id = await asyncio.shield(registration)
        except asyncio.CancelledError:
            await super().unregister_worker(await registration)  # told to stop before it had begun
            raise
        worker_started.send(worker_id=worker_id)
        return worker_id

    async def unregister_worker(self, worker_id: int) -> None:
        try:
            async with self.leaving:
                self.worker_id = None
                await super().unregister_worker(worker_id)
        finally:
            worker_stopped.send(worker_id=worker_id)

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:  # noqa: ARG002 - one queue
        if time.monotonic() < self.paused_until:
            return None
        try:
            row = await self.connector.execute_query_all_async(FETCH_LEAD, worker_id=worker_id)
        except Exception as error:
            if not is_infrastructure(error):
                raise
            logger.warning("cannot look into the queue, will try again: %s", in_brief(error.__cause__ or error))
            return None
        if not row:
            return None
        job = Job.from_row(row[0])
        self.running.add(cast("int", job.id))
        return job

    async def finish_job(self, job: Job, *_: Any, **_outcome: Any) -> None:
        """The transaction that logged the event has deleted the job; ``pgaudit.outcomes`` has settled all others."""
        self.running.discard(cast("int", job.id))

    async def retry_job(self, job: Job, *_: Any, **_decision: Any) -> None:
        """As for ``finish_job``."""
        self.running.discard(cast("int", job.id))


class AuditApp(App):
    """Procrastinate's App with our queue, heartbeat, rescue and drain; any runner of Procrastinate can run it."""

    connector: AuditConnector
    job_manager: AuditJobManager

    def __init__(self, settings: Settings) -> None:
        connector = AuditConnector(
            conninfo=conninfo(settings.dsn),
            kwargs={"autocommit": True, "prepare_threshold": None, "application_name": "pgaudit worker"},
            min_size=1,
            max_size=settings.worker_concurrency + 3,
            timeout=POOL_TIMEOUT,
            reconnect_timeout=POOL_TIMEOUT,
        )
        # Procrastinate leaves open what one of its dicts holds.
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            connector=connector,
            worker_defaults=worker_defaults(settings),
        )
        self.settings = settings
        self._latest: AuditWorker | None = None
        # It is never replaced, so a narrower type does no harm.
        self.job_manager = AuditJobManager(connector)  # pyright: ignore[reportIncompatibleVariableOverride]
        self.task(name=TASK, queue=QUEUE, pass_context=True, retry=Backoff(settings))(tasks.persist)

    async def run_worker_async(self, **options: Unpack[WorkerOptions]) -> None:
        """Runs a worker with its heartbeat and its rounds; both outlive the fetching, for as long as a job runs."""
        companions = [
            asyncio.create_task(housekeeping.beat(self.connector, self.job_manager, self.settings)),
            asyncio.create_task(housekeeping.make_rounds(self.connector, self.job_manager, self.settings)),
            asyncio.create_task(housekeeping.replay_spool(self.settings)),
        ]
        try:
            await super().run_worker_async(**options)
        finally:
            if self.settings.drain_on_shutdown and self._latest is not None:
                await self.drain(self._latest.time_left(self.settings.shutdown_timeout))
            for companion in companions:
                companion.cancel()
            await asyncio.gather(*companions, return_exceptions=True)

    def _worker(self, **options: Unpack[WorkerOptions]) -> "AuditWorker":
        self._latest = AuditWorker(self, **(self.worker_defaults | options))
        return self._latest

    async def drain(self, seconds: float) -> int:
        """Persists what is in the queue, for at most that long; how many jobs that were."""
        total = 0
        try:
            async with asyncio.timeout(seconds), self.connector.pool.connection() as conn:
                while (batch := await tasks.persist_batch(conn, None, None, self.settings)).claimed:
                    total += batch.claimed
        except (psycopg.Error, TimeoutError) as error:
            logger.warning("stopped draining, the queue keeps the rest: %s", in_brief(error))
        logger.info("drained %d job(s)", total, extra={"action": "queue_drained", "jobs": total})
        return total


class AuditWorker(Worker):
    """Knows when it was told to stop: what its jobs leave of the shutdown's time is the drain's."""

    stopped_at: float | None = None

    def stop(self) -> None:
        if self.stopped_at is None:
            self.stopped_at = time.monotonic()
        if self.install_signal_handlers and threading.current_thread() is threading.main_thread():
            # A second Ctrl-C exits at once, as a second SIGTERM does; asyncio's own handler would wait for what runs.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        super().stop()  # type: ignore[no-untyped-call]  # Procrastinate has left it untyped

    def time_left(self, timeout: float) -> float:
        """How much is left of that many seconds since then; all of them, when it has ended by itself."""
        return timeout if self.stopped_at is None else max(0.0, self.stopped_at + timeout - time.monotonic())


def worker_defaults(settings: Settings) -> WorkerOptions:
    """How a worker runs unless its command line says otherwise."""
    return {
        "queues": [QUEUE],
        "concurrency": settings.worker_concurrency,
        "fetch_job_polling_interval": settings.poll_interval,
        "shutdown_graceful_timeout": settings.shutdown_timeout,
        "listen_notify": False,  # audit jobs do not NOTIFY
        "worker_middleware": [settle_outcome],
        "additional_context": {"settings": settings},
        # Ours does both: Procrastinate's heart stops when a shutdown begins, and a missed beat ends the worker.
        "update_heartbeat_interval": DAY,
        "stalled_worker_timeout": DAY,
    }
