"""What recording costs a Python program, with one connection and one transaction after the other."""

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg

from benchmarks.support import databases, recorders
from benchmarks.support.load import event
from benchmarks.support.recorders import Recorder
from benchmarks.support.report import Measurement, Report, ratio
from benchmarks.support.server import RUN, Bench
from benchmarks.support.stock_procrastinate import stock_app, stock_conninfo
from pgaudit import AuditLog, Settings
from pgaudit.settings import Mode

UPDATE: Final = "UPDATE claims SET version = version + 1 WHERE id = %s"
TRANSACTIONS: Final = 600
WARM_UP: Final = 50
CALLS: Final = 2_000
NOTIFYING: Final = 300  # transactions: notifications are counted in pages of 8 kB, and these fill several
USAGE: Final = "SELECT pg_notification_queue_usage() > 0"
NAMES: Final = {"bare": "nothing else", "pgaudit": "+ audit.record", "stock": "+ task.defer, on the same connection"}


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Compares the time that ``audit.record`` and Procrastinate's ``defer`` add to a transaction."""
    bench.create(RUN, databases.BUSINESS)
    totals = {each: Measurement(name, each, "µs", ours=each == "pgaudit") for each, name in NAMES.items()}
    added = {each: Measurement(NAMES[each], each, "µs added", ours=each == "pgaudit") for each in ("pgaudit", "stock")}
    cpu = Measurement("making an event and its statement", "cpu", "µs of CPU", ours=True)
    dsn = stock_conninfo(bench, RUN)
    # Procrastinate checks no event, so its arguments are made beforehand.
    arguments = recorders.job_arguments(0)
    with stock_app(dsn).open() as app, psycopg.connect(dsn) as conn:
        compared: dict[str, Recorder] = {
            "bare": recorders.record_nothing,
            "pgaudit": recorders.by_pgaudit(),
            "stock": recorders.by_stock(app, lambda _: arguments),
        }
        for number in range(options.rounds):
            times = measure(conn, compared)
            for each, measurement in totals.items():
                measurement.values.append(times[each])
            for each, measurement in added.items():
                measurement.values.append(times[each] - times["bare"])
            cpu.values.append(cpu_of_an_event())
            shown = ", ".join(f"{each} {value:,.0f} µs" for each, value in times.items())
            report.progress(f"round {number + 1}/{options.rounds}, from Python: {shown}")
        report_wire(report, dsn, {each: compared[each] for each in added})
    report.table("A transaction from Python, one connection", list(totals.values()), totals["bare"])
    report.table("Time that the event adds to it", list(added.values()), added["stock"])
    report.table("Processor time in the program", [cpu])
    report.target("audit.record, added time, of stock's", ratio(added["pgaudit"], added["stock"]), 0.5, limit=True)
    report.target("µs of CPU for an event, without the database", cpu.median, 60, limit=True)


def cpu_of_an_event() -> float:
    """Returns the microseconds of CPU for making an event and the statement that would record it."""
    audit = AuditLog(Settings(mode=Mode.OFF))
    start = time.thread_time()
    for number in range(CALLS):
        audit.record(None, event(number))
    return (time.thread_time() - start) / CALLS * 1e6


def measure(conn: psycopg.Connection[Any], recorders: dict[str, Recorder]) -> dict[str, float]:
    """Returns the median microseconds of a transaction for each recorder; they take turns, one transaction each."""
    times: dict[str, list[float]] = {each: [] for each in recorders}
    for number in range(WARM_UP + TRANSACTIONS):
        for each, record in recorders.items():
            start = time.perf_counter()
            conn.execute(UPDATE, [number % 10_000 + 1])
            record(conn, number)
            conn.commit()
            if number >= WARM_UP:
                times[each].append(time.perf_counter() - start)
    return {each: median(taken) * 1e6 for each, taken in times.items()}


def report_wire(report: Report, dsn: str, compared: Mapping[str, Recorder]) -> None:
    """Reports the round trips to the server and whether notifications are sent."""
    trips = [Measurement(each, each, "round trips", ours=each == "pgaudit") for each in compared]
    for measurement, record in zip(trips, compared.values(), strict=True):
        measurement.values.append(round_trips(dsn, record))
    report.table("Round trips of recording one event", trips)
    report.target("round trips of audit.record", trips[0].median, 1, limit=True)
    notified = {each: sends_notify(dsn, record) for each, record in compared.items()}
    shown = ", ".join(f"{each} {'sends NOTIFY' if sent else 'sends none'}" for each, sent in notified.items())
    report.progress(f"notifications: {shown}")
    report.target("audit.record sends NOTIFY (0: it does not)", notified["pgaudit"], 0, limit=True)


def round_trips(dsn: str, record: Recorder) -> int:
    """Counts how often the server is ready for the next query while an event is recorded."""
    with tempfile.NamedTemporaryFile("w") as trace, psycopg.connect(dsn) as conn:
        conn.execute("SELECT 1")
        conn.pgconn.trace(trace.fileno())
        record(conn, 0)
        conn.pgconn.untrace()
        conn.rollback()
        return Path(trace.name).read_text(encoding="utf-8").count("ReadyForQuery")


def sends_notify(dsn: str, record: Recorder) -> bool:
    """Returns whether transactions leave notifications in the queue while a listener does not read them."""
    with psycopg.connect(dsn, autocommit=True) as listener, psycopg.connect(dsn) as conn:
        listener.execute("LISTEN pgaudit_benchmark")
        with listener.transaction():
            listener.execute("SELECT 1")
            for number in range(NOTIFYING):
                record(conn, number)
                conn.commit()
            return conn.execute(USAGE).fetchone() == (True,)
