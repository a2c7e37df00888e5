"""How many bytes of WAL, heap and indexes, and how many dead rows, does an event leave behind?

Variants: a direct INSERT, an outbox that is moved in batches, ``audit.record`` and a worker, stock Procrastinate with
and without keeping its jobs, PgQueuer. Each records its events one by one, a commit each, and drains them.
Measured: bytes and rows for each event, before vacuum. WAL is that of the server: nothing else should write to it.
Duration: about 10 minutes.
"""

import argparse
import time
from dataclasses import astuple, dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from benchmarks.support import contenders, databases, pgqueuer, plain_log, recorders
from benchmarks.support.load import event
from benchmarks.support.options import chosen
from benchmarks.support.report import Measurement, Report, ratio
from benchmarks.support.server import RUN, Bench
from benchmarks.support.stock_procrastinate import stock_app, stock_conninfo

DIRECT, OUTBOX, PGAUDIT, STOCK, KEPT, PGQUEUER = "direct", "outbox", "pgaudit", "stock", "kept", "pgqueuer"
NAMES: Final = {
    DIRECT: "INSERT into a plain log",
    OUTBOX: "an outbox, moved in batches",
    PGAUDIT: "audit.record and a worker",
    STOCK: "stock Procrastinate",
    KEPT: "stock Procrastinate that keeps its jobs",
    PGQUEUER: "PgQueuer",
}
MOVE_FROM_OUTBOX: Final = f"""
    WITH taken AS (
        DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT 1000) RETURNING payload AS event
    ), {plain_log.STORE_TAKEN}
"""
# Autovacuum would remove dead rows at a random moment, and write WAL of its own.
NO_AUTOVACUUM: Final = """
    DO $$
    DECLARE
        found regclass;
    BEGIN
        FOR found IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace IN
                     ('pgaudit'::regnamespace, 'stock'::regnamespace, 'public'::regnamespace) LOOP
            EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', found);
        END LOOP;
    END $$
"""
LSN: Final = "SELECT pg_current_wal_insert_lsn() - '0/0'"
# Backends report their statistics at the latest when they end, so the other clients must have gone.
NO_OTHER_CLIENT: Final = """
    SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                          AND backend_type = 'client backend' AND pid <> pg_backend_pid())
"""
SIZES: Final = r"""
    SELECT coalesce(sum(pg_table_size(oid)) FILTER (WHERE logged), 0)::float8,
           coalesce(sum(pg_indexes_size(oid)) FILTER (WHERE logged), 0)::float8,
           coalesce(sum(pg_total_relation_size(oid)) FILTER (WHERE NOT logged), 0)::float8,
           coalesce(sum(pg_stat_get_dead_tuples(oid)), 0)::float8
      FROM (SELECT oid, relname LIKE 'audit\_log%' OR relname LIKE 'plain\_%'
                            OR relname IN ('event_key', 'event_target') AS logged FROM pg_class
             WHERE relkind = 'r' AND relnamespace IN
                   ('pgaudit'::regnamespace, 'stock'::regnamespace, 'public'::regnamespace)) tables
"""
TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes for each event; the last one is a number of rows."""

    wal: float
    wal_of_recording: float
    heap: float
    indexes: float
    left: float
    dead_rows: float


TITLES: Final = {
    "WAL for each event, end to end": "bytes",
    "WAL for each event, recording only": "bytes",
    "Heap of the log for each event": "bytes",
    "Indexes of the log for each event": "bytes",
    "Size outside the log for each event, before vacuum": "bytes",
    "Dead rows for each event, before vacuum": "rows",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--events", type=int, default=5_000, help="events that are recorded one by one (5,000)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Records and drains the events with each variant by turns, and reports what they left behind."""
    databases.create_business(bench)
    asked = [PGAUDIT, *chosen(options, NAMES)]
    taken = [each for each in NAMES if each in asked]
    measured = {
        title: {each: Measurement(NAMES[each], each, unit, ours=each == PGAUDIT) for each in taken}
        for title, unit in TITLES.items()
    }
    for number in range(options.rounds):
        for each in taken:
            values = astuple(measure(bench, each, options.events))
            for title, value in zip(TITLES, values, strict=True):
                measured[title][each].values.append(value)
        shown = ", ".join(f"{each} {wal.values[-1]:,.0f}" for each, wal in next(iter(measured.values())).items())
        report.progress(f"round {number + 1}/{options.rounds}, bytes of WAL for an event: {shown}")
    for title, variants in measured.items():
        report.table(title, list(variants.values()), variants[PGAUDIT])
    wal = next(iter(measured.values()))
    if ratios := [ratio(wal[PGAUDIT], wal[each]) for each in (STOCK, KEPT) if each in wal]:
        report.target("WAL of an event, of what stock Procrastinate writes", max(ratios), 0.65, limit=True)
    bench.drop(RUN, databases.BUSINESS)


