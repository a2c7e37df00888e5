"""The heartbeat: a worker shows that it is alive, so that no other worker takes its jobs."""

import asyncio
import logging
from typing import Final

from procrastinate import PsycopgConnector

from pgaudit._db_errors import safe_summary
from pgaudit.settings import Settings
from pgaudit.signals import worker_started
from pgaudit.worker.job_manager import AuditJobManager

logger = logging.getLogger("pgaudit.worker")

HEARTBEAT: Final = "SELECT pgaudit.heartbeat(%s)"
MAX_INTERVAL_SECONDS: Final = 10.0


def heartbeat_interval(settings: Settings) -> float:
    """Returns the seconds between two heartbeats: three may be lost before a worker counts as stalled."""
    return min(settings.stalled_after / 4, MAX_INTERVAL_SECONDS)


async def send_heartbeats(connector: PsycopgConnector, job_manager: AuditJobManager, settings: Settings) -> None:
    """Sends heartbeats until it is cancelled, while the worker is registered."""
    while True:
        await asyncio.sleep(heartbeat_interval(settings))
        try:
            async with connector.pool.connection() as conn, job_manager.registration_lock:
                if (worker := job_manager.state.registration) is None:
                    continue
                known = await (await conn.execute(HEARTBEAT, [worker.token])).fetchone()
                if known != (True,):
                    logger.warning("worker %d was removed as stalled, it registers again", worker.id)
                    registration = await job_manager.register()
                    worker_started.send(worker_id=registration.id)
        except Exception as error:  # noqa: BLE001 - whatever it was, the next heartbeat is sent
            logger.warning("cannot record a heartbeat, will retry: %s", safe_summary(error))
