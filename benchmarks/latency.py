"""From commit to visible in the log: when another session can SELECT an event; and what an idle worker costs.

Each round takes every rate once, for ``--seconds``, at random moments. p99.9 of fewer than 1,000 events is the slowest.
An event that meets an idle worker waits for its next look: half of PGAUDIT_POLL_INTERVAL on average, 0.2 s at most.
A peer that falls behind would be waited for: stock Procrastinate takes 100 events a second, not 1,000.
"""

import argparse
import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from benchmarks import options, visible
from benchmarks.figures import Curves, Figure
from benchmarks.report import Report
from benchmarks.server import Bench
from benchmarks.visible import OURS, STOCK, Side

SHARES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
# Milliseconds, at 100 events a second.
BOUNDS: Final = {(100, "p50"): 10.0, (100, "p99"): 25.0}
SETTLED: Final = 2.0

Case = tuple[str, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The paces, and how long nothing happens."""
    parser.add_argument("--rates", type=options.numbers, default=[10, 100, 1_000], help="events/s (10,100,1000)")
    parser.add_argument("--peer-rates", type=options.numbers, default=[10, 100], help="those of the peers (10,100)")
    parser.add_argument("--idle", type=float, default=10.0, help="idle seconds before the first event of a round (10)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """All rates by turns, pgaudit beside stock Procrastinate; then the first event after nothing."""
    with ExitStack() as stack:
        sides = {name: stack.enter_context(visible.side(bench, name)) for name in compared(options)}
        tell_rates(report, measured(report, sides, options))
        tell_idle(report, sides[OURS], options)


def compared(given: argparse.Namespace) -> list[str]:
    """pgaudit, and whom it is compared with."""
    return [OURS, *options.chosen(given, [STOCK])]


def measured(report: Report, sides: dict[str, Side], given: argparse.Namespace) -> dict[Case, list[list[float]]]:
    """The latencies of each round, for each side and rate."""
    rates = {OURS: given.rates, STOCK: given.peer_rates}
    taken: dict[Case, list[list[float]]] = {(name, rate): [] for name in sides for rate in rates[name]}
    for number in range(given.rounds):
        for (name, rate), rounds in taken.items():
            rounds.append(visible.latencies(sides[name], rate, given.seconds))
            shown = ", ".join(f"{each} {percentile(rounds[-1], share):,.1f} ms" for each, share in SHARES.items())
            reached = len(rounds[-1]) / given.seconds
            report.progress(f"round {number + 1}/{given.rounds}, {name}, {reached:,.0f} events/s: {shown}")
    return taken


def tell_rates(report: Report, taken: dict[Case, list[list[float]]]) -> None:
    """Each round's percentiles as a table, those of all rounds together as curves and against the targets."""
    figures: list[Figure] = []
    curves: Curves = {}
    for (name, rate), rounds in taken.items():
        together = [latency for each in rounds for latency in each]
        for each, share in SHARES.items():
            values = [percentile(latencies, share) for latencies in rounds]
            figures.append(Figure(f"{name}, {rate:,} events/s, {each}", name, "ms", values, ours=name == OURS))
            curves.setdefault(f"{name}, {each}", []).append((rate, percentile(together, share)))
            if name == OURS and (bound := BOUNDS.get((rate, each))):
                report.target(f"{rate} events/s, {each} in ms", percentile(together, share), bound, limit=True)
    report.table("From commit to visible in the log, by rounds", figures)
    report.curve("From commit to visible in the log", ("events/s", "ms"), curves, f"{OURS}, p50")


def tell_idle(report: Report, side: Side, given: argparse.Namespace) -> None:
    """What a worker uses when nothing happens, and how long the first event takes afterwards."""
    visible.first(side, SETTLED)
    used = Figure("an idle worker", "idle", "% of a core", ours=True)
    waited = Figure(f"the first event after {given.idle:g} s", "first", "ms", ours=True)
    for number in range(given.rounds):
        share, latency = visible.first(side, given.idle)
        used.values.append(share)
        waited.values.append(latency)
        report.progress(f"round {number + 1}/{given.rounds}, idle: {share:.2f} % of a core, then {latency:,.1f} ms")
    report.table("What a worker uses when the queue is empty", [used])
    report.table("When the queue was empty", [waited])
    report.target("first event after nothing, slowest in ms", max(waited.values), 250, limit=True)
    report.target("idle worker, % of a core", used.median, 2, limit=True)


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the quantile of the values."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else math.nan
