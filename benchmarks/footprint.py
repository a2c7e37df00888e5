"""What an event leaves behind, end to end: WAL, the log's heap and indexes, dead rows in the queue."""

import argparse
import time
from dataclasses import astuple, dataclass
from typing import Any, Final

import psycopg

from benchmarks import peers, ways
from benchmarks.figures import Figure, ratio
from benchmarks.options import chosen
from benchmarks.report import Report
from benchmarks.server import RUN, Bench
from benchmarks.ways import KEPT, NAMES, PGAUDIT, STOCK

# Else the dead rows would be those of the moment at which autovacuum came by, and its WAL anybody's.
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
# A backend reports what it has done when it ends, if not before.
ALONE: Final = """
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
AT_MOST: Final = 30.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """For one event, in bytes, but for the rows."""

    wal: float
    wal_of_recording: float
    heap: float
    indexes: float
    left: float
    dead_rows: float


TITLES: Final = {
    "WAL of an event, end to end": "bytes",
    "WAL of an event, recording alone": "bytes",
    "Heap of the log for an event": "bytes",
    "Indexes of the log for an event": "bytes",
    "Left outside the log for an event, before vacuum": "bytes",
    "Dead rows left for an event, before vacuum": "rows",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the footprint alone is asked for."""
    parser.add_argument("--events", type=int, default=5_000, help="how many events are recorded, one by one (5,000)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Sends the events each way; WAL is the whole server's: nothing else should write to it."""
    peers.create_business(bench)
    asked = [PGAUDIT, *chosen(options, NAMES)]
    taken = [each for each in NAMES if each in asked]
    figures = {
        title: {each: Figure(NAMES[each], each, unit, ours=each == PGAUDIT) for each in taken}
        for title, unit in TITLES.items()
    }
    for number in range(options.rounds):
        for each in taken:
            values = astuple(left_by(bench, each, options.events))
            for title, value in zip(TITLES, values, strict=True):
                figures[title][each].values.append(value)
        shown = ", ".join(f"{each} {figure.values[-1]:,.0f}" for each, figure in next(iter(figures.values())).items())
        report.progress(f"round {number + 1}/{options.rounds}, bytes of WAL for an event: {shown}")
    for title, measured in figures.items():
        report.table(title, list(measured.values()), measured[PGAUDIT])
    wal = next(iter(figures.values()))
    if ratios := [ratio(wal[PGAUDIT], wal[each]) for each in (STOCK, KEPT) if each in wal]:
        report.target("WAL of an event, of what stock Procrastinate writes", max(ratios), 0.65, limit=True)
    bench.drop(RUN, peers.BUSINESS)


def left_by(bench: Bench, way: str, events: int) -> Footprint:
    """Returns what that number of events has added."""
    bench.create(RUN, peers.BUSINESS)
    with bench.connect(RUN) as conn:
        conn.execute(NO_AUTOVACUUM)
        before, start = sizes(conn), position(conn)
        ways.record(bench, way, events)
        recorded = position(conn)
        ways.drain(bench, way, events)
        wait_until_alone(conn)
        grown = [(after - earlier) / events for after, earlier in zip(sizes(conn), before, strict=True)]
        return Footprint((position(conn) - start) / events, (recorded - start) / events, *grown)


def position(conn: psycopg.Connection[Any]) -> float:
    """How many bytes of WAL the server has ever written."""
    row = conn.execute(LSN).fetchone()
    return float(row[0]) if row else 0.0


def sizes(conn: psycopg.Connection[Any]) -> tuple[float, ...]:
    """The log's heap and indexes, all other tables, and the dead rows."""
    return tuple(conn.execute(SIZES).fetchone() or ())


def wait_until_alone(conn: psycopg.Connection[Any]) -> None:
    """Until the workers' connections have ended."""
    end = time.perf_counter() + AT_MOST
    while conn.execute(ALONE).fetchone() != (True,):
        if time.perf_counter() > end:
            raise RuntimeError("a connection of a worker did not end")
        time.sleep(0.02)
