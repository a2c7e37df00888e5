"""What do many partitions of the log cost?

Variants: logs with several numbers of partitions.
Measured: ms of appending one event, and of looking up the ten events of a target; the first of a session separately.
Duration: about 2 minutes.

Partitions have their smallest size, 256 events. All but the last two are full: one is being filled, one is ahead. The
ten events of each target are spread evenly over the log. Each log has its own database; they take turns.
"""

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks.support import load, options
from benchmarks.support.load import event
from benchmarks.support.report import Curves, Measurement, Report, ratio
from benchmarks.support.server import Bench
from pgaudit import AuditEvent, trail
from pgaudit.recording.connections.psycopg_ import RECORD
from pgaudit.recording.document import to_portions

SIZE: Final = 256
CALL: Final = 1_000
EVENTS_PER_TARGET: Final = 10
# Replaces the migration's partitions, which are too large to be filled here.
MAKE_SMALL: Final = """
    DO $$
    DECLARE
        part regclass;
    BEGIN
        UPDATE pgaudit.settings SET partition_size = 256;
        FOR part IN SELECT partition FROM pgaudit.log_partitions() LOOP
            EXECUTE format('DROP TABLE %s', part);
        END LOOP;
        PERFORM pgaudit.ensure_partitions();
    END $$
"""
APPEND: Final = "SELECT taken FROM pgaudit.persist(NULL, NULL, %s)"
COUNT: Final = "SELECT count(*) FROM pgaudit.log_partitions()"
FACTOR: Final = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument(
        "--partitions", type=options.numbers, default=[5, 50, 200], help="numbers of partitions (5,50,200)"
    )
    parser.add_argument("--times", type=int, default=20, help="appends and lookups in each round (20)")


@dataclass
class Log:
    """A database with that number of partitions, and its median milliseconds in each round."""

    partitions: int
    append: list[float] = field(default_factory=list)
    look: list[float] = field(default_factory=list)
    first_append: list[float] = field(default_factory=list)
    first_look: list[float] = field(default_factory=list)

    @property
    def database(self) -> str:
        """The name of the database."""
        return f"pgaudit_benchmark_partitions_{self.partitions}"

    @property
    def events(self) -> int:
        """The number of events in it: the last partition is empty, and the one before it half full."""
        return max(self.partitions - 2, 0) * SIZE + SIZE // 2

    def event(self, number: int) -> AuditEvent:
        """Returns an event of a target that has ten events."""
        return event(number % (self.events // EVENTS_PER_TARGET))


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Fills the logs, then appends to and reads from each by turns."""
    logs = [Log(partitions) for partitions in options.partitions]
    for log in logs:
        fill(bench, log)
        report.progress(f"filled: {log.partitions} partitions, {log.events:,} events")
    for number in range(options.rounds):
        take_turns(bench, logs, options.times)
        shown = ", ".join(f"{log.append[-1]:.2f} and {log.look[-1]:.2f} ms" for log in logs)
        report.progress(f"round {number + 1}/{options.rounds}, append and look up: {shown}")
    report_logs(report, logs)
    bench.drop(*(log.database for log in logs))


def fill(bench: Bench, log: Log) -> None:
    """Records and appends the events that fill the partitions.

    :raises RuntimeError: the log has another number of partitions.
    """
    load.create(bench, log.database)
    with bench.connect(log.database) as conn:
        conn.execute(MAKE_SMALL)
        for first in range(0, log.events, CALL):
            made = [log.event(number) for number in range(first, min(first + CALL, log.events))]
            conn.execute(RECORD, [to_portions(made, load.SETTINGS.max_event_bytes)[0].document])
            conn.execute(APPEND, [CALL])
        conn.execute("SELECT pgaudit.ensure_partitions()")
        conn.execute("VACUUM ANALYZE")
        if (found := conn.execute(COUNT).fetchone()) != (log.partitions,):
            raise RuntimeError(f"{found} partitions, expected {log.partitions}")


def take_turns(bench: Bench, logs: list[Log], times: int) -> None:
    """Adds each log's medians, and the times of the first append and the first lookup of a session."""
    with ExitStack() as stack:
        conns = [stack.enter_context(bench.connect(log.database)) for log in logs]
        turns = [
            [(append(conn, log), look_up(conn, log, number)) for conn, log in zip(conns, logs, strict=True)]
            for number in range(times + 1)
        ]
    for log, taken in zip(logs, zip(*turns, strict=True), strict=True):
        log.first_append.append(taken[0][0])
        log.first_look.append(taken[0][1])
        log.append.append(median(append for append, _ in taken[1:]))
        log.look.append(median(look for _, look in taken[1:]))


def append(conn: load.Connection, log: Log) -> float:
    """Returns the milliseconds of appending one event, which is rolled back, so that the log keeps its size.

    :raises RuntimeError: the event was not appended.
    """
    with conn.transaction(force_rollback=True):
        load.by_pgaudit(conn, log.event(0))
        start = time.perf_counter()
        row = conn.execute(APPEND, [1]).fetchone()
        taken = time.perf_counter() - start
    if row != (1,):
        raise RuntimeError(f"appended {row}, expected 1")
    return taken * 1_000


def look_up(conn: load.Connection, log: Log, number: int) -> float:
    """Returns the milliseconds of looking up all events of a target.

    :raises RuntimeError: the target has fewer than ten events.
    """
    target = log.event(number).targets[0]
    start = time.perf_counter()
    found = trail.of_target(conn, target.type, target.id)
    taken = time.perf_counter() - start
    if len(found) < EVENTS_PER_TARGET:
        raise RuntimeError(f"{len(found)} events of {target}, expected {EVENTS_PER_TARGET}")
    return taken * 1_000


def report_logs(report: Report, logs: list[Log]) -> None:
    """Reports each log beside the one with the fewest partitions."""
    titles = {
        "append": "Appending one event",
        "look": f"Looking up the {EVENTS_PER_TARGET} events of a target",
        "first_append": "Appending one event, the first of a session",
        "first_look": "Looking up a target, the first of a session",
    }
    for name, title in titles.items():
        measured = [
            Measurement(f"{log.partitions} partitions", "the fewest", "ms", getattr(log, name), ours=True)
            for log in logs
        ]
        report.table(title, measured, measured[0])
        if name == "append":
            report.target(f"{title}, most partitions of fewest", ratio(measured[-1], measured[0]), FACTOR, limit=True)
    curves: Curves = {
        name: [(log.partitions, median(getattr(log, name))) for log in logs] for name in ("append", "look")
    }
    report.curve("Appending and looking up, by the number of partitions", ("partitions", "ms"), curves, "append")
