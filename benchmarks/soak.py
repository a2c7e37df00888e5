"""Do rate, lag, memory and bloat stay the same under a steady load, for the given time?

Variants: none; one writer process and ``--workers`` workers with their default settings.
Measured every ``--every`` seconds: events a second, lag in ms, MB of the largest worker, dead rows, MB of the queue.
Duration: ``--minutes``, and until the last event is in the log. Then it checks that the log has every event once.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import mean
from typing import Final

from psycopg.rows import class_row

from benchmarks.support import load, workers
from benchmarks.support.report import Report
from benchmarks.support.server import RUN, Bench
from benchmarks.support.workers import Process, resident_megabytes

REGISTERED: Final = "SELECT count(*) = %s FROM pgaudit.procrastinate_workers"
PERIODS: Final = 10
STATE: Final = """
    SELECT size AS logged, waiting, lag, dead, megabytes
      FROM pgaudit.log_head,
           (SELECT waiting FROM pgaudit.queue_stats) queue,
           (SELECT coalesce(max(extract(epoch FROM persisted_at - oldest_recorded)), 0)::float8 * 1000 AS lag
              FROM pgaudit.batch WHERE persisted_at > clock_timestamp() - make_interval(secs => %s)) batches,
           (SELECT sum(dead_rows)::bigint AS dead, sum(total_bytes)::float8 / 1048576 AS megabytes
              FROM pgaudit.storage_stats WHERE table_name IN ('procrastinate_jobs', 'audit_jobs')) storage
"""


@dataclass(frozen=True, slots=True)
class State:
    """The state of the database: events logged and waiting, the largest recent lag in ms, and the queue's bloat."""

    logged: int
    waiting: int
    lag: float
    dead: int
    megabytes: float


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample: minutes from the start, events a second since the previous one, MB of the largest worker."""

    minute: float
    rate: float
    memory: float
    state: State


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--rate", type=float, default=200.0, help="events a second (200)")
    parser.add_argument("--minutes", type=float, default=2.0, help="duration (2)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two samples (2)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Starts workers and writer, takes samples until the last event is in the log, and verifies the log."""
    dsn = bench.conninfo(load.create(bench))
    with ExitStack() as stack:
        conn = stack.enter_context(bench.connect(RUN))
        processes = [stack.enter_context(workers.worker(dsn, *workers.PGAUDIT)) for _ in range(options.workers)]
        workers.wait_for(conn, REGISTERED, processes[0], len(processes))
        work = load.process(load.count_commits, dsn, load.by_pgaudit, options.rate, options.minutes * 60)
        writing = stack.enter_context(work)
        periods = report_periods(report, samples(conn, processes, writing, options.every), options.minutes / PERIODS)
        workers.wait_for(conn, load.DRAINED, processes[0], writing.result())
        load.verify(conn, writing.result())
    report.progress(f"{writing.result():,} events recorded; the log has each once, and the queue is empty")
    report_samples(report, periods)
    bench.drop(RUN)


def samples(conn: load.Connection, processes: list[Process], writing: Future[int], every: float) -> Iterator[Sample]:
    """Takes a sample at each interval while the writer writes.

    :raises RuntimeError: a worker has ended.
    """
    begin = before = time.monotonic()
    logged = 0
    while not writing.done():
        time.sleep(every)
        if any(worker.poll() is not None for worker in processes):
            raise RuntimeError("a worker has ended")
        now, state = time.monotonic(), read_state(conn, every)
        yield Sample(
            (now - begin) / 60, (state.logged - logged) / (now - before), max(map(resident_megabytes, processes)), state
        )
        before, logged = now, state.logged


def read_state(conn: load.Connection, seconds: float) -> State:
    """Returns the state of the database now; the lag is the largest one of the last seconds."""
    with conn.cursor(row_factory=class_row(State)) as cursor:
        return cursor.execute(STATE, [seconds]).fetchone() or State(0, 0, 0, 0, 0)


def report_periods(report: Report, taken: Iterator[Sample], minutes: float) -> list[list[Sample]]:
    """Groups the samples into periods, and reports each period when it is over."""
    periods: list[list[Sample]] = [[]]
    report.progress("until min   events/s  lag ms, max  waiting, max  worker MB  dead rows, max  queue MB")
    for sample in taken:
        if periods[-1] and sample.minute > minutes * len(periods):
            report.progress(format_line(periods[-1]))
            periods.append([])
        periods[-1].append(sample)
    report.progress(format_line(periods[-1]))
    return periods


def format_line(period: list[Sample]) -> str:
    """Returns the line of a period, in the columns that ``report_periods`` prints."""
    rate, memory = mean(each.rate for each in period), max(each.memory for each in period)
    lag, waiting = max(each.state.lag for each in period), max(each.state.waiting for each in period)
    dead, megabytes = max(each.state.dead for each in period), max(each.state.megabytes for each in period)
    return (
        f"{period[-1].minute:9.2f} {rate:10,.0f} {lag:12,.1f} {waiting:13,} "
        f"{memory:10,.1f} {dead:15,} {megabytes:9,.1f}"
    )


def report_samples(report: Report, periods: list[list[Sample]]) -> None:
    """Adds every sample to the plot and the JSON, and the target for the memory, which must not grow."""
    taken = [sample for period in periods for sample in period]
    lines = {
        "events/s": [each.rate for each in taken],
        "lag in ms": [each.state.lag for each in taken],
        "MB of a worker": [each.memory for each in taken],
        "dead rows of the queue": [float(each.state.dead) for each in taken],
        "MB of the queue": [each.state.megabytes for each in taken],
    }
    for name, values in lines.items():
        points = [(sample.minute, value) for sample, value in zip(taken, values, strict=True)]
        report.curves.append({"title": name, "labels": ("minutes", name), "ours": name, "curves": {name: points}})
    first, last = (max(each.memory for each in periods[place]) for place in (len(periods) // 4, -1))
    report.target("memory of a worker, last period of that after a quarter of the time", last / first, 1.1, limit=True)
