"""Sends streams: each worker looks for streams that are due, and starts a thread for each."""

import asyncio
import logging
from typing import Final

from psycopg.rows import scalar_row

from pgaudit._db_errors import safe_summary
from pgaudit.settings import Settings
from pgaudit.streams.runner import Runner
from pgaudit.streams.stream_thread import LOOK_EVERY_SECONDS
from pgaudit.streams.throttle import Throttle
from pgaudit.worker.connection import connect
from pgaudit.worker.connector import AuditConnector

logger = logging.getLogger("pgaudit.worker")

DUE: Final = "SELECT name FROM pgaudit.due_streams() WHERE kind = 'destination'"


async def run_streams(connector: AuditConnector, settings: Settings, throttle: Throttle) -> None:
    """Starts a thread for each stream that is due, once per second, until it is cancelled; then waits for them."""
    runner = Runner(settings, connect, throttle)
    try:
        while settings.run_streams:
            try:
                runner.start(await due_streams(connector))
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
                logger.warning("cannot look for streams, will retry: %s", safe_summary(error))
            await asyncio.sleep(LOOK_EVERY_SECONDS)
    finally:
        runner.stopping.set()
        await asyncio.shield(asyncio.to_thread(runner.stop, settings.shutdown_timeout))


async def due_streams(connector: AuditConnector) -> list[str]:
    """Returns the names of the streams that have something to send."""
    async with connector.pool.connection() as conn, conn.cursor(row_factory=scalar_row) as cursor:
        names: list[str] = await (await cursor.execute(DUE)).fetchall()
    return names
