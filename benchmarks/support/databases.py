"""Template databases: a table of claims, an outbox, a plain log, and the schemas of pgaudit and its peers."""

from typing import Any, Final

import psycopg
from psycopg import sql

from benchmarks.support import pgqueuer, plain_log
from benchmarks.support.load import event
from benchmarks.support.server import Bench
from benchmarks.support.stock_procrastinate import stock_app, stock_conninfo
from pgaudit import Settings, migrate
from pgaudit.recording.connections.psycopg_ import RECORD
from pgaudit.recording.document import to_portions

BUSINESS: Final = "pgaudit_benchmark_business"
QUEUED: Final = "pgaudit_benchmark_queued"
TABLES: Final = f"""
    CREATE SCHEMA stock;
    CREATE TABLE claims (id int PRIMARY KEY, status text NOT NULL, version int NOT NULL) WITH (fillfactor = 50);
    INSERT INTO claims SELECT n, 'open', 0 FROM generate_series(1, 10000) n;
    CREATE TABLE outbox (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, payload jsonb NOT NULL,
                         at timestamptz NOT NULL DEFAULT now());
    {plain_log.TABLES.strip()}
    VACUUM ANALYZE claims;
"""
# The rows that the log will hold, complete except for the time at which they are persisted.
FINISHED: Final = f"""
    CREATE TABLE finished AS
    SELECT {plain_log.ROW}, leaf_hash
      FROM (SELECT row_number() OVER (ORDER BY id) - 1 AS index, event, leaf_hash FROM pgaudit.audit_jobs) jobs
"""
STOCK_JOBS: Final = """
    SELECT stock.procrastinate_defer_jobs_v1(array_agg(
               ROW ('audit', 'store', 0, NULL, NULL, jsonb_build_object('event', event), NULL)
               ::stock.procrastinate_job_to_defer_v1 ORDER BY index))
      FROM finished WHERE index < %s
"""
FIRST_EVENTS: Final = "SELECT event::text FROM finished WHERE index < %s ORDER BY index"
BATCH: Final = 1_000


def create_business(bench: Bench, name: str = BUSINESS) -> None:
    """Creates the database that every run of a business transaction gets a copy of."""
    bench.create(name)
    migrate.upgrade(bench.conninfo(name))
    with bench.connect(name) as conn:
        for statement in TABLES.strip().rstrip(";").split(";\n"):
            conn.execute(sql.SQL(statement))
    with stock_app(stock_conninfo(bench, name)).open() as app:
        app.schema_manager.apply_schema()
    pgqueuer.install(bench.conninfo(name))


def create_queued(bench: Bench, events: int, stock_events: int = 0, pgqueuer_events: int = 0) -> None:
    """Creates the database that every worker gets a copy of: full queues, and the log's rows in ``finished``."""
    create_business(bench)
    bench.create(QUEUED, BUSINESS)
    with bench.connect(QUEUED) as conn:
        queue_events(conn, events)
        conn.execute(sql.SQL(FINISHED))
        if pgqueuer_events:
            documents = [document for (document,) in conn.execute(FIRST_EVENTS, [pgqueuer_events])]
            pgqueuer.enqueue(bench.conninfo(QUEUED), documents)
    with bench.connect(QUEUED) as conn:
        conn.execute("SET search_path = stock, public")
        if stock_events:
            conn.execute(STOCK_JOBS, [stock_events])
        conn.execute("VACUUM ANALYZE")


def queue_events(conn: psycopg.Connection[Any], events: int) -> None:
    """Records that many different events, in calls of a thousand."""
    settings = Settings()
    for first in range(0, events, BATCH):
        made = [event(number) for number in range(first, min(first + BATCH, events))]
        conn.execute(RECORD, [to_portions(made, settings.max_event_bytes)[0].document])
