"""Saves how the jobs of processors end, and sends the signals about it."""

import asyncio
import logging
from collections.abc import Collection
from typing import Any, Final, LiteralString, cast

from procrastinate.jobs import Job

from pgaudit import signals
from pgaudit._backoff import with_jitter
from pgaudit._db_errors import safe_summary
from pgaudit.processors.outcomes import Discarded, Failed, Outcome
from pgaudit.worker.connector import AuditConnector
from pgaudit.worker.failures import is_infrastructure
from pgaudit.worker.grouped_saves import GroupedSaves
from pgaudit.worker.retry_policy import NotPersisted
from pgaudit.worker.state import WorkerState

logger = logging.getLogger("pgaudit.worker")

SUCCEED: Final = "SELECT pgaudit.succeed_processor_jobs(%(jobs)s::bigint[], %(token)s)"
DISCARD: Final = "SELECT pgaudit.discard_processor_job(%(job)s, %(token)s, %(reason)s) AS held"
FAIL: Final = """
    SELECT status, again_in, paused
      FROM pgaudit.fail_processor_job(%(job)s, %(token)s, %(counted)s, %(retry_in)s, %(error_class)s, %(sqlstate)s,
                                      %(message)s, %(traceback)s)
"""
OVERRUN: Final = "SELECT pgaudit.note_processor_overrun(%(job)s, %(token)s, %(message)s)"
RELEASE: Final = "SELECT pgaudit.release_processor_jobs(%(jobs)s::bigint[], %(token)s)"
LONGEST_PAUSE_SECONDS: Final = 5.0


class AttemptFailed(NotPersisted):
    """What Procrastinate sees and logs of a failed attempt: its class. The job's history has the rest."""


class ProcessorOutcomes:
    """Saves the outcomes of jobs that this worker has fetched."""

    def __init__(self, connector: AuditConnector, state: WorkerState) -> None:
        self._connector = connector
        self._state = state
        self._saving = GroupedSaves(self._succeed)

    async def save(self, job: Job, outcome: Outcome) -> None:
        """Saves how an attempt ended, and sends the signals.

        :raises AttemptFailed: it has failed.
        """
        if isinstance(outcome, Failed):
            await self._save_failure(job, outcome)
        elif isinstance(outcome, Discarded):
            await self._execute(DISCARD, job=job.id, reason=outcome.reason)
        else:
            await self._saving.save(cast("int", job.id))

    async def _succeed(self, jobs: Collection[int]) -> None:
        await self._execute(SUCCEED, jobs=list(jobs))

    async def _save_failure(self, job: Job, failed: Failed) -> None:
        row = await self._execute(
            FAIL, job=job.id, counted=failed.counted, retry_in=failed.retry_in, error_class=failed.error_class,
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
        await self._execute(OVERRUN, job=job.id, message=message)

    async def release(self, jobs: Collection[int]) -> None:
        """Returns jobs to the queue as they were. If that fails, they are reclaimed when the worker is gone."""
        if not jobs:
            return
        try:
            await self._connector.execute_query_async(RELEASE, jobs=list(jobs), token=self._state.token)
        except Exception as error:  # noqa: BLE001 - the worker stops
            logger.warning("cannot give jobs %s back, they are released later: %s", list(jobs), safe_summary(error))

    async def _execute(self, query: LiteralString, **values: Any) -> dict[str, Any]:
        """Runs a statement about jobs, through outages of any length: what was done must not be done again."""
        pause = 0.1
        while True:
            try:
                return await self._connector.execute_query_one_async(query, token=self._state.token, **values)
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                await self._connector.leave_read_only_server(error)
                logger.warning("cannot save how jobs ended, will retry: %s", safe_summary(error))
            await asyncio.sleep(with_jitter(pause))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