def measure(bench: Bench, variant: str, events: int) -> Footprint:
    """Returns what a variant adds for each event."""
    bench.create(RUN, databases.BUSINESS)
    with bench.connect(RUN) as conn:
        conn.execute(NO_AUTOVACUUM)
        before, start = sizes(conn), wal_position(conn)
        record(bench, variant, events)
        recorded = wal_position(conn)
        drain(bench, variant, events)
        wait_for_disconnects(conn)
        grown = [(after - earlier) / events for after, earlier in zip(sizes(conn), before, strict=True)]
        return Footprint((wal_position(conn) - start) / events, (recorded - start) / events, *grown)


def record(bench: Bench, variant: str, events: int) -> None:
    """Records the events in the database of this run, with a commit each."""
    if variant == PGQUEUER:
        pgqueuer.enqueue(bench.conninfo(RUN), [event(number).to_json() for number in range(events)], batch=1)
        return
    dsn = stock_conninfo(bench, RUN)
    with stock_app(dsn).open() as app, psycopg.connect(dsn) as conn:
        if variant in {STOCK, KEPT}:
            recorder = recorders.by_stock(app, recorders.job_arguments)
        else:
            make = {DIRECT: recorders.by_insert, OUTBOX: recorders.by_outbox, PGAUDIT: recorders.by_pgaudit}
            recorder = make[variant]()
        for number in range(events):
            recorder(conn, number)
            conn.commit()


def drain(bench: Bench, variant: str, events: int) -> None:
    """Moves what was recorded into the log."""
    workers = {
        PGAUDIT: contenders.pgaudit(),
        STOCK: contenders.stock(bench, 10),
        KEPT: contenders.stock(bench, 10, "never"),
        PGQUEUER: contenders.pgqueuer(bench, 100),
    }
    if variant in workers:
        contenders.drain(bench, workers[variant], events)
    elif variant == OUTBOX:
        with bench.connect(RUN) as conn:
            while conn.execute(sql.SQL(MOVE_FROM_OUTBOX)).rowcount:
                pass


def wal_position(conn: psycopg.Connection[Any]) -> float:
    """Returns the number of bytes of WAL that the server has ever written."""
    row = conn.execute(LSN).fetchone()
    return float(row[0]) if row else 0.0


def sizes(conn: psycopg.Connection[Any]) -> tuple[float, ...]:
    """Returns the sizes of the log's heap, its indexes and all other tables, and the number of dead rows."""
    return tuple(conn.execute(SIZES).fetchone() or ())


def wait_for_disconnects(conn: psycopg.Connection[Any]) -> None:
    """Waits until the workers' connections have ended.

    :raises RuntimeError: one is still open after 30 seconds.
    """
    end = time.perf_counter() + TIMEOUT_SECONDS
    while conn.execute(NO_OTHER_CLIENT).fetchone() != (True,):
        if time.perf_counter() > end:
            raise RuntimeError("a worker's connection is still open after 30 seconds")
        time.sleep(0.02)
