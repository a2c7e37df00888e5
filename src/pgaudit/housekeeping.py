"""What a worker does beside its jobs: it shows that it lives, and makes its rounds."""

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Final

import psycopg
from procrastinate import PsycopgConnector

from pgaudit import replay, rescue
from pgaudit.embedded import conninfo
from pgaudit.fetching import AuditJobManager
from pgaudit.settings import Settings
from pgaudit.sqlstates import in_brief

logger = logging.getLogger("pgaudit.worker")

BEAT: Final = "SELECT pgaudit.beat(%s)"
KEEP_PARTITIONS: Final = "SELECT pgaudit.keep_partitions()"
READMIT: Final = "SELECT pgaudit.readmit_strays()"
FORGET: Final = "SELECT pgaudit.forget_batches()"
LONGEST_BEAT_INTERVAL: Final = 10.0
PARTITIONS_EVERY: Final = 3_600.0
# So long a task may take to end: a cancellation that was not heard by then is repeated.
HEARD_WITHIN: Final = 1.0
STRAYS_EVERY: Final = 300.0  # it reads what vacuum has still to remove


def beat_interval(settings: Settings) -> float:
    """Three beats may get lost before a worker counts as silent."""
    return min(settings.stalled_after / 4, LONGEST_BEAT_INTERVAL)


async def beat(connector: PsycopgConnector, alive: AuditJobManager, settings: Settings) -> None:
    """Shows that the worker lives, until it is unregistered."""
    while True:
        await asyncio.sleep(beat_interval(settings))
        try:
            # A beat that overtook the goodbye would bring the worker's row back for good.
            async with connector.pool.connection() as conn, alive.leaving:
                if alive.worker_id is not None:
                    await conn.execute(BEAT, [alive.worker_id])
        except Exception as error:  # noqa: BLE001 - whatever it was, the heart beats on
            logger.warning("cannot record a heartbeat, will retry: %s", in_brief(error))


async def make_rounds(connector: PsycopgConnector, alive: AuditJobManager, settings: Settings) -> None:
    """Reclaims stalled jobs, releases lost ones, keeps partitions ahead and forgets old history."""
    rounds = Rounds(alive, settings)
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

    def __init__(self, alive: AuditJobManager, settings: Settings) -> None:
        self._alive = alive
        self._settings = settings
        self._lost: set[int] = set()
        self._partitions_due = 0.0
        self._strays_due = 0.0
        self.steps = (self.reclaim, self.release_lost, self.keep_partitions, self.readmit, self.forget)

    async def reclaim(self, conn: psycopg.AsyncConnection) -> None:
        """Takes jobs from workers that are gone."""
        await rescue.reclaim_stalled(conn, self._settings)

    async def release_lost(self, conn: psycopg.AsyncConnection) -> None:
        """Gives jobs back that this worker has lost sight of: those that were lost in the round before, too."""
        worker_id = self._alive.worker_id
        if worker_id is None:
            return
        lost = await rescue.lost_jobs(conn, worker_id, self._alive.runs.jobs)
        await rescue.release_lost(conn, worker_id, lost & self._lost)
        self._lost = lost

    async def keep_partitions(self, conn: psycopg.AsyncConnection) -> None:
        """Creates the partitions of the coming months, if it is time to look."""
        if time.monotonic() >= self._partitions_due:
            await conn.execute(KEEP_PARTITIONS)
            self._partitions_due = time.monotonic() + PARTITIONS_EVERY

    async def readmit(self, conn: psycopg.AsyncConnection) -> None:
        """Makes jobs due that somebody has put into the queue below its floor, if it is time to look."""
        if time.monotonic() >= self._strays_due:
            await conn.execute(READMIT)
            self._strays_due = time.monotonic() + STRAYS_EVERY

    async def forget(self, conn: psycopg.AsyncConnection) -> None:
        """Deletes some of the history of batches that is older than a month."""
        await conn.execute(FORGET)
