"""The whole way of an event into the log, as each takes it: recorded one by one, a commit each, then drained."""

from typing import Any, Final

import psycopg
from procrastinate import App
from psycopg import RawCursor, sql

from benchmarks import api, contenders, peers, pgqueuer
from benchmarks.events import event
from benchmarks.server import RUN, Bench
from benchmarks.store import STORE, STORE_TAKEN

DIRECT, OUTBOX, PGAUDIT, STOCK, KEPT, PGQUEUER = "direct", "outbox", "pgaudit", "stock", "kept", "pgqueuer"
NAMES: Final = {
    DIRECT: "INSERT into a plain log",
    OUTBOX: "an outbox, moved in batches",
    PGAUDIT: "audit.record and a worker",
    STOCK: "stock Procrastinate",
    KEPT: "stock Procrastinate that keeps its jobs",
    PGQUEUER: "PgQueuer",
}
CONCURRENCY: Final = 10
INSERT: Final = "INSERT INTO outbox (payload) VALUES ($1)"
MOVE: Final = f"""
    WITH taken AS (
        DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT 1000) RETURNING payload AS event
    ), {STORE_TAKEN}
"""


def record(bench: Bench, way: str, events: int) -> None:
    """Records the events in the database of this run."""
    if way == PGQUEUER:
        pgqueuer.enqueue(bench.conninfo(RUN), [event(number).to_json() for number in range(events)], batch=1)
        return
    dsn = peers.stock_conninfo(bench, RUN)
    with peers.stock_app(dsn).open() as app, psycopg.connect(dsn) as conn:
        keep = recorder(way, app)
        for number in range(events):
            keep(conn, number)
            conn.commit()


def recorder(way: str, app: App) -> api.Recorder:
    """What keeps one event in the transaction of a connection."""
    if way == PGAUDIT:
        return api.by_pgaudit()
    if way in {STOCK, KEPT}:
        return api.by_stock(app, api.document)
    return by_statement(STORE if way == DIRECT else INSERT)


def by_statement(statement: str) -> api.Recorder:
    """Keeps an event by a statement of one's own."""

    def keep(conn: psycopg.Connection[Any], number: int) -> None:
        RawCursor(conn).execute(sql.SQL(statement), [event(number).to_json()])

    return keep


def drain(bench: Bench, way: str, events: int) -> None:
    """Brings what was recorded into the log."""
    workers = {
        PGAUDIT: contenders.pgaudit(),
        STOCK: contenders.stock(bench, CONCURRENCY),
        KEPT: contenders.stock(bench, CONCURRENCY, "never"),
        PGQUEUER: contenders.pgqueuer(bench, 100),
    }
    if way in workers:
        contenders.drain(bench, workers[way], events)
    elif way == OUTBOX:
        with bench.connect(RUN) as conn:
            while conn.execute(sql.SQL(MOVE)).rowcount:
                pass
