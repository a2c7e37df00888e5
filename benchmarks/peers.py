"""The databases: pgaudit's schema, stock Procrastinate's, an outbox, a plain log, and the claims."""

from typing import Final

from procrastinate import App, SyncPsycopgConnector
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.events import event
from benchmarks.server import Bench
from pgaudit import Settings, jobs, migrate

BUSINESS: Final = "pgaudit_benchmark_business"
QUEUED: Final = "pgaudit_benchmark_queued"
TABLES: Final = """
    CREATE SCHEMA stock;
    CREATE TABLE claims (id int PRIMARY KEY, status text NOT NULL, version int NOT NULL) WITH (fillfactor = 50);
    INSERT INTO claims SELECT n, 'open', 0 FROM generate_series(1, 10000) n;
    CREATE TABLE outbox (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, payload jsonb NOT NULL,
                         at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE plain_log (LIKE pgaudit.audit_log);
    ALTER TABLE plain_log ADD PRIMARY KEY (event_id, occurred_at);
    CREATE INDEX ON plain_log (index);
    CREATE INDEX ON plain_log (target_type, target_id, occurred_at);
    CREATE INDEX ON plain_log (actor_type, actor_id, occurred_at);
    CREATE SEQUENCE log_index;
    VACUUM ANALYZE claims;
"""
# The rows that the log will hold, finished but for the time at which they are persisted.
FINISHED: Final = """
    CREATE TABLE finished AS
    SELECT row_number() OVER (ORDER BY id) - 1 AS index, (event->>'id')::uuid AS event_id,
           (event->>'occurred_at')::timestamptz AS occurred_at, (event->>'recorded_at')::timestamptz AS recorded_at,
           now() AS persisted_at, event->>'action' AS action, event->>'outcome' AS outcome,
           event->'actor'->>'type' AS actor_type, event->'actor'->>'id' AS actor_id,
           event->'targets'->0->>'type' AS target_type, event->'targets'->0->>'id' AS target_id,
           event->>'tenant' AS tenant, event, decode(leaf_hash, 'hex') AS leaf_hash
      FROM (SELECT id, args->'event' AS event, args->>'leaf_hash' AS leaf_hash
              FROM pgaudit.procrastinate_jobs) queued ORDER BY index
"""
STOCK_JOBS: Final = """
    SELECT stock.procrastinate_defer_jobs_v1(array_agg(
               ROW ('audit', 'store', 0, NULL, NULL, jsonb_build_object('event', event), NULL)
               ::stock.procrastinate_job_to_defer_v1 ORDER BY index))
      FROM finished WHERE index < %s
"""
BATCH: Final = 1_000


def stock_conninfo(bench: Bench, database: str) -> str:
    """The database as stock Procrastinate sees it: its functions go by the search_path."""
    return make_conninfo(bench.conninfo(database), options="-c search_path=stock,public")


def stock_app(dsn: str) -> App:
    """Procrastinate as it comes, for an application that is not asynchronous."""
    return App(connector=SyncPsycopgConnector(conninfo=dsn))


def create_business(bench: Bench) -> None:
    """The database of which every business transaction gets a copy."""
    bench.create(BUSINESS)
    migrate.upgrade(bench.conninfo(BUSINESS))
    with bench.connect(BUSINESS) as conn:
        for statement in TABLES.strip().rstrip(";").split(";\n"):
            conn.execute(sql.SQL(statement))
    with stock_app(stock_conninfo(bench, BUSINESS)).open() as app:
        app.schema_manager.apply_schema()


def create_queued(bench: Bench, events: int, stock_events: int) -> None:
    """The database of which every worker gets a copy: its queue is full."""
    create_business(bench)
    bench.create(QUEUED, BUSINESS)
    settings = Settings()
    with bench.connect(QUEUED) as conn:
        for first in range(0, events, BATCH):
            batch = [event(number) for number in range(first, min(first + BATCH, events))]
            statement = jobs.statement_for(batch, settings)
            conn.execute(statement.query, statement.parameters)
        conn.execute(FINISHED)
    with bench.connect(QUEUED) as conn:
        conn.execute("SET search_path = stock, public")
        conn.execute(STOCK_JOBS, [stock_events])
        conn.execute("VACUUM ANALYZE")
