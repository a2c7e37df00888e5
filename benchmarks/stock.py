"""Stock Procrastinate's worker, which stores the same events one by one."""

import asyncio
import json
import sys
from typing import Any, Final, Literal

from procrastinate import App, PsycopgConnector
from psycopg import AsyncRawCursor

from benchmarks.store import STORE

# Finished jobs are deleted, as its documentation advises for queues with much traffic, or kept, as is its default.
Delete = Literal["successful", "never"]
DELETE: Final[tuple[Delete, ...]] = ("successful", "never")


async def work(dsn: str, concurrency: int, delete: Delete) -> None:
    """Works until it is killed."""
    connector = PsycopgConnector(conninfo=dsn, min_size=1, max_size=concurrency + 3)
    app = App(connector=connector)

    @app.task(name="store", queue="audit")
    async def store(event: dict[str, Any]) -> None:
        async with connector.pool.connection() as conn:
            await AsyncRawCursor(conn).execute(STORE, [json.dumps(event)])

    async with app.open_async():
        await app.run_worker_async(
            queues=["audit"], concurrency=concurrency, delete_jobs=delete, install_signal_handlers=False
        )


def main() -> None:
    """Works for the database, with the concurrency and the fate of finished jobs of the command line."""
    asyncio.run(work(sys.argv[1], int(sys.argv[2]), next(each for each in DELETE if each == sys.argv[3])))
