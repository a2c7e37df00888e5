"""What recording costs inside the business transaction: one UPDATE, with and without its event.

By pgbench at several numbers of connections, on local disk and with slow commits (``record``); beside a log that
is full (``crossover``); from Python (``api``); many events at a time (``bulk``); where the time goes (``steps``).
"""

import argparse
from typing import Final

from benchmarks import api, bulk, crossover, peers, steps
from benchmarks.figures import Figure, ratio
from benchmarks.options import chosen, names, numbers
from benchmarks.report import Report
from benchmarks.server import RUN, Bench
from benchmarks.variants import ALONE, BARE, DIRECT, NAMES, OUTBOX, PGAUDIT, STOCK, measure

# A commit that takes 2 ms, as on a cloud disk or with a synchronous replica.
SLOW: Final = "-c commit_delay=2000 -c commit_siblings=0"
LOCAL_DISK, SLOW_COMMIT = "local disk", "commits of 2 ms"
KINDS: Final = {LOCAL_DISK: "", SLOW_COMMIT: SLOW}
SLOW_FROM: Final = 16  # with fewer connections a slow commit hides everything else
TARGETS_AT: Final = 16
PARTS: Final = frozenset({"transactions", "crossover", "api", "bulk", "steps"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What recording alone is asked for."""
    parser.add_argument("--connections", type=numbers, default=[1, 4, 16, 64], help="at a time (1,4,16,64)")
    parser.add_argument("--log-rows", type=numbers, default=[0], help="also beside a log of that number of rows (0)")
    parser.add_argument("--events", type=int, default=100_000, help="how many a bulk load has (100,000)")
    parser.add_argument("--parts", type=names, default=PARTS, help=f"only some of {','.join(sorted(PARTS))}")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Runs the parts."""
    peers.create_business(bench)
    if "transactions" in options.parts:
        for connections in options.connections:
            transactions(bench, report, options, connections)
    if "api" in options.parts:
        api.run(bench, report, options)
    if "steps" in options.parts:
        steps.run(bench, report, options)
    if "bulk" in options.parts:
        bulk.run(bench, report, options)
    if "crossover" in options.parts and max(options.log_rows):
        crossover.run(bench, report, options)
    bench.drop(RUN, peers.BUSINESS)


def transactions(bench: Bench, report: Report, options: argparse.Namespace, connections: int) -> None:
    """All variants by turns, each in a fresh database; then the tables and the targets."""
    variants = [BARE, *(each for each in chosen(options, ALONE) if each not in {BARE, PGAUDIT}), PGAUDIT]
    kinds = {kind: value for kind, value in KINDS.items() if kind == LOCAL_DISK or connections >= SLOW_FROM}
    rates = {kind: {each: rate(each) for each in variants} for kind in kinds}
    waits = {kind: {each: (half(each), most(each)) for each in variants} for kind in kinds}
    for number in range(options.rounds):
        for kind, settings in kinds.items():
            for each in variants:
                bench.create(RUN, peers.BUSINESS)
                taken = measure(bench, RUN, each, connections, options.seconds, settings=settings)
                rates[kind][each].values.append(taken.tps)
                waits[kind][each][0].values.append(taken.p50)
                waits[kind][each][1].values.append(taken.p99)
            shown = ", ".join(f"{each} {figure.values[-1]:,.0f}" for each, figure in rates[kind].items())
            report.progress(f"round {number + 1}/{options.rounds}, {connections} connections, {kind}: {shown} tx/s")
    for kind, figures in rates.items():
        title = f"One UPDATE, {connections} connections, {kind}"
        limits = [figures[each] for each in (BARE, OUTBOX, DIRECT, STOCK) if each in figures]
        report.table(title, list(figures.values()), *limits)
        report.table(f"{title}: how long", [wait for both in waits[kind].values() for wait in both])
        note_targets(report, kind, connections, figures)


def rate(variant: str) -> Figure:
    """How many are done in a second."""
    return Figure(NAMES[variant], variant, "tx/s", ours=variant == PGAUDIT)


def half(variant: str) -> Figure:
    """The time within which half of the transactions are done."""
    return Figure(f"{NAMES[variant]}, p50", f"{variant} p50", "ms", ours=variant == PGAUDIT)


def most(variant: str) -> Figure:
    """The time within which 99 of 100 are."""
    return Figure(f"{NAMES[variant]}, p99", f"{variant} p99", "ms", ours=variant == PGAUDIT)


def note_targets(report: Report, kind: str, connections: int, figures: dict[str, Figure]) -> None:
    """What recording should keep of the transaction rate."""
    if kind == LOCAL_DISK and connections == TARGETS_AT:
        bounds = {OUTBOX: 0.8, DIRECT: 1.0, STOCK: 2.0}
    elif kind == SLOW_COMMIT:
        bounds = {BARE: 0.85, STOCK: 10.0} if connections == TARGETS_AT else {OUTBOX: 0.8}
    else:
        bounds = {}
    for other, bound in bounds.items():
        if other in figures:
            name = f"record at {connections} connections, {kind}: times {NAMES[other].removeprefix('+ ')}"
            report.target(name, ratio(figures[PGAUDIT], figures[other]), bound)
