"""Business transactions of pgbench, each an UPDATE and an event with an id of its own, at a rate or flat out.

pgbench is written in C, so that the writers take little more processor time than their statements take in the server.
The server makes each event from one template: its id is random, its target is the updated claim.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from benchmarks import peers, pgbench, pgqueuer, store
from benchmarks.events import event
from benchmarks.server import RUN, Bench
from benchmarks.variants import DIRECT, PGAUDIT, PGQUEUER, STOCK, UPDATE
from pgaudit.recording.connections.psycopg_ import RECORD

LOGS: Final = {
    DIRECT: store.PLAIN_LOG,
    PGAUDIT: store.LOG,
    STOCK: store.PLAIN_LOG,
    PGQUEUER: store.PLAIN_LOG,
}
MADE: Final = "format(:event, {id}, :actor::int, :claim::int)"
# pgaudit.record sets recorded_at itself; for the others it is part of the event.
STAMPED: Final = "format(:event, {id}, :actor::int, :claim::int, clock_timestamp())"
STATEMENTS: Final = {
    DIRECT: f"""WITH made AS (SELECT nextval('log_index') AS index, {{id}} AS id),
                     keyed AS (INSERT INTO plain_key (event_id, index) SELECT id, index FROM made)
                INSERT INTO plain_log ({store.COLUMNS})
                SELECT index, id, clock_timestamp(), now(), now(), 'claim.approved', 'success', 'user',
                       :actor::text, 'claim', 'c-' || :claim::text, NULL, {STAMPED.format(id="id")}::jsonb, :hash::bytea
                  FROM made;""",
    PGAUDIT: f"{RECORD % f'{MADE}::jsonb'};",
    STOCK: f"""SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[ROW ('audit', 'store', 0, NULL, NULL,
                   {STAMPED}::jsonb, NULL)]::procrastinate_job_to_defer_v1[]));""",
    PGQUEUER: pgqueuer.enqueue_statement().replace(":event::text", STAMPED),
}


@contextmanager
def writers(
    bench: Bench, way: str, connections: int, seconds: float, rate: float | None = None
) -> Generator[pgbench.Process]:
    """pgbench at work on that many connections of this run's database: ``rate`` transactions a second, or flat out.

    It ends by itself after that many seconds, and is killed at the end of the block.
    """
    with pgbench.running(
        conninfo(bench, way), script(bench, way), connections, seconds, variables(way), rate
    ) as process:
        yield process


def once(bench: Bench, way: str) -> None:
    """A single transaction."""
    pgbench.once(conninfo(bench, way), script(bench, way), variables(way))


def create(bench: Bench) -> None:
    """A fresh database for this run."""
    bench.create(RUN, peers.BUSINESS)


def conninfo(bench: Bench, way: str) -> str:
    """The database of this run, as the writers see it."""
    return peers.stock_conninfo(bench, RUN) if way == STOCK else bench.conninfo(RUN)


def script(bench: Bench, way: str) -> str:
    """The transaction as pgbench reads it."""
    new_id = "uuidv7()" if float(bench.settings()["server_version"]) >= 18 else "gen_random_uuid()"  # noqa: PLR2004 - which brought uuidv7()
    statement = " ".join(STATEMENTS[way].format(id=new_id).split())
    return f"\\set claim random(1, 10000)\n\\set actor random(1, 500)\nBEGIN;\n{UPDATE}\n{statement}\nCOMMIT;\n"


def variables(way: str) -> dict[str, str]:
    """The template of an event, as each way takes it, and a hash."""
    document: dict[str, Any] = json.loads(event().to_json())
    document["id"] = "%1$s"
    document["actor"]["id"] = "%2$s"
    document["targets"][0]["id"] = "c-%3$s"
    if way == PGAUDIT:
        return {"event": json.dumps([document])}
    document["recorded_at"] = "%4$s"
    return {"event": json.dumps({"event": document} if way == STOCK else document), "hash": "\\x" + "5a" * 32}
