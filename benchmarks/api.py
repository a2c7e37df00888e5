"""What recording costs a Python program: one connection, one transaction after the other."""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import psycopg
from procrastinate import App

from benchmarks import peers, wire
from benchmarks.events import event
from benchmarks.figures import Figure, ratio
from benchmarks.report import Report
from benchmarks.server import RUN, Bench
from pgaudit import AuditLog, Settings
from pgaudit.settings import Mode

UPDATE: Final = "UPDATE claims SET version = version + 1 WHERE id = %s"
TRANSACTIONS: Final = 600
WARM: Final = 50
CALLS: Final = 2_000
NAMES: Final = {"bare": "nothing else", "pgaudit": "+ audit.record", "stock": "+ task.defer, on the same connection"}

Recorder = Callable[[psycopg.Connection[Any], int], None]


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Compares the time that ``audit.record`` adds to a transaction with what a stock ``defer`` adds."""
    bench.create(RUN, peers.BUSINESS)
    totals = {each: Figure(name, each, "µs", ours=each == "pgaudit") for each, name in NAMES.items()}
    added = {each: Figure(NAMES[each], each, "µs added", ours=each == "pgaudit") for each in ("pgaudit", "stock")}
    cpu = Figure("an event made, and its statement", "cpu", "µs of CPU", ours=True)
    dsn = peers.stock_conninfo(bench, RUN)
    ready = document(0)
    with peers.stock_app(dsn).open() as app, psycopg.connect(dsn) as conn:
        recorders: dict[str, Recorder] = {
            "bare": record_nothing,
            "pgaudit": by_pgaudit(),
            "stock": by_stock(app, lambda _: ready),
        }
        for number in range(options.rounds):
            times = measured(conn, recorders)
            for each, figure in totals.items():
                figure.values.append(times[each])
            for each, figure in added.items():
                figure.values.append(times[each] - times["bare"])
            cpu.values.append(own_cpu())
            shown = ", ".join(f"{each} {value:,.0f} µs" for each, value in times.items())
            report.progress(f"round {number + 1}/{options.rounds}, from Python: {shown}")
        wire.run(report, dsn, {each: recorders[each] for each in added})
    report.table("A transaction from Python, one connection", list(totals.values()), totals["bare"])
    report.table("What the event adds to it", list(added.values()), added["stock"])
    report.table("What of it is the program's own", [cpu])
    report.target("audit.record, added time, of stock's", ratio(added["pgaudit"], added["stock"]), 0.5, limit=True)
    report.target("µs of CPU for an event, without the database", cpu.median, 60, limit=True)


def own_cpu() -> float:
    """The microseconds of this thread for making an event and the statement that would record it."""
    audit = AuditLog(Settings(mode=Mode.OFF))
    start = time.thread_time()
    for number in range(CALLS):
        audit.record(None, event(number))
    return (time.thread_time() - start) / CALLS * 1e6


def measured(conn: psycopg.Connection[Any], recorders: dict[str, Recorder]) -> dict[str, float]:
    """The median microseconds of a transaction for each recorder; they take turns, one transaction each."""
    times: dict[str, list[float]] = {each: [] for each in recorders}
    for number in range(WARM + TRANSACTIONS):
        for each, record in recorders.items():
            start = time.perf_counter()
            conn.execute(UPDATE, [number % 10_000 + 1])
            record(conn, number)
            conn.commit()
            if number >= WARM:
                times[each].append(time.perf_counter() - start)
    return {each: median(taken) * 1e6 for each, taken in times.items()}


def record_nothing(_conn: psycopg.Connection[Any], _number: int) -> None:
    """The transaction alone."""


def by_pgaudit() -> Recorder:
    """Makes an event and records it."""
    audit = AuditLog(Settings())

    def record(conn: psycopg.Connection[Any], number: int) -> None:
        audit.record(conn, event(number))

    return record


def document(number: int) -> dict[str, Any]:
    """An event as the arguments of a job."""
    made: dict[str, Any] = json.loads(event(number).to_json())
    return made


def by_stock(app: App, arguments: Callable[[int], dict[str, Any]]) -> Recorder:
    """Defers a job with an event; when time counts, one that is there: stock Procrastinate checks no event."""

    @app.task(name="store", queue="audit")
    def store(event: dict[str, Any]) -> None:
        del event

    def record(conn: psycopg.Connection[Any], number: int) -> None:
        store.configure(connection=conn).defer(event=arguments(number))

    return record
