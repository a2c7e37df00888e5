"""How fast do workers drain the queue?

Variants: pgaudit's workers by batch size, number and concurrency; the limits (one INSERT … SELECT of the queue's rows,
and COPY of complete rows, into the plain log); the workers of stock Procrastinate and PgQueuer.
Measured: events a second; a worker's peak memory in MB; an idle worker's share of a core in percent.
Duration: about 10 minutes.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from typing import Final

from benchmarks.support import contenders, databases
from benchmarks.support.contenders import Contender, drain
from benchmarks.support.limits import LIMITS
from benchmarks.support.options import chosen, numbers
from benchmarks.support.report import Curves, Measurement, Report, ratio
from benchmarks.support.server import RUN, Bench

STOCK, PGQUEUER, SELECT = "stock", "pgqueuer", "select"
BATCH: Final = 1_000
BOUNDS: Final = {STOCK: 75, PGQUEUER: 10}
TITLES: Final = {STOCK: "stock Procrastinate", PGQUEUER: "PgQueuer"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--events", type=int, default=100_000, help="events that are drained (100,000)")
    parser.add_argument("--batch-sizes", type=numbers, default=[BATCH], help="batch sizes of pgaudit's workers (1000)")
    parser.add_argument("--workers", type=numbers, default=[1, 2], help="numbers of pgaudit's processes (1,2)")
    parser.add_argument("--concurrency", type=numbers, default=[2], help="concurrencies of each process (2)")
    parser.add_argument(
        "--peer-events",
        type=int,
        default=3_000,
        help="events that the peers drain (3,000; PgQueuer five times as many)",
    )
    parser.add_argument("--stock-concurrency", type=numbers, default=[10, 30], help="of Procrastinate's worker (10,30)")
    parser.add_argument("--pgqueuer-batches", type=numbers, default=[10, 100], help="of PgQueuer's worker (10,100)")
    parser.add_argument("--idle", type=float, default=5.0, help="seconds for which an idle worker is observed (5)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Measures everything by turns, and reports it."""
    report.progress(f"queueing {options.events:,} events")
    databases.create_queued(bench, options.events, options.peer_events, options.peer_events * 5)
    limits = {each: Measurement(LIMITS[each][0], each, "events/s") for each in chosen(options, LIMITS)}
    ours = {each: Measurement(each.name, each.short, "events/s", ours=True) for each in pgaudit_workers(options)}
    theirs = {each: Measurement(each.name, each.short, "events/s") for each in peer_workers(bench, options)}
    memory = Measurement("peak memory of a worker", "memory", "MB", ours=True)
    idle = Measurement("an idle worker", "idle", "% of a core", ours=True)
    for turn in range(options.rounds):
        for each, measurement in limits.items():
            measurement.values.append(LIMITS[each][1](bench, options.events))
        for nth, (contender, measurement) in enumerate((ours | theirs).items()):
            bench.create(RUN, databases.QUEUED)
            result = drain(bench, contender, count_for(contender, options), 0.0 if nth else options.idle)
            measurement.values.append(result.rate)
            if not nth:
                memory.values.append(result.megabytes)
                idle.values.append(result.idle)
        taken = [*limits.values(), *ours.values(), *theirs.values()]
        shown = ", ".join(f"{measurement.short} {measurement.values[-1]:,.0f}" for measurement in taken)
        report.progress(f"round {turn + 1}/{options.rounds}: {shown} events/s")
    fewer = f"stock: {options.peer_events:,}, PgQueuer: {options.peer_events * 5:,}"
    title = f"Draining {options.events:,} events ({fewer})"
    report.table(title, taken, *limits.values(), *theirs.values())
    report.table("Peak memory of a worker", [memory])
    report.table("Processor time while the queue is empty", [idle])
    show_curves(report, ours)
    note_targets(report, limits, ours, theirs)
    report.target("a worker's peak memory in MB", max(memory.values), 150, limit=True)
    report.target("an idle worker, % of a core", idle.median, 2, limit=True)
    bench.drop(RUN, databases.QUEUED, databases.BUSINESS)


def pgaudit_workers(options: argparse.Namespace) -> Iterator[Contender]:
    """Yields pgaudit's workers with each combination of the settings."""
    for processes, size, concurrency in product(options.workers, options.batch_sizes, options.concurrency):
        yield contenders.pgaudit(size, processes, concurrency)


def peer_workers(bench: Bench, options: argparse.Namespace) -> Iterator[Contender]:
    """Yields the workers of the selected peers."""
    for peer in chosen(options, (STOCK, PGQUEUER)):
        if peer == STOCK:
            yield from (contenders.stock(bench, concurrency) for concurrency in options.stock_concurrency)
        else:
            yield from (contenders.pgqueuer(bench, size) for size in options.pgqueuer_batches)


def count_for(contender: Contender, options: argparse.Namespace) -> int:
    """Returns the number of events that a contender drains."""
    if contender.ours:
        return int(options.events)
    return int(options.peer_events) * (5 if contender.short.startswith(PGQUEUER) else 1)


def show_curves(report: Report, ours: dict[Contender, Measurement]) -> None:
    """Reports the rates by batch size, if there are several."""
    curves: Curves = {}
    for contender, measurement in ours.items():
        size = int(contender.environment["PGAUDIT_BATCH_SIZE"])
        concurrency = contender.environment["PGAUDIT_WORKER_CONCURRENCY"]
        curves.setdefault(f"workers {contender.processes}, concurrency {concurrency}", []).append(
            (size, measurement.median)
        )
    if max(map(len, curves.values())) > 1:
        report.curve("Draining by batch size", ("events in a batch", "events/s"), curves)


def note_targets(
    report: Report,
    limits: dict[str, Measurement],
    ours: dict[Contender, Measurement],
    theirs: dict[Contender, Measurement],
) -> None:
    """Adds the targets: what one worker should reach, and that more workers are not slower."""
    by_settings = {(each.processes, *each.environment.values()): measurement for each, measurement in ours.items()}
    one = by_settings.get((1, str(BATCH), "2"), next(iter(ours.values())))
    if SELECT in limits:
        report.target("a worker, of INSERT … SELECT", ratio(one, limits[SELECT]), 0.65)
    for contender, measurement in ours.items():
        alone = by_settings.get((1, *contender.environment.values()))
        if alone and contender.processes > 1:
            report.target(f"{contender.name}, of one", ratio(measurement, alone), 1)
    for peer, bound in BOUNDS.items():
        ratios = [ratio(one, measurement) for each, measurement in theirs.items() if each.short.startswith(peer)]
        if ratios:
            report.target(f"a worker, times the best of {TITLES[peer]}", min(ratios), bound)
