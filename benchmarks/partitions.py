"""What a log of many partitions costs: appending one event, and looking up one target.

Partitions are as small as they can be, 256 events each. All but the last two are full: one is being filled, one is
ahead. Every target has ten events, at equal distances over the whole log. Each number of partitions has a database of
its own; they take turns.
"""

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks import load, options
from benchmarks.events import event
from benchmarks.figures import Curves, Figure, ratio
from benchmarks.report import Report
from benchmarks.server import Bench
from pgaudit import AuditEvent, trail
from pgaudit.recording.connections.psycopg_ import RECORD
from pgaudit.recording.document import to_document

SIZE: Final = 256
CALL: Final = 1_000
EVENTS_OF_A_TARGET: Final = 10
# The partitions that the migration has made are too large to be filled here.
SMALL: Final = """
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
    """How many partitions there are, and how often they are used."""
    parser.add_argument("--partitions", type=options.numbers, default=[5, 50, 200], help="of the log (5,50,200)")
    parser.add_argument("--times", type=int, default=20, help="how often, in each round (20)")


@dataclass
class Log:
    """A database with that number of partitions, and the milliseconds of each round in it."""

    partitions: int
    append: list[float] = field(default_factory=list)
    look: list[float] = field(default_factory=list)
    first_append: list[float] = field(default_factory=list)
    first_look: list[float] = field(default_factory=list)

    @property
    def database(self) -> str:
        """Where it is."""
        return f"pgaudit_benchmark_partitions_{self.partitions}"

    @property
    def events(self) -> int:
        """How many fill it: half of a partition is left, and another one."""
        return max(self.partitions - 2, 0) * SIZE + SIZE // 2

    def event(self, number: int) -> AuditEvent:
        """An event of a target that has ten."""
        return event(number % (self.events // EVENTS_OF_A_TARGET))


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Fills the logs, then uses each by turns."""
    logs = [Log(partitions) for partitions in options.partitions]
    for log in logs:
        fill(bench, log)
        report.progress(f"filled: {log.partitions} partitions, {log.events:,} events")
    for number in range(options.rounds):
        take_turns(bench, logs, options.times)
        shown = ", ".join(f"{log.append[-1]:.2f} and {log.look[-1]:.2f} ms" for log in logs)
        report.progress(f"round {number + 1}/{options.rounds}, append and look up: {shown}")
    tell(report, logs)
    bench.drop(*(log.database for log in logs))


def fill(bench: Bench, log: Log) -> None:
    """Records and appends what fills the partitions.

    :raises RuntimeError: there are more partitions, or fewer.
    """
    load.create(bench, log.database)
    with bench.connect(log.database) as conn:
        conn.execute(SMALL)
        for first in range(0, log.events, CALL):
            made = [log.event(number) for number in range(first, min(first + CALL, log.events))]
            conn.execute(RECORD, [to_document(made, load.SETTINGS.max_event_bytes)])
            conn.execute(APPEND, [CALL])
        conn.execute("SELECT pgaudit.ensure_partitions()")
        conn.execute("VACUUM ANALYZE")
        if (found := conn.execute(COUNT).fetchone()) != (log.partitions,):
            raise RuntimeError(f"{found} partitions, expected {log.partitions}")


def take_turns(bench: Bench, logs: list[Log], times: int) -> None:
    """Notes each log's medians, and what the first append and the first look of a session took."""
    with ExitStack() as stack:
        conns = [stack.enter_context(bench.connect(log.database)) for log in logs]
        turns = [
            [(appended(conn, log), looked_up(conn, log, number)) for conn, log in zip(conns, logs, strict=True)]
            for number in range(times + 1)
        ]
    for log, taken in zip(logs, zip(*turns, strict=True), strict=True):
        log.first_append.append(taken[0][0])
        log.first_look.append(taken[0][1])
        log.append.append(median(append for append, _ in taken[1:]))
        log.look.append(median(look for _, look in taken[1:]))


def appended(conn: load.Connection, log: Log) -> float:
    """Milliseconds of appending one event; rolled back, so that the log keeps its size.

    :raises RuntimeError: it was not appended.
    """
    with conn.transaction(force_rollback=True):
        load.by_pgaudit(conn, log.event(0))
        start = time.perf_counter()
        row = conn.execute(APPEND, [1]).fetchone()
        taken = time.perf_counter() - start
    if row != (1,):
        raise RuntimeError(f"appended {row}, expected 1")
    return taken * 1_000


def looked_up(conn: load.Connection, log: Log, number: int) -> float:
    """Milliseconds of looking up all events of a target.

    :raises RuntimeError: there are fewer.
    """
    target = log.event(number).targets[0]
    start = time.perf_counter()
    found = trail.of_target(conn, target.type, target.id)
    taken = time.perf_counter() - start
    if len(found) < EVENTS_OF_A_TARGET:
        raise RuntimeError(f"{len(found)} events of {target}, expected {EVENTS_OF_A_TARGET}")
    return taken * 1_000


def tell(report: Report, logs: list[Log]) -> None:
    """The most partitions against the fewest."""
    titles = {
        "append": "Appending one event",
        "look": f"Looking up the {EVENTS_OF_A_TARGET} events of a target",
        "first_append": "Appending one event, the first of a session",
        "first_look": "Looking up a target, the first of a session",
    }
    for name, title in titles.items():
        figures = [
            Figure(f"{log.partitions} partitions", "the fewest", "ms", getattr(log, name), ours=True) for log in logs
        ]
        report.table(title, figures, figures[0])
        if name == "append":
            report.target(f"{title}, most partitions of fewest", ratio(figures[-1], figures[0]), FACTOR, limit=True)
    curves: Curves = {
        name: [(log.partitions, median(getattr(log, name))) for log in logs] for name in ("append", "look")
    }
    report.curve("Appending and looking up, by the number of partitions", ("partitions", "ms"), curves, "append")
