"""One business transaction, and what each way to keep an event adds to it."""

from typing import Final

from psycopg.conninfo import make_conninfo

from benchmarks import pgbench, pgqueuer, store
from benchmarks.events import event
from benchmarks.pgbench import Run
from benchmarks.server import Bench
from pgaudit.recording.connections.psycopg_ import RECORD

BARE, OUTBOX, DIRECT, PGAUDIT, STOCK, PGQUEUER = "bare", "outbox", "direct", "pgaudit", "stock", "pgqueuer"
TEN: Final = "ten"
UPDATE: Final = "UPDATE claims SET version = version + 1 WHERE id = :claim;"
# What each adds to the UPDATE; ``event`` is the text of one event. A finished row has all its columns given.
STATEMENTS: Final = {
    BARE: "",
    OUTBOX: "INSERT INTO outbox (payload) VALUES (:event);",
    DIRECT: f"""WITH made AS (SELECT nextval('log_index') AS index, {{new_id}} AS id),
                     keyed AS (INSERT INTO plain_key (event_id, index) SELECT id, index FROM made)
                INSERT INTO plain_log ({store.COLUMNS})
                SELECT index, id, clock_timestamp(), now(), now(), 'claim.approved', 'success', 'user',
                       :actor::text, 'claim', 'c-' || :claim, NULL, :event::jsonb, :hash::bytea
                  FROM made;""",
    PGAUDIT: f"{RECORD % ':one'};",
    STOCK: """SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[ROW ('audit', 'store', 0, NULL, NULL,
                  :args::jsonb, NULL)]::procrastinate_job_to_defer_v1[]));""",
    PGQUEUER: pgqueuer.enqueue_statement(),
    TEN: f"{RECORD % ':ten'};",
}
NAMES: Final = {
    BARE: "nothing else",
    OUTBOX: "+ INSERT into an outbox",
    DIRECT: "+ INSERT of a finished row into a plain log",
    PGAUDIT: "+ pgaudit.record",
    STOCK: "+ procrastinate_defer_jobs_v1",
    PGQUEUER: "+ PgQueuer's enqueue",
    TEN: "+ pgaudit.record of ten events",
}
ALONE: Final = [BARE, OUTBOX, DIRECT, PGAUDIT, STOCK, PGQUEUER]  # those that keep one event, or none


def measure(  # noqa: PLR0913 - what, where, how many, how long, how
    bench: Bench, database: str, variant: str, connections: int, seconds: float, *, settings: str = ""
) -> Run:
    """Business transactions of a variant in a database that has the tables."""
    search_path = "-c search_path=stock,public" if variant == STOCK else ""
    dsn = make_conninfo(bench.conninfo(database), options=f"{search_path} {settings}".strip())
    with bench.connect(database) as conn:
        row = conn.execute("SELECT count(*) FROM claims").fetchone()
    return pgbench.run(dsn, script_of(variant, bench, row[0] if row else 0), connections, seconds, variables())


def script_of(variant: str, bench: Bench, claims: int) -> str:
    """The transaction as pgbench reads it."""
    new_id = "uuidv7()" if float(bench.settings()["server_version"]) >= 18 else "gen_random_uuid()"  # noqa: PLR2004 - which brought uuidv7()
    statement = " ".join(STATEMENTS[variant].format(new_id=new_id).split())
    actors = max(claims // 20, 1)
    chosen = f"\\set claim random(1, {claims})\n\\set actor random(1, {actors})\n"
    return f"{chosen}BEGIN;\n{UPDATE}\n{statement}\nCOMMIT;\n"


def variables() -> dict[str, str]:
    """One event, as each variant takes it."""
    text = event().to_json()
    ten = ",".join(event(number).to_json() for number in range(10))
    return {
        "event": text,
        "one": f"[{text}]",
        "ten": f"[{ten}]",
        "args": f'{{"event": {text}}}',
        "hash": "\\x" + "5a" * 32,
    }
