"""Sends streams beside the jobs: whichever worker finds one due does it."""

import asyncio
import logging

from pgaudit._db_errors import safe_summary
from pgaudit.settings import Settings
from pgaudit.streams.runner import LOOK_EVERY_SECONDS, Runner
from pgaudit.worker.sealing import connected

logger = logging.getLogger("pgaudit.worker")


async def run_streams(settings: Settings) -> None:
    """Starts a thread for each stream that is due, once per second, until it is cancelled; then waits for them."""
    runner = Runner(settings, connected)
    try:
        while settings.run_streams:
            try:
                await asyncio.to_thread(look, runner)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
                logger.warning("cannot look for streams, will retry: %s", safe_summary(error))
            await asyncio.sleep(LOOK_EVERY_SECONDS)
    finally:
        runner.stopping.set()
        await asyncio.shield(asyncio.to_thread(runner.stop, settings.shutdown_timeout))


def look(runner: Runner) -> None:
    """Starts what is due."""
    with connected(runner.settings, "pgaudit streams") as conn:
        runner.start_due(conn)
