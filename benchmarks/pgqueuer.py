"""PgQueuer, set up as its documentation says, and its worker, which stores the same events one by one."""

import asyncio
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from pgqueuer import AsyncpgDriver, Job, PgQueuer, Queries
from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
from psycopg.conninfo import conninfo_to_dict

from benchmarks.store import STORE

ENTRYPOINT: Final = "store"
BATCH: Final = 1_000
# priority, entrypoint, payload, execute_after, dedupe_key, headers
VALUES: Final = (
    "ARRAY[0]",
    f"ARRAY['{ENTRYPOINT}']",
    "ARRAY[convert_to(:event::text, 'UTF8')]",
    "ARRAY[interval '0']",
    "ARRAY[NULL]",
    "ARRAY['null'::jsonb]",
)


def arguments(dsn: str) -> dict[str, Any]:
    """A libpq string as asyncpg takes it."""
    names = {"host": "host", "port": "port", "user": "user", "password": "password", "dbname": "database"}
    return {names[name]: value for name, value in conninfo_to_dict(dsn).items() if name in names}


def install(dsn: str) -> None:
    """``pgq install`` and ``pgq autovac``."""

    async def installed() -> None:
        conn = await asyncpg.connect(**arguments(dsn))
        queries = Queries(AsyncpgDriver(conn))
        await queries.install()
        await queries.optimize_autovacuum()
        await conn.close()

    asyncio.run(installed())


def enqueue(dsn: str, events: Sequence[str], batch: int = BATCH) -> None:
    """Enqueues events, that number in one call."""

    async def enqueued() -> None:
        conn = await asyncpg.connect(**arguments(dsn))
        queries = Queries(AsyncpgDriver(conn))
        for first in range(0, len(events), batch):
            payloads: list[bytes | None] = [each.encode() for each in events[first : first + batch]]
            await queries.enqueue([ENTRYPOINT] * len(payloads), payloads, [0] * len(payloads))
        await conn.close()

    asyncio.run(enqueued())


def enqueue_statement() -> str:
    """The statement that ``enqueue`` executes, as pgbench reads it for one event in its variable ``event``."""
    statement = re.sub(r"--.*", "", QueryQueueBuilder().build_enqueue_query())
    return re.sub(r"\$(\d)", lambda found: VALUES[int(found[1]) - 1], statement).strip() + ";"


async def work(dsn: str, batch_size: int) -> None:
    """Works until it is killed: a connection for the queue, as is advised, and a pool for what the jobs do."""
    async with asyncpg.create_pool(**arguments(dsn), min_size=5, max_size=20) as pool:
        pgq = PgQueuer(AsyncpgDriver(await asyncpg.connect(**arguments(dsn))))

        @pgq.entrypoint(ENTRYPOINT)
        async def store(job: Job) -> None:
            await pool.execute(STORE, (job.payload or b"").decode())

        await pgq.run(batch_size=batch_size)


def main() -> None:
    """Works for the database and with the batch size of the command line."""
    asyncio.run(work(sys.argv[1], int(sys.argv[2])))
