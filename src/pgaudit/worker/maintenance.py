"""Maintenance beside the jobs: stalled and lost jobs, partitions, history, unrecorded changes, spooled events."""

import asyncio
import logging
import time
from typing import Final

import psycopg
from procrastinate import PsycopgConnector
from psycopg.rows import dict_row

from pgaudit import signals
from pgaudit._db_errors import safe_summary
from pgaudit.recording import replay
from pgaudit.settings import Settings
from pgaudit.worker import rescue
from pgaudit.worker.heartbeat import heartbeat_interval
from pgaudit.worker.job_manager import AuditJobManager

logger = logging.getLogger("pgaudit.worker")

ENSURE_PARTITIONS: Final = "SELECT pgaudit.ensure_partitions()"
REQUEUE_SKIPPED: Final = "SELECT pgaudit.requeue_skipped_jobs()"
PRUNE: Final = """
    SELECT pgaudit.prune_batches(), pgaudit.prune_job_errors(), pgaudit.prune_unrecorded_changes(interval '90 days'),
           pgaudit.prune_deliveries()
"""
TEND_CAPTURES: Final = "SELECT pgaudit.tend_captures()"
CLAIM_UNRECORDED: Final = """
    SELECT table_name AS "table", operation, count, targets, xid AS transaction, recorded_by AS role,
           application_name AS application
      FROM pgaudit.claim_unrecorded_changes()
"""
PARTITIONS_EVERY_SECONDS: Final = 60.0
REQUEUE_EVERY_SECONDS: Final = 300.0  # it reads finished jobs that vacuum has not removed yet
PRUNE_EVERY_SECONDS: Final = 300.0
UNRECORDED_EVERY_SECONDS: Final = 30.0
TEND_EVERY_SECONDS: Final = 60.0


async def run_maintenance(connector: PsycopgConnector, job_manager: AuditJobManager, settings: Settings) -> None:
    """Runs the steps of maintenance that are due, once per heartbeat interval, until it is cancelled."""
    maintenance = Maintenance(job_manager)
    due = dict.fromkeys(maintenance.steps, 0.0)
    while True:
        for step, every_seconds in maintenance.steps.items():
            if time.monotonic() < due[step]:
                continue
            try:
                async with connector.pool.connection() as conn:
                    await step(conn)
                due[step] = time.monotonic() + every_seconds
            except Exception as error:  # noqa: BLE001 - a step that fails must not keep the others from running
                name = step.__name__.replace("_", " ")
                logger.warning("maintenance: could not %s, will retry: %s", name, safe_summary(error))
        await asyncio.sleep(heartbeat_interval(settings))


async def replay_spool(settings: Settings) -> None:
    """Records the events that this machine has spooled, once per heartbeat interval, until it is cancelled.

    Not a step of the others: reading a large file or a slow disk takes its time.
    """
    while True:
        try:
            await asyncio.to_thread(replay.replay_all, settings.conninfo, settings)
        except Exception as error:  # noqa: BLE001 - whatever it was, the spool is read again
            logger.warning("cannot replay the spool, will retry: %s", safe_summary(error))
        await asyncio.sleep(heartbeat_interval(settings))


class Maintenance:
    """The steps of maintenance, and what one pass remembers for the next."""

    def __init__(self, job_manager: AuditJobManager) -> None:
        self._job_manager = job_manager
        self._lost: set[int] = set()
        # And how often each runs: the seconds until it is due again.
        self.steps = {
            self.reclaim: 0.0,
            self.release_lost: 0.0,
            self.ensure_partitions: PARTITIONS_EVERY_SECONDS,
            self.requeue_skipped: REQUEUE_EVERY_SECONDS,
            self.prune: PRUNE_EVERY_SECONDS,
            self.tell_unrecorded: UNRECORDED_EVERY_SECONDS,
            self.tend_captures: TEND_EVERY_SECONDS,
        }

    async def reclaim(self, conn: psycopg.AsyncConnection) -> None:
        """Takes jobs from stalled workers."""
        await rescue.reclaim_stalled(conn)

    async def release_lost(self, conn: psycopg.AsyncConnection) -> None:
        """Gives back jobs that this worker holds and does not run, if the pass before found them, too."""
        worker = self._job_manager.state.registration
        if worker is None:
            return
        lost = await rescue.lost_jobs(conn, worker, self._job_manager.state.jobs)
        await rescue.release_lost(conn, worker, lost & self._lost)
        self._lost = lost

    async def ensure_partitions(self, conn: psycopg.AsyncConnection) -> None:
        """Keeps one partition of the audit log ahead of the one that is being filled."""
        await conn.execute(ENSURE_PARTITIONS)

    async def requeue_skipped(self, conn: psycopg.AsyncConnection) -> None:
        """Makes jobs due that the scan for fresh jobs would not find."""
        await conn.execute(REQUEUE_SKIPPED)

    async def prune(self, conn: psycopg.AsyncConnection) -> None:
        """Merges batches older than a day; deletes old errors of jobs that have left the queue, and old findings."""
        await conn.execute(PRUNE)

    async def tend_captures(self, conn: psycopg.AsyncConnection) -> None:
        """Completes the triggers of new partitions, and ends what is left of captured tables that were dropped."""
        await conn.execute(TEND_CAPTURES)

    async def tell_unrecorded(self, conn: psycopg.AsyncConnection) -> None:
        """Sends a signal for each change that a guard has let pass without an event."""
        async with conn.cursor(row_factory=dict_row) as cursor:
            found = await (await cursor.execute(CLAIM_UNRECORDED)).fetchall()
        for details in found:
            signals.unrecorded_change.send(**details)
