"""What recording sends: round trips to the server, and notifications through it."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks.figures import Figure
from benchmarks.report import Report

CALLS: Final = 300  # notifications are counted in pages of 8 kB: this number fills several
USAGE: Final = "SELECT pg_notification_queue_usage() > 0"
Recorder = Callable[[psycopg.Connection[Any], int], None]


def run(report: Report, dsn: str, recorders: Mapping[str, Recorder]) -> None:
    """Counts both for each recorder."""
    trips = [Figure(each, each, "round trips", ours=each == "pgaudit") for each in recorders]
    for figure, record in zip(trips, recorders.values(), strict=True):
        figure.values.append(round_trips(dsn, record))
    report.table("Round trips of recording one event", trips)
    report.target("round trips of audit.record", trips[0].median, 1, limit=True)
    notified = {each: notifies(dsn, record) for each, record in recorders.items()}
    shown = ", ".join(f"{each} {'sends NOTIFY' if sent else 'sends none'}" for each, sent in notified.items())
    report.progress(f"notifications: {shown}")
    report.target("audit.record sends NOTIFY (0: it does not)", notified["pgaudit"], 0, limit=True)


def round_trips(dsn: str, record: Recorder) -> int:
    """How often the server says that it is ready for the next query, once the transaction has begun."""
    with tempfile.NamedTemporaryFile("w") as trace, psycopg.connect(dsn) as conn:
        conn.execute("SELECT 1")
        conn.pgconn.trace(trace.fileno())
        record(conn, 0)
        conn.pgconn.untrace()
        conn.rollback()
        return Path(trace.name).read_text(encoding="utf-8").count("ReadyForQuery")


def notifies(dsn: str, record: Recorder) -> bool:
    """Returns whether transactions leave notifications behind while a listener does not read them."""
    with psycopg.connect(dsn, autocommit=True) as listener, psycopg.connect(dsn) as conn:
        listener.execute("LISTEN pgaudit_benchmark")
        with listener.transaction():
            listener.execute("SELECT 1")
            for number in range(CALLS):
                record(conn, number)
                conn.commit()
            return conn.execute(USAGE).fetchone() == (True,)
