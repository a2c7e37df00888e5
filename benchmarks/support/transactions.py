"""The business transaction that pgbench runs: an UPDATE of one claim, and what each variant adds to keep an event.

pgbench is written in C, so that the clients take little processor time beside the server. With ``own_ids`` the server
makes each event from a template, with a random id and the updated claim as its target, so that a worker can store it;
otherwise every event is the same, which leaves the statement alone to be measured.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from psycopg.conninfo import make_conninfo

from benchmarks.support import pgbench, pgqueuer, plain_log
from benchmarks.support.load import event
from benchmarks.support.server import RUN, Bench
from benchmarks.support.stock_procrastinate import stock_conninfo
from pgaudit.recording.connections.psycopg_ import RECORD

BARE, OUTBOX, DIRECT, PGAUDIT, STOCK, PGQUEUER = "bare", "outbox", "direct", "pgaudit", "stock", "pgqueuer"
TEN: Final = "ten"
UPDATE: Final = "UPDATE claims SET version = version + 1 WHERE id = :claim;"
# What each variant adds to the UPDATE. ``direct`` has all columns of its row given.
STATEMENTS: Final = {
    BARE: "",
    OUTBOX: "INSERT INTO outbox (payload) VALUES ({event}::jsonb);",
    DIRECT: f"""WITH made AS (SELECT nextval('log_index') AS index, {{new_id}} AS id),
                     keyed AS (INSERT INTO plain_key (event_id, index) SELECT id, index FROM made)
                INSERT INTO plain_log ({plain_log.COLUMNS})
                SELECT index, id, clock_timestamp(), now(), now(), 'claim.approved', 'success', 'user',
                       :actor::text, 'claim', 'c-' || :claim::text, NULL, {{event}}::jsonb, :hash::bytea
                  FROM made;""",
    PGAUDIT: f"{RECORD % '{event}::jsonb'};",
    STOCK: """SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[ROW ('audit', 'store', 0, NULL, NULL,
                  {event}::jsonb, NULL)]::procrastinate_job_to_defer_v1[]));""",
    PGQUEUER: pgqueuer.enqueue_statement(),
    TEN: f"{RECORD % '{event}::jsonb'};",
}
NAMES: Final = {
    BARE: "nothing else",
    OUTBOX: "+ INSERT into an outbox",
    DIRECT: "+ INSERT of a complete row into a plain log",
    PGAUDIT: "+ pgaudit.record",
    STOCK: "+ procrastinate_defer_jobs_v1",
    PGQUEUER: "+ PgQueuer's enqueue",
    TEN: "+ pgaudit.record of ten events",
}
SINGLE: Final = [BARE, OUTBOX, DIRECT, PGAUDIT, STOCK, PGQUEUER]  # the variants with at most one event
# pgaudit.record sets recorded_at itself; for the others it is part of the event.
FROM_TEMPLATE: Final = "format(:event, {id}, :actor::int, :claim::int, clock_timestamp())"


@dataclass(frozen=True, slots=True)
class Script:
    """A variant's transaction for pgbench: its text and its variables."""

    text: str
    variables: dict[str, str]


def measure(  # noqa: PLR0913 - database, variant, load and settings
    bench: Bench, database: str, variant: str, connections: int, seconds: float, *, settings: str = ""
) -> pgbench.Run:
    """Runs a variant flat out in a database that has the tables, with server settings such as ``-c name=value``."""
    search_path = "-c search_path=stock,public" if variant == STOCK else ""
    dsn = make_conninfo(bench.conninfo(database), options=f"{search_path} {settings}".strip())
    with bench.connect(database) as conn:
        claims = (conn.execute("SELECT count(*) FROM claims").fetchone() or (0,))[0]
    script = make_script(bench, variant, claims)
    return pgbench.run(dsn, script.text, connections, seconds, script.variables)


@contextmanager
def writers(
    bench: Bench, variant: str, connections: int, seconds: float, rate: float | None = None
) -> Generator[pgbench.Process]:
    """Runs a variant with own ids in the database of this run, ``rate`` transactions a second or flat out.

    pgbench ends by itself after that many seconds, and is killed at the end of the block.
    """
    script = make_script(bench, variant, own_ids=True)
    dsn = conninfo(bench, variant)
    with pgbench.running(dsn, script.text, connections, seconds, script.variables, rate) as process:
        yield process


def run_once(bench: Bench, variant: str) -> None:
    """Runs a single transaction with an own id in the database of this run."""
    script = make_script(bench, variant, own_ids=True)
    pgbench.once(conninfo(bench, variant), script.text, script.variables)


def conninfo(bench: Bench, variant: str) -> str:
    """Returns the connection string of a variant's clients for the database of this run."""
    return stock_conninfo(bench, RUN) if variant == STOCK else bench.conninfo(RUN)


def make_script(bench: Bench, variant: str, claims: int = plain_log.CLAIMS, *, own_ids: bool = False) -> Script:
    """Returns the transaction of a variant on that many claims."""
    new_id = "id" if variant == DIRECT else "{new_id}"  # direct uses the id twice
    source = FROM_TEMPLATE.replace("{id}", new_id) if own_ids else ":event"
    statement = STATEMENTS[variant].replace("{event}", source).replace("{new_id}", bench.new_id)
    choice = f"\\set claim random(1, {claims})\n\\set actor random(1, {max(claims // 20, 1)})\n"
    text = f"{choice}BEGIN;\n{UPDATE}\n{' '.join(statement.split())}\nCOMMIT;\n"
    return Script(text, {"event": document(variant, own_ids=own_ids), "hash": "\\x" + "5a" * 32})


def document(variant: str, *, own_ids: bool) -> str:
    """Returns the JSON that a variant stores, or its template."""
    events: list[dict[str, Any]] = [json.loads(event(number).to_json()) for number in range(10)]
    if own_ids:
        events[0] |= {"id": "%1$s"} | ({} if variant == PGAUDIT else {"recorded_at": "%4$s"})
        events[0]["actor"]["id"], events[0]["targets"][0]["id"] = "%2$s", "c-%3$s"
    shapes: dict[str, object] = {PGAUDIT: events[:1], TEN: events, STOCK: {"event": events[0]}}
    return json.dumps(shapes.get(variant, events[0]))
