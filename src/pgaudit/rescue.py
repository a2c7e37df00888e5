"""Jobs whose worker is gone, and jobs that a living worker has lost sight of."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from pgaudit import outcomes
from pgaudit.runs import Registration
from pgaudit.signals import job_failed, job_stalled

logger = logging.getLogger("pgaudit.worker")

RECLAIM: Final = "SELECT job_id, worker_id, stalls, failed FROM pgaudit.reclaim_stalled_jobs()"
RUNNING_JOBS: Final = "SELECT job FROM pgaudit.running_jobs(%s) job"


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """A job that was taken from a silent worker, for the ``stalls``-th time; failed when that was once too often."""

    job_id: int
    worker_id: int | None
    stalls: int
    failed: bool


async def reclaim_stalled(conn: psycopg.AsyncConnection[Any]) -> list[Reclaimed]:
    """Puts the jobs of silent workers back into the queue, or fails them, as those workers' own settings say."""
    async with conn.cursor(row_factory=class_row(Reclaimed)) as cursor:
        await cursor.execute(RECLAIM)
        reclaimed = await cursor.fetchall()
    for job in reclaimed:
        job_stalled.send(job_id=job.job_id, worker_id=job.worker_id, stalls=job.stalls, failed=job.failed)
        if job.failed:
            job_failed.send(job_id=job.job_id, error_class="JobStalled", sqlstate=None)
    return reclaimed


async def lost_jobs(conn: psycopg.AsyncConnection[Any], worker: Registration, running: Collection[int]) -> set[int]:
    """Jobs that the database says this worker runs, and the worker does not: their end could not be saved.

    A job that was fetched this very moment looks the same: only one that is still lost at the next look is.
    """
    cursor = await conn.execute(RUNNING_JOBS, [worker.token])
    return {job for (job,) in await cursor.fetchall()} - set(running)


async def release_lost(conn: psycopg.AsyncConnection[Any], worker: Registration, jobs: Collection[int]) -> None:
    """Gives lost jobs back."""
    if jobs:
        await outcomes.release(conn, worker, jobs)
        logger.warning("released jobs %s: this worker, %d, does not run them", sorted(jobs), worker.id)
