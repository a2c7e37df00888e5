"""What recording costs a Python program: one connection, one transaction after the other."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import psycopg
from procrastinate import App

from benchmarks import peers
from benchmarks.events import event
from benchmarks.figures import Figure, ratio
from benchmarks.report import Report
from benchmarks.server import RUN, Bench
from pgaudit import AuditLog, Settings

UPDATE: Final = "UPDATE claims SET version = version + 1 WHERE id = %s"
TRANSACTIONS: Final = 600
WARM: Final = 50

Recorder = Callable[[psycopg.Connection[Any], int], None]


def run(bench: Bench, report: Report, rounds: int) -> None:
    """Compares the time that ``audit.record`` adds to a transaction with what a stock ``defer`` adds."""
    peers.create_business(bench)
    bench.create(RUN, peers.BUSINESS)
    names = {"bare": "nothing else", "pgaudit": "+ audit.record", "stock": "+ task.defer, on the same connection"}
    totals = {each: Figure(name, each, "µs") for each, name in names.items()}
    added = {each: Figure(names[each], each, "µs added") for each in ("pgaudit", "stock")}
    dsn = peers.stock_conninfo(bench, RUN)
    with peers.stock_app(dsn).open() as app, psycopg.connect(dsn) as conn:
        recorders: dict[str, Recorder] = {"bare": record_nothing, "pgaudit": by_pgaudit(), "stock": by_stock(app)}
        for number in range(rounds):
            times = measured(conn, recorders)
            for each, figure in totals.items():
                figure.values.append(times[each])
            for each, figure in added.items():
                figure.values.append(times[each] - times["bare"])
            shown = ", ".join(f"{each} {value:,.0f} µs" for each, value in times.items())
            report.progress(f"round {number + 1}/{rounds}, from Python: {shown}")
    report.table("A transaction from Python, one connection", list(totals.values()), totals["bare"])
    report.table("What the event adds to it", list(added.values()), added["stock"])
    report.target("audit.record, added time, of stock's", ratio(added["pgaudit"], added["stock"]), 0.5, limit=True)
    bench.drop(RUN, peers.BUSINESS)


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


def by_stock(app: App) -> Recorder:
    """Defers a job with an event that is there already: stock Procrastinate checks none, so it need make none."""

    @app.task(name="store", queue="audit")
    def store(event: dict[str, Any]) -> None:
        del event

    document = event().model_dump(mode="json")

    def record(conn: psycopg.Connection[Any], _number: int) -> None:
        store.configure(connection=conn).defer(event=document)

    return record
