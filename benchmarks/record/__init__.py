"""What does recording an event cost the business transaction?

Parts: ``transactions`` compares the variants with pgbench, on local disk and with slow commits; ``api`` compares calls
from Python; ``bulk`` records many events in a call; ``steps`` times each step of one event.
Variants: nothing, an outbox, a direct INSERT into a plain log, ``pgaudit.record``, stock Procrastinate, PgQueuer.
Measured: transactions a second, p50 and p99 in ms, time added to a transaction in µs, round trips, events a second.
Duration: about 20 minutes; the part ``api`` alone takes one.
"""

import argparse
from typing import Final

from benchmarks.record import api, bulk, steps
from benchmarks.support import databases
from benchmarks.support.options import chosen, names, numbers
from benchmarks.support.report import Measurement, Report, ratio
from benchmarks.support.server import RUN, Bench
from benchmarks.support.transactions import BARE, DIRECT, NAMES, OUTBOX, PGAUDIT, SINGLE, STOCK, measure

# A commit that takes 2 ms, as on a cloud disk or with a synchronous replica.
SLOW: Final = "-c commit_delay=2000 -c commit_siblings=0"
LOCAL_DISK, SLOW_COMMIT = "local disk", "commits of 2 ms"
KINDS: Final = {LOCAL_DISK: "", SLOW_COMMIT: SLOW}
SLOW_FROM: Final = 16  # connections; with fewer, a slow commit hides everything else
TARGETS_AT: Final = 16
PARTS: Final = frozenset({"transactions", "api", "bulk", "steps"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--connections", type=numbers, default=[1, 4, 16, 64], help="connections (1,4,16,64)")
    parser.add_argument("--events", type=int, default=100_000, help="events of a bulk load (100,000)")
    parser.add_argument("--parts", type=names, default=PARTS, help=f"some of {','.join(sorted(PARTS))} (all)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Runs the parts.

    :raises SystemExit: ``--parts`` names a part that does not exist.
    """
    if unknown := options.parts - PARTS:
        raise SystemExit(f"no part {', '.join(sorted(unknown))}: choose from {', '.join(sorted(PARTS))}")
    databases.create_business(bench)
    if "transactions" in options.parts:
        for connections in options.connections:
            transactions(bench, report, options, connections)
    for name, part in {"api": api, "steps": steps, "bulk": bulk}.items():
        if name in options.parts:
            part.run(bench, report, options)
    bench.drop(RUN, databases.BUSINESS)


def transactions(bench: Bench, report: Report, options: argparse.Namespace, connections: int) -> None:
    """Measures all variants by turns, each in a fresh database, and reports them."""
    variants = [BARE, *(each for each in chosen(options, SINGLE) if each not in {BARE, PGAUDIT}), PGAUDIT]
    kinds = {kind: value for kind, value in KINDS.items() if kind == LOCAL_DISK or connections >= SLOW_FROM}
    rates = {kind: {each: throughput(each) for each in variants} for kind in kinds}
    waits = {kind: {each: (latency(each, "p50"), latency(each, "p99")) for each in variants} for kind in kinds}
    for number in range(options.rounds):
        for kind, settings in kinds.items():
            for each in variants:
                bench.create(RUN, databases.BUSINESS)
                taken = measure(bench, RUN, each, connections, options.seconds, settings=settings)
                rates[kind][each].values.append(taken.tps)
                waits[kind][each][0].values.append(taken.p50)
                waits[kind][each][1].values.append(taken.p99)
            shown = ", ".join(f"{each} {measurement.values[-1]:,.0f}" for each, measurement in rates[kind].items())
            report.progress(f"round {number + 1}/{options.rounds}, {connections} connections, {kind}: {shown} tx/s")
    for kind, measured in rates.items():
        title = f"One UPDATE, {connections} connections, {kind}"
        limits = [measured[each] for each in (BARE, OUTBOX, DIRECT, STOCK) if each in measured]
        report.table(title, list(measured.values()), *limits)
        report.table(f"{title}, latency", [wait for both in waits[kind].values() for wait in both])
        note_targets(report, kind, connections, measured)


def throughput(variant: str) -> Measurement:
    """Returns an empty measurement of transactions a second."""
    return Measurement(NAMES[variant], variant, "tx/s", ours=variant == PGAUDIT)


def latency(variant: str, percentile: str) -> Measurement:
    """Returns an empty measurement of a percentile of the latency."""
    return Measurement(f"{NAMES[variant]}, {percentile}", f"{variant} {percentile}", "ms", ours=variant == PGAUDIT)


def note_targets(report: Report, kind: str, connections: int, measured: dict[str, Measurement]) -> None:
    """Adds the targets: the share of the transaction rate that recording should keep."""
    if kind == LOCAL_DISK and connections == TARGETS_AT:
        bounds = {OUTBOX: 0.8, DIRECT: 1.0, STOCK: 2.0}
    elif kind == SLOW_COMMIT:
        bounds = {BARE: 0.85, STOCK: 10.0} if connections == TARGETS_AT else {OUTBOX: 0.8}
    else:
        bounds = {}
    for other, bound in bounds.items():
        if other in measured:
            name = f"record at {connections} connections, {kind}: times {NAMES[other].removeprefix('+ ')}"
            report.target(name, ratio(measured[PGAUDIT], measured[other]), bound)
