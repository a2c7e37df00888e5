"""How fast workers empty the queue: by batch size, number and concurrency, beside the limits and the peers."""

import argparse
from collections.abc import Iterator
from itertools import product
from typing import Final

from benchmarks import contenders, peers
from benchmarks.contenders import Contender, drain
from benchmarks.figures import Figure, ratio
from benchmarks.limits import LIMITS
from benchmarks.options import chosen, numbers
from benchmarks.report import Report
from benchmarks.server import RUN, Bench

STOCK, PGQUEUER, SELECT = "stock", "pgqueuer", "select"
BATCH: Final = 1_000
BOUNDS: Final = {STOCK: 75, PGQUEUER: 10}
TITLES: Final = {STOCK: "stock Procrastinate", PGQUEUER: "PgQueuer"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What draining alone is asked for."""
    parser.add_argument("--events", type=int, default=100_000, help="how many events are drained (100,000)")
    parser.add_argument("--batch-sizes", type=numbers, default=[BATCH], help="of pgaudit's workers (1000)")
    parser.add_argument("--workers", type=numbers, default=[1, 2], help="processes of pgaudit's (1,2)")
    parser.add_argument("--concurrency", type=numbers, default=[2], help="of each process (2)")
    parser.add_argument(
        "--peer-events", type=int, default=3_000, help="how many the peers drain (3,000; PgQueuer five times as many)"
    )
    parser.add_argument("--stock-concurrency", type=numbers, default=[10, 30], help="of stock's worker (10,30)")
    parser.add_argument("--pgqueuer-batches", type=numbers, default=[10, 100], help="of PgQueuer's worker (10,100)")
    parser.add_argument("--idle", type=float, default=5.0, help="seconds for which an idle worker is watched (5)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Takes all figures by turns, and notes the targets."""
    report.progress(f"queueing {options.events:,} events")
    peers.create_queued(bench, options.events, options.peer_events, options.peer_events * 5)
    limits = {each: Figure(LIMITS[each][0], each, "events/s") for each in chosen(options, LIMITS)}
    ours = {each: Figure(each.name, each.short, "events/s", ours=True) for each in of_pgaudit(options)}
    theirs = {each: Figure(each.name, each.short, "events/s") for each in of_peers(bench, options)}
    memory = Figure("peak memory of a worker", "memory", "MB", ours=True)
    idle = Figure("an idle worker", "idle", "% of a core", ours=True)
    for turn in range(options.rounds):
        for each, figure in limits.items():
            figure.values.append(LIMITS[each][1](bench, options.events))
        for nth, (contender, figure) in enumerate((ours | theirs).items()):
            bench.create(RUN, peers.QUEUED)
            result = drain(bench, contender, events_of(contender, options), 0.0 if nth else options.idle)
            figure.values.append(result.rate)
            if not nth:
                memory.values.append(result.megabytes)
                idle.values.append(result.idle)
        taken = [*limits.values(), *ours.values(), *theirs.values()]
        shown = ", ".join(f"{figure.short} {figure.values[-1]:,.0f}" for figure in taken)
        report.progress(f"round {turn + 1}/{options.rounds}: {shown} events/s")
    fewer = f"stock: {options.peer_events:,}, PgQueuer: {options.peer_events * 5:,}"
    title = f"Draining {options.events:,} events ({fewer})"
    report.table(title, taken, *limits.values(), *theirs.values())
    report.table("What a worker uses", [memory])
    report.table("What it uses when the queue is empty", [idle])
    show_curves(report, ours)
    note_targets(report, limits, ours, theirs)
    report.target("a worker's peak memory in MB", max(memory.values), 150, limit=True)
    report.target("an idle worker, % of a core", idle.median, 2, limit=True)
    bench.drop(RUN, peers.QUEUED, peers.BUSINESS)


def of_pgaudit(options: argparse.Namespace) -> Iterator[Contender]:
    """Workers with all the settings that were asked for."""
    for processes, size, concurrency in product(options.workers, options.batch_sizes, options.concurrency):
        yield contenders.pgaudit(size, processes, concurrency)


def of_peers(bench: Bench, options: argparse.Namespace) -> Iterator[Contender]:
    """The workers of the others."""
    for peer in chosen(options, (STOCK, PGQUEUER)):
        if peer == STOCK:
            yield from (contenders.stock(bench, concurrency) for concurrency in options.stock_concurrency)
        else:
            yield from (contenders.pgqueuer(bench, size) for size in options.pgqueuer_batches)


def events_of(contender: Contender, options: argparse.Namespace) -> int:
    """How many events are in its queue."""
    if contender.ours:
        return int(options.events)
    return int(options.peer_events) * (5 if contender.short.startswith(PGQUEUER) else 1)


def show_curves(report: Report, ours: dict[Contender, Figure]) -> None:
    """By batch size, where several were asked for."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for contender, figure in ours.items():
        size = int(contender.environment["PGAUDIT_BATCH_SIZE"])
        concurrency = contender.environment["PGAUDIT_WORKER_CONCURRENCY"]
        curves.setdefault(f"workers {contender.processes}, concurrency {concurrency}", []).append((size, figure.median))
    if max(map(len, curves.values())) > 1:
        report.curve("Draining by batch size", ("events in a batch", "events/s"), curves)


def note_targets(
    report: Report, limits: dict[str, Figure], ours: dict[Contender, Figure], theirs: dict[Contender, Figure]
) -> None:
    """What one of our workers should reach, and that more of them do no harm."""
    alike = {(each.processes, *each.environment.values()): figure for each, figure in ours.items()}
    one = alike.get((1, str(BATCH), "2"), next(iter(ours.values())))
    if SELECT in limits:
        report.target("a worker, of INSERT … SELECT", ratio(one, limits[SELECT]), 0.65)
    for contender, figure in ours.items():
        alone = alike.get((1, *contender.environment.values()))
        if alone and contender.processes > 1:
            report.target(f"{contender.name}, of one", ratio(figure, alone), 1)
    for peer, bound in BOUNDS.items():
        ratios = [ratio(one, figure) for each, figure in theirs.items() if each.short.startswith(peer)]
        if ratios:
            report.target(f"a worker, times the best of {TITLES[peer]}", min(ratios), bound)
