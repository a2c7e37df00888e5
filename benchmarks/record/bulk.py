"""What many events in a call cost: ten events in a transaction, and loads in calls of a thousand."""

import argparse
import time
from typing import Final

import psycopg

from benchmarks.support import databases
from benchmarks.support.load import event
from benchmarks.support.report import Measurement, Report, ratio
from benchmarks.support.server import RUN, Bench
from benchmarks.support.transactions import BARE, NAMES, PGAUDIT, TEN, measure
from pgaudit import AuditEvent, AuditLog, Settings

CALL: Final = 1_000
CONNECTIONS: Final = (1, 16)


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Measures ten events in a call, then loads."""
    for connections in CONNECTIONS:
        compare_ten(bench, report, options, connections)
    load(bench, report, options)


def compare_ten(bench: Bench, report: Report, options: argparse.Namespace, connections: int) -> None:
    """Compares a transaction that records ten events with one that records a single event."""
    measured = {each: Measurement(NAMES[each], each, "µs", ours=each != BARE) for each in (BARE, PGAUDIT, TEN)}
    for _ in range(options.rounds):
        for each, measurement in measured.items():
            bench.create(RUN, databases.BUSINESS)
            measurement.values.append(1e6 / measure(bench, RUN, each, connections, options.seconds).tps)
    shown = ", ".join(f"{each} {measurement.median:,.0f}" for each, measurement in measured.items())
    report.progress(f"ten events in a call, {connections} connections: {shown} µs of the server for a transaction")
    report.table(f"Ten events in a call, {connections} connections", list(measured.values()), measured[PGAUDIT])
    name = f"ten events in a call, {connections} connections, times one"
    report.target(name, ratio(measured[TEN], measured[PGAUDIT]), 2, limit=True)


def load(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Loads events through one connection, with a commit after each call."""
    events = [event(number) for number in range(options.events)]
    outbox = Measurement("executemany into an outbox", "outbox", "events/s")
    loaded = Measurement("audit.record", "record", "events/s", ours=True)
    for number in range(options.rounds):
        for measurement, how in ((outbox, by_outbox), (loaded, by_pgaudit)):
            bench.create(RUN, databases.BUSINESS)
            with psycopg.connect(bench.conninfo(RUN)) as conn:
                start = time.perf_counter()
                how(conn, events)
                measurement.values.append(len(events) / (time.perf_counter() - start))
        rates = f"outbox {outbox.values[-1]:,.0f}, record {loaded.values[-1]:,.0f} events/s"
        report.progress(f"round {number + 1}/{options.rounds}, {len(events):,} events in calls of {CALL:,}: {rates}")
    report.table(f"Loading {len(events):,} events in calls of {CALL:,}", [outbox, loaded], outbox)
    report.target("load in calls of 1,000, events/s", loaded.median, 40_000)


def by_pgaudit(conn: psycopg.Connection[tuple[object, ...]], events: list[AuditEvent]) -> None:
    """Records the events as an import does."""
    audit = AuditLog(Settings())
    for first in range(0, len(events), CALL):
        audit.record(conn, *events[first : first + CALL])
        conn.commit()


def by_outbox(conn: psycopg.Connection[tuple[object, ...]], events: list[AuditEvent]) -> None:
    """Inserts the events into an outbox."""
    for first in range(0, len(events), CALL):
        rows = [(each.to_json(),) for each in events[first : first + CALL]]
        conn.cursor().executemany("INSERT INTO outbox (payload) VALUES (%s)", rows)
        conn.commit()
