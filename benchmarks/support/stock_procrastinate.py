"""Procrastinate as it comes: its application, and a worker that stores each event in the plain log."""

import asyncio
import json
import sys
from typing import Any, Final, Literal

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from psycopg import AsyncRawCursor
from psycopg.conninfo import make_conninfo

from benchmarks.support.plain_log import STORE
from benchmarks.support.server import Bench

# Finished jobs are deleted, as its documentation advises for busy queues, or kept, which is its default.
Delete = Literal["successful", "never"]
DELETE: Final[tuple[Delete, ...]] = ("successful", "never")


def stock_conninfo(bench: Bench, database: str) -> str:
    """Returns a connection string for Procrastinate, whose functions rely on the search_path."""
    return make_conninfo(bench.conninfo(database), options="-c search_path=stock,public")


def stock_app(dsn: str) -> App:
    """Returns the application for synchronous code."""
    return App(connector=SyncPsycopgConnector(conninfo=dsn))


async def work(dsn: str, concurrency: int, delete: Delete) -> None:
    """Runs a worker until the process is killed."""
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
    """Runs a worker; the command line has the connection string, the concurrency, and what to do with finished jobs."""
    asyncio.run(work(sys.argv[1], int(sys.argv[2]), next(each for each in DELETE if each == sys.argv[3])))
