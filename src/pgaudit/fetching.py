"""How a worker gets its jobs: Procrastinate's connector and job manager, with our schema, fetch and finish."""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any, Final, LiteralString, cast

from procrastinate import PsycopgConnector
from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from pgaudit.retries import is_infrastructure
from pgaudit.runs import Runs
from pgaudit.signals import worker_started, worker_stopped
from pgaudit.sqlstates import in_brief

logger = logging.getLogger("pgaudit.worker")

FETCH_LEAD: Final = """
    -- scheduled_at: a time that nobody asks for, and that psycopg reads under one DateStyle alone.
    SELECT id, status, task_name, priority, lock, queueing_lock, '{}'::jsonb AS args, NULL AS scheduled_at, queue_name,
           attempts, worker_id
      FROM pgaudit.fetch_lead(%(worker_id)s, %(spared)s)
"""


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

    def __init__(self, connector: AuditConnector, batch_size: int) -> None:
        super().__init__(connector)
        self._batch_size = batch_size
        self.worker_id: int | None = None
        self.runs = Runs()
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
        if time.monotonic() < self.runs.paused_until:
            return None
        # A run that is at work takes the next batch itself, in its order; another one helps with what is behind that.
        spared = self._batch_size if self.runs.jobs else 0
        try:
            rows = await self.connector.execute_query_all_async(FETCH_LEAD, worker_id=worker_id, spared=spared)
        except Exception as error:
            if not is_infrastructure(error):
                raise
            logger.warning("cannot fetch jobs, will retry: %s", in_brief(error.__cause__ or error))
            return None
        if not rows:
            return None
        job = Job.from_row(rows[0])
        self.runs.jobs.add(cast("int", job.id))
        return job

    async def finish_job(self, job: Job, *_: Any, **_outcome: Any) -> None:
        """The transaction that logged the event has deleted the job; ``pgaudit.outcomes`` has settled all others."""
        self.runs.jobs.discard(cast("int", job.id))

    async def retry_job(self, job: Job, *_: Any, **_decision: Any) -> None:
        """As for ``finish_job``."""
        self.runs.jobs.discard(cast("int", job.id))
