"""Many events at a time: ten in a call, and loads in calls of a thousand."""

import argparse
import time
from typing import Final

import psycopg

from benchmarks import peers
from benchmarks.events import event
from benchmarks.figures import Figure, ratio
from benchmarks.report import Report
from benchmarks.server import RUN, Bench
from benchmarks.variants import BARE, NAMES, PGAUDIT, TEN, measure
from pgaudit import AuditEvent, AuditLog, Settings

CALL: Final = 1_000
CONNECTIONS: Final = (1, 16)


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Ten in a call, then loads."""
    for connections in CONNECTIONS:
        tens(bench, report, options, connections)
    load(bench, report, options)


def tens(bench: Bench, report: Report, options: argparse.Namespace, connections: int) -> None:
    """A transaction that records ten events, beside one that records one."""
    figures = {each: Figure(NAMES[each], each, "µs", ours=each != BARE) for each in (BARE, PGAUDIT, TEN)}
    for _ in range(options.rounds):
        for each, figure in figures.items():
            bench.create(RUN, peers.BUSINESS)
            figure.values.append(1e6 / measure(bench, RUN, each, connections, options.seconds).tps)
    shown = ", ".join(f"{each} {figure.median:,.0f}" for each, figure in figures.items())
    report.progress(f"ten events in a call, {connections} connections: {shown} µs of the server for a transaction")
    report.table(f"Ten events in a call, {connections} connections", list(figures.values()), figures[PGAUDIT])
    name = f"ten events in a call, {connections} connections, times one"
    report.target(name, ratio(figures[TEN], figures[PGAUDIT]), 2, limit=True)


def load(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """A load by one connection: a commit for each call."""
    events = [event(number) for number in range(options.events)]
    outbox = Figure("executemany into an outbox", "outbox", "events/s")
    loaded = Figure("audit.record", "record", "events/s", ours=True)
    for number in range(options.rounds):
        for figure, how in ((outbox, by_outbox), (loaded, by_pgaudit)):
            bench.create(RUN, peers.BUSINESS)
            with psycopg.connect(bench.conninfo(RUN)) as conn:
                start = time.perf_counter()
                how(conn, events)
                figure.values.append(len(events) / (time.perf_counter() - start))
        rates = f"outbox {outbox.values[-1]:,.0f}, record {loaded.values[-1]:,.0f} events/s"
        report.progress(f"round {number + 1}/{options.rounds}, {len(events):,} events in calls of {CALL:,}: {rates}")
    report.table(f"Loading {len(events):,} events in calls of {CALL:,}", [outbox, loaded], outbox)
    report.target("load in calls of 1,000, events/s", loaded.median, 40_000)


def by_pgaudit(conn: psycopg.Connection[tuple[object, ...]], events: list[AuditEvent]) -> None:
    """As an import would."""
    audit = AuditLog(Settings())
    for first in range(0, len(events), CALL):
        audit.record(conn, *events[first : first + CALL])
        conn.commit()


def by_outbox(conn: psycopg.Connection[tuple[object, ...]], events: list[AuditEvent]) -> None:
    """The same events into the outbox."""
    for first in range(0, len(events), CALL):
        rows = [(each.to_json(),) for each in events[first : first + CALL]]
        conn.cursor().executemany("INSERT INTO outbox (payload) VALUES (%s)", rows)
        conn.commit()
