"""Steady load for the time that is given: rate, lag, memory of the workers, and bloat of the queue over time.

One writer process, workers as they come, and a sample every few seconds; a line for each stretch while it runs. It ends
by itself when the last event is in the log, and refuses its figures unless every event is there once.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from statistics import mean
from typing import Final

from benchmarks import load, workers
from benchmarks.report import Report
from benchmarks.sampling import Sample, look, resident
from benchmarks.server import RUN, Bench
from benchmarks.workers import Process

REGISTERED: Final = "SELECT count(*) = %s FROM pgaudit.procrastinate_workers"
STRETCHES: Final = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much for how long."""
    parser.add_argument("--rate", type=float, default=200.0, help="events a second (200)")
    parser.add_argument("--minutes", type=float, default=2.0, help="for so long (2)")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two samples (2)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Starts everybody, samples until the last event is in the log, and reckons."""
    dsn = bench.conninfo(load.create(bench))
    with ExitStack() as stack:
        conn = stack.enter_context(bench.connect(RUN))
        crew = [stack.enter_context(workers.worker(dsn, *workers.PGAUDIT)) for _ in range(options.workers)]
        workers.wait_for(conn, REGISTERED, crew[0], len(crew))
        work = load.process(load.count, dsn, load.by_pgaudit, options.rate, options.minutes * 60)
        writing = stack.enter_context(work)
        stretches = told(report, samples(conn, crew, writing, options.every), options.minutes / STRETCHES)
        workers.wait_for(conn, load.DRAINED, crew[0], writing.result())
        load.reckon(conn, writing.result())
    report.progress(f"{writing.result():,} events recorded, each of them is in the log once, and the queue is empty")
    tell(report, stretches)
    bench.drop(RUN)


def samples(conn: load.Connection, crew: list[Process], writing: Future[int], every: float) -> Iterator[Sample]:
    """Takes a sample at each interval while the writer writes.

    :raises RuntimeError: a worker has ended.
    """
    begin = before = time.monotonic()
    logged = 0
    while not writing.done():
        time.sleep(every)
        if any(worker.poll() is not None for worker in crew):
            raise RuntimeError("a worker has ended")
        now, seen = time.monotonic(), look(conn, every)
        yield Sample((now - begin) / 60, (seen.logged - logged) / (now - before), max(map(resident, crew)), seen)
        before, logged = now, seen.logged


def told(report: Report, taken: Iterator[Sample], minutes: float) -> list[list[Sample]]:
    """Groups the samples by stretches of minutes, and reports each stretch when it is over."""
    stretches: list[list[Sample]] = [[]]
    report.progress("until min   events/s  lag ms, max  waiting, max  worker MB  dead rows, max  queue MB")
    for sample in taken:
        if stretches[-1] and sample.minute > minutes * len(stretches):
            report.progress(line(stretches[-1]))
            stretches.append([])
        stretches[-1].append(sample)
    report.progress(line(stretches[-1]))
    return stretches


def line(stretch: list[Sample]) -> str:
    """One stretch, under the headings above."""
    rate, memory = mean(each.rate for each in stretch), max(each.memory for each in stretch)
    lag, waiting = max(each.seen.lag for each in stretch), max(each.seen.waiting for each in stretch)
    dead, megabytes = max(each.seen.dead for each in stretch), max(each.seen.megabytes for each in stretch)
    return (
        f"{stretch[-1].minute:9.2f} {rate:10,.0f} {lag:12,.1f} {waiting:13,} "
        f"{memory:10,.1f} {dead:15,} {megabytes:9,.1f}"
    )


def tell(report: Report, stretches: list[list[Sample]]) -> None:
    """Every sample for the plot and the JSON; the lines above have shown them already. And what must not grow."""
    taken = [sample for stretch in stretches for sample in stretch]
    lines = {
        "events/s": [each.rate for each in taken],
        "lag in ms": [each.seen.lag for each in taken],
        "MB of a worker": [each.memory for each in taken],
        "dead rows of the queue": [float(each.seen.dead) for each in taken],
        "MB of the queue": [each.seen.megabytes for each in taken],
    }
    for name, values in lines.items():
        points = [(sample.minute, value) for sample, value in zip(taken, values, strict=True)]
        report.curves.append({"title": name, "labels": ("minutes", name), "ours": name, "curves": {name: points}})
    first, last = (max(each.memory for each in stretches[place]) for place in (len(stretches) // 4, -1))
    report.target("memory of a worker, last stretch of one after a quarter", last / first, 1.1, limit=True)
