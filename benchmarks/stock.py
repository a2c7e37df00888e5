"""Stock Procrastinate's worker, which stores the same events one by one."""

import asyncio
import sys
from typing import Any, Final

from procrastinate import App, PsycopgConnector
from psycopg.types.json import Jsonb

STORE: Final = """
    INSERT INTO pgaudit.audit_log
    SELECT nextval('log_index'), (event->>'id')::uuid, (event->>'occurred_at')::timestamptz,
           (event->>'recorded_at')::timestamptz, clock_timestamp(), event->>'action', event->>'outcome',
           event->'actor'->>'type', event->'actor'->>'id', event->'targets'->0->>'type', event->'targets'->0->>'id',
           event->>'tenant', event, pgaudit.leaf_hash(event)
      FROM (SELECT %s::jsonb AS event OFFSET 0) given
    ON CONFLICT DO NOTHING
"""


async def work(dsn: str, concurrency: int) -> None:
    """Works until it is killed."""
    connector = PsycopgConnector(conninfo=dsn, min_size=1, max_size=concurrency + 3)
    app = App(connector=connector)

    @app.task(name="store", queue="audit")
    async def store(event: dict[str, Any]) -> None:
        async with connector.pool.connection() as conn:
            await conn.execute(STORE, [Jsonb(event)])

    async with app.open_async():
        await app.run_worker_async(queues=["audit"], concurrency=concurrency, install_signal_handlers=False)


def main() -> None:
    """Works for the database and with the concurrency of the command line."""
    asyncio.run(work(sys.argv[1], int(sys.argv[2])))
