"""Rescue of jobs: those of stalled workers, and those that a worker holds and does not run."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from pgaudit.signals import job_failed, job_stalled
from pgaudit.worker import failures
from pgaudit.worker.state import Registration

logger = logging.getLogger("pgaudit.worker")

RECLAIM: Final = "SELECT job_id, worker_id, stalls, failed FROM pgaudit.reclaim_stalled_jobs()"
RUNNING_JOBS: Final = "SELECT job FROM pgaudit.running_jobs(%s) job"


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """A job that was taken from a stalled worker, for the ``stalls``-th time; ``failed`` after ``max_stalls``."""

    job_id: int
    worker_id: int | None
    stalls: int
    failed: bool


async def reclaim_stalled(conn: psycopg.AsyncConnection[Any]) -> list[Reclaimed]:
    """Puts jobs of stalled workers back into the queue, or fails them after the worker's ``max_stalls``."""
    async with conn.cursor(row_factory=class_row(Reclaimed)) as cursor:
        await cursor.execute(RECLAIM)
        reclaimed = await cursor.fetchall()
    for job in reclaimed:
        job_stalled.send(job_id=job.job_id, worker_id=job.worker_id, stalls=job.stalls, failed=job.failed)
        if job.failed:
            job_failed.send(job_id=job.job_id, error_class="JobStalled", sqlstate=None)
    return reclaimed


async def lost_jobs(conn: psycopg.AsyncConnection[Any], worker: Registration, running: Collection[int]) -> set[int]:
    """Returns the jobs that this worker holds in the database and does not run: their outcome could not be saved.

    A job that is being fetched at this moment looks the same. Only a job that is found twice is lost.
    """
    cursor = await conn.execute(RUNNING_JOBS, [worker.token])
    return {job for (job,) in await cursor.fetchall()} - set(running)


async def release_lost(conn: psycopg.AsyncConnection[Any], worker: Registration, jobs: Collection[int]) -> None:
    """Gives lost jobs back."""
    if jobs:
        await failures.release(conn, worker, jobs)
        logger.warning("released jobs %s: this worker, %d, does not run them", sorted(jobs), worker.id)
