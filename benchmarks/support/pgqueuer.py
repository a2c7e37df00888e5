"""PgQueuer, set up as its documentation says, and a worker that stores each event in the plain log."""

import asyncio
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from pgqueuer import AsyncpgDriver, Job, PgQueuer, Queries
from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
from psycopg.conninfo import conninfo_to_dict

from benchmarks.support.plain_log import STORE

ENTRYPOINT: Final = "store"
BATCH: Final = 1_000
# The parameters of the statement: priority, entrypoint, payload, execute_after, dedupe_key, headers.
VALUES: Final = (
    "ARRAY[0]",
    f"ARRAY['{ENTRYPOINT}']",
    "ARRAY[convert_to({event}::text, 'UTF8')]",
    "ARRAY[interval '0']",
    "ARRAY[NULL]",
    "ARRAY['null'::jsonb]",
)


def arguments(dsn: str) -> dict[str, Any]:
    """Returns a libpq connection string as the arguments of asyncpg."""
    names = {"host": "host", "port": "port", "user": "user", "password": "password", "dbname": "database"}
    return {names[name]: value for name, value in conninfo_to_dict(dsn).items() if name in names}


def install(dsn: str) -> None:
    """Does what ``pgq install`` and ``pgq autovac`` do."""

    async def installed() -> None:
        conn = await asyncpg.connect(**arguments(dsn))
        queries = Queries(AsyncpgDriver(conn))
        await queries.install()
        await queries.optimize_autovacuum()
        await conn.close()

    asyncio.run(installed())


def enqueue(dsn: str, events: Sequence[str], batch: int = BATCH) -> None:
    """Enqueues events, ``batch`` of them in each call."""

    async def enqueued() -> None:
        conn = await asyncpg.connect(**arguments(dsn))
        queries = Queries(AsyncpgDriver(conn))
        for first in range(0, len(events), batch):
            payloads: list[bytes | None] = [each.encode() for each in events[first : first + batch]]
            await queries.enqueue([ENTRYPOINT] * len(payloads), payloads, [0] * len(payloads))
        await conn.close()

    asyncio.run(enqueued())


def enqueue_statement() -> str:
    """Returns the statement that ``enqueue`` executes, for pgbench and for one event; its text replaces ``{event}``."""
    statement = re.sub(r"--.*", "", QueryQueueBuilder().build_enqueue_query())
    return re.sub(r"\$(\d)", lambda found: VALUES[int(found[1]) - 1], statement).strip() + ";"


async def work(dsn: str, batch_size: int) -> None:
    """Runs a worker until the process is killed: one connection for the queue, as advised, and a pool for the jobs."""
    async with asyncpg.create_pool(**arguments(dsn), min_size=5, max_size=20) as pool:
        pgq = PgQueuer(AsyncpgDriver(await asyncpg.connect(**arguments(dsn))))

        @pgq.entrypoint(ENTRYPOINT)
        async def store(job: Job) -> None:
            await pool.execute(STORE, (job.payload or b"").decode())

        await pgq.run(batch_size=batch_size)


def main() -> None:
    """Runs a worker; the command line has the connection string and the batch size."""
    asyncio.run(work(sys.argv[1], int(sys.argv[2])))
