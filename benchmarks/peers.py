"""The databases: pgaudit's schema, those of stock Procrastinate and PgQueuer, an outbox, and the claims."""

from typing import Any, Final

import psycopg
from procrastinate import App, SyncPsycopgConnector
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks import pgqueuer, store
from benchmarks.events import event
from benchmarks.server import Bench
from pgaudit import Settings, migrate
from pgaudit.recording.connections.psycopg_ import RECORD
from pgaudit.recording.document import to_document

BUSINESS: Final = "pgaudit_benchmark_business"
QUEUED: Final = "pgaudit_benchmark_queued"
CLAIMS: Final = 10_000
TABLES: Final = f"""
    CREATE SCHEMA stock;
    CREATE TABLE claims (id int PRIMARY KEY, status text NOT NULL, version int NOT NULL) WITH (fillfactor = 50);
    INSERT INTO claims SELECT n, 'open', 0 FROM generate_series(1, 10000) n;
    CREATE TABLE outbox (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, payload jsonb NOT NULL,
                         at timestamptz NOT NULL DEFAULT now());
    {store.TABLES.strip()}
    VACUUM ANALYZE claims;
"""
# The rows that the log will hold, finished but for the time at which they are persisted.
FINISHED: Final = f"""
    CREATE TABLE finished AS
    SELECT {store.ROW}, leaf_hash
      FROM (SELECT row_number() OVER (ORDER BY id) - 1 AS index, event, leaf_hash FROM pgaudit.audit_jobs) jobs
"""
STOCK_JOBS: Final = """
    SELECT stock.procrastinate_defer_jobs_v1(array_agg(
               ROW ('audit', 'store', 0, NULL, NULL, jsonb_build_object('event', event), NULL)
               ::stock.procrastinate_job_to_defer_v1 ORDER BY index))
      FROM finished WHERE index < %s
"""
FIRST: Final = "SELECT event::text FROM finished WHERE index < %s ORDER BY index"
BATCH: Final = 1_000


def stock_conninfo(bench: Bench, database: str) -> str:
    """The database as stock Procrastinate sees it: its functions go by the search_path."""
    return make_conninfo(bench.conninfo(database), options="-c search_path=stock,public")


def stock_app(dsn: str) -> App:
    """Procrastinate as it comes, for an application that is not asynchronous."""
    return App(connector=SyncPsycopgConnector(conninfo=dsn))


def create_business(bench: Bench, name: str = BUSINESS) -> None:
    """The database of which every business transaction gets a copy."""
    bench.create(name)
    migrate.upgrade(bench.conninfo(name))
    with bench.connect(name) as conn:
        for statement in TABLES.strip().rstrip(";").split(";\n"):
            conn.execute(sql.SQL(statement))
    with stock_app(stock_conninfo(bench, name)).open() as app:
        app.schema_manager.apply_schema()
    pgqueuer.install(bench.conninfo(name))


def create_queued(bench: Bench, events: int, stock_events: int = 0, pgqueuer_events: int = 0) -> None:
    """The database of which every worker gets a copy: its queues are full, the rows of its log ``finished``."""
    create_business(bench)
    bench.create(QUEUED, BUSINESS)
    with bench.connect(QUEUED) as conn:
        queue(conn, events)
        conn.execute(sql.SQL(FINISHED))
        if pgqueuer_events:
            documents = [document for (document,) in conn.execute(FIRST, [pgqueuer_events])]
            pgqueuer.enqueue(bench.conninfo(QUEUED), documents)
    with bench.connect(QUEUED) as conn:
        conn.execute("SET search_path = stock, public")
        if stock_events:
            conn.execute(STOCK_JOBS, [stock_events])
        conn.execute("VACUUM ANALYZE")


def queue(conn: psycopg.Connection[Any], events: int) -> None:
    """Records the events."""
    settings = Settings()
    for first in range(0, events, BATCH):
        made = [event(number) for number in range(first, min(first + BATCH, events))]
        conn.execute(RECORD, [to_document(made, settings.max_event_bytes)])
