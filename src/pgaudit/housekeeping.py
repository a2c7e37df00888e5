"""What a worker does beside its jobs: it shows that it lives, and makes its rounds."""

import asyncio
import logging
import time
from typing import Final, Protocol

import psycopg
from procrastinate import PsycopgConnector

from pgaudit import replay, rescue
from pgaudit.embedded import conninfo
from pgaudit.settings import Settings
from pgaudit.sqlstates import in_brief

logger = logging.getLogger("pgaudit.worker")

BEAT: Final = "SELECT pgaudit.beat(%s)"
KEEP_PARTITIONS: Final = "SELECT pgaudit.keep_partitions()"
LONGEST_BEAT_INTERVAL: Final = 10.0
PARTITIONS_EVERY: Final = 3_600.0


class Alive(Protocol):
    """Which worker of this process is registered, and which jobs it runs."""

    worker_id: int | None
    running: set[int]


def beat_interval(settings: Settings) -> float:
    """Three beats may get lost before a worker counts as silent."""
    return min(settings.stalled_after / 4, LONGEST_BEAT_INTERVAL)


async def beat(connector: PsycopgConnector, alive: Alive, settings: Settings) -> None:
    """Shows that the worker lives, until it is unregistered."""
    while True:
        await asyncio.sleep(beat_interval(settings))
        if alive.worker_id is None:
            continue
        try:
            async with connector.pool.connection() as conn:
                await conn.execute(BEAT, [alive.worker_id])
        except Exception as error:  # noqa: BLE001 - whatever it was, the heart beats on
            logger.warning("cannot show that the worker lives: %s", error)


async def make_rounds(connector: PsycopgConnector, alive: Alive, settings: Settings) -> None:
    """Reclaims stalled jobs, releases lost ones, replays the spool and keeps partitions ahead."""
    rounds = Rounds(connector, alive, settings)
    while True:
        await rounds.make()
        await asyncio.sleep(beat_interval(settings))


class Rounds:
    """One round after the other, with what one has to remember for the next."""

    def __init__(self, connector: PsycopgConnector, alive: Alive, settings: Settings) -> None:
        self._connector = connector
        self._alive = alive
        self._settings = settings
        self._lost: set[int] = set()
        self._partitions_due = 0.0

    async def make(self) -> None:
        """A round; what fails in it is tried again in the next."""
        try:
            async with self._connector.pool.connection() as conn:
                await rescue.reclaim_stalled(conn, self._settings)
                await self._release_lost(conn)
                await self._keep_partitions(conn)
            await asyncio.to_thread(replay.replay_all, conninfo(self._settings.dsn), self._settings)
        except Exception as error:  # noqa: BLE001 - without rounds nothing is reclaimed, and nobody would notice
            logger.warning("round broken off, the next one goes on: %s", in_brief(error))

    async def _release_lost(self, conn: psycopg.AsyncConnection) -> None:
        worker_id = self._alive.worker_id
        if worker_id is None:
            return
        lost = await rescue.lost_jobs(conn, worker_id, self._alive.running)
        await rescue.release_lost(conn, worker_id, lost & self._lost)
        self._lost = lost

    async def _keep_partitions(self, conn: psycopg.AsyncConnection) -> None:
        if time.monotonic() >= self._partitions_due:
            await conn.execute(KEEP_PARTITIONS)
            self._partitions_due = time.monotonic() + PARTITIONS_EVERY
