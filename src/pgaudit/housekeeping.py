"""What a worker does beside its jobs: it shows that it lives, and makes its rounds."""

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Final

import psycopg
from procrastinate import PsycopgConnector

from pgaudit import replay, rescue, schema
from pgaudit.embedded import conninfo
from pgaudit.fetching import AuditJobManager
from pgaudit.settings import Settings
from pgaudit.sqlstates import in_brief

logger = logging.getLogger("pgaudit.worker")

HEARTBEAT: Final = "SELECT pgaudit.heartbeat(%s)"
ENSURE_PARTITIONS: Final = "SELECT pgaudit.ensure_partitions()"
REQUEUE_SKIPPED: Final = "SELECT pgaudit.requeue_skipped_jobs()"
PRUNE: Final = "SELECT pgaudit.prune_batches(), pgaudit.prune_job_errors()"
LONGEST_BEAT_INTERVAL: Final = 10.0
# So long a task may take to end: a cancellation that was not heard by then is repeated.
HEARD_WITHIN: Final = 1.0
REQUEUE_EVERY: Final = 300.0  # it reads what vacuum has still to remove


def beat_interval(settings: Settings) -> float:
    """Three beats may get lost before a worker counts as silent."""
    return min(settings.stalled_after / 4, LONGEST_BEAT_INTERVAL)


async def check_schema(connector: PsycopgConnector) -> None:
    """Says in the application log when the database's schema is not the one that this version needs."""
    try:
        async with connector.pool.connection() as conn:
            found = await schema.state_of_async(conn)
    except psycopg.Error as error:
        logger.warning("cannot check the schema: %s", in_brief(error))
        return
    verdict = schema.standing(found)
    if verdict in {schema.Standing.MISSING, schema.Standing.BEHIND}:
        logger.error(
            "the database is at %s, this version needs %s: run `pgaudit migrate`",
            found or schema.State(),
            schema.SCRIPTS.state,
        )
    elif verdict is schema.Standing.AHEAD:
        logger.info("the database is at %s, which is newer than this version", found)


async def beat(connector: PsycopgConnector, alive: AuditJobManager, settings: Settings) -> None:
    """Shows that the worker lives, until it is unregistered."""
    while True:
        await asyncio.sleep(beat_interval(settings))
        try:
            async with connector.pool.connection() as conn, alive.registration_lock:
                if (worker := alive.runs.registration) is None:
                    continue
                known = await (await conn.execute(HEARTBEAT, [worker.token])).fetchone()
                if known != (True,):
                    logger.warning("worker %d was taken for dead, it registers again", worker.id)
                    await alive.register()
        except Exception as error:  # noqa: BLE001 - whatever it was, the heart beats on
            logger.warning("cannot record a heartbeat, will retry: %s", in_brief(error))


async def make_rounds(connector: PsycopgConnector, alive: AuditJobManager, settings: Settings) -> None:
    """Reclaims stalled jobs, releases lost ones, keeps a partition ahead and prunes old history."""
    rounds = Rounds(alive)
    while True:
        for step in rounds.steps:
            try:
                async with connector.pool.connection() as conn:
                    await step(conn)
            except Exception as error:  # noqa: BLE001 - one step must not keep the others from being made
                logger.warning("round: could not %s, will retry: %s", step.__name__.replace("_", " "), in_brief(error))
        await asyncio.sleep(beat_interval(settings))


async def replay_spool(settings: Settings) -> None:
    """Brings in what this machine has spooled. A round of its own: a file or a disk may take its time."""
    while True:
        try:
            await asyncio.to_thread(replay.replay_all, conninfo(settings.dsn), settings)
        except Exception as error:  # noqa: BLE001 - whatever it was, the spool is looked at again
            logger.warning("cannot replay the spool, will retry: %s", in_brief(error))
        await asyncio.sleep(beat_interval(settings))


async def end(companions: Collection[asyncio.Task[None]]) -> None:
    """Cancels them, and returns when all have ended."""
    pending = set(companions)
    while pending:
        for companion in pending:
            companion.cancel()
        # Once is not enough: psycopg_pool waits by wait_for, which before Python 3.12 forgets a cancellation
        # that arrives together with the connection.
        _, pending = await asyncio.wait(pending, timeout=HEARD_WITHIN)
    await asyncio.gather(*companions, return_exceptions=True)


class Rounds:
    """The steps of a round, and what one round has to remember for the next."""

    def __init__(self, alive: AuditJobManager) -> None:
        self._alive = alive
        self._lost: set[int] = set()
        self._requeue_due = 0.0
        self.steps = (self.reclaim, self.release_lost, self.ensure_partitions, self.requeue_skipped, self.prune)

    async def reclaim(self, conn: psycopg.AsyncConnection) -> None:
        """Takes jobs from workers that are gone."""
        await rescue.reclaim_stalled(conn)

    async def release_lost(self, conn: psycopg.AsyncConnection) -> None:
        """Gives jobs back that this worker has lost sight of: those that were lost in the round before, too."""
        worker = self._alive.runs.registration
        if worker is None:
            return
        lost = await rescue.lost_jobs(conn, worker, self._alive.runs.jobs)
        await rescue.release_lost(conn, worker, lost & self._lost)
        self._lost = lost

    async def ensure_partitions(self, conn: psycopg.AsyncConnection) -> None:
        """Keeps one partition of the log ahead of the one that is being filled."""
        await conn.execute(ENSURE_PARTITIONS)

    async def requeue_skipped(self, conn: psycopg.AsyncConnection) -> None:
        """Makes jobs due that no scan would find, if it is time to look."""
        if time.monotonic() >= self._requeue_due:
            await conn.execute(REQUEUE_SKIPPED)
            self._requeue_due = time.monotonic() + REQUEUE_EVERY

    async def prune(self, conn: psycopg.AsyncConnection) -> None:
        """Merges batches that are older than a day, and deletes old errors of jobs that have left the queue."""
        await conn.execute(PRUNE)
