"""How long does an event take from commit to visible in the log, and what does an idle worker cost?

Variants: pgaudit and stock Procrastinate, each with one worker, at several rates; the first event after a pause.
Measured: ms from the commit to when another session can SELECT the event (p50, p99, p99.9); percent of a core.
Duration: about 4 minutes.

Each round runs every rate once, for ``--seconds``, at random moments. p99.9 of fewer than 1,000 events is the slowest
one. An event that meets an idle worker waits for its next poll: half of PGAUDIT_POLL_INTERVAL on average. The peer's
rates are lower, because a peer that falls behind has to be waited for: stock Procrastinate drains 200 events a second.
"""

import argparse
import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from benchmarks.support import latency_probe, options
from benchmarks.support.latency_probe import OURS, STOCK, Probe
from benchmarks.support.report import Curves, Measurement, Report
from benchmarks.support.server import Bench

SHARES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
# Targets in milliseconds, by rate and percentile.
BOUNDS: Final = {(100, "p50"): 10.0, (100, "p99"): 25.0}
SETTLE_SECONDS: Final = 2.0

Case = tuple[str, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--rates", type=options.numbers, default=[10, 100, 1_000], help="events a second (10,100,1000)")
    parser.add_argument(
        "--peer-rates", type=options.numbers, default=[10, 100], help="events a second for the peers (10,100)"
    )
    parser.add_argument("--idle", type=float, default=10.0, help="idle seconds before the first event of a round (10)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Measures all rates by turns, then the first event after a pause."""
    with ExitStack() as stack:
        probes = {name: stack.enter_context(latency_probe.start(bench, name)) for name in compared(options)}
        report_rates(report, measure_rates(report, probes, options))
        report_idle(report, probes[OURS], options)


def compared(given: argparse.Namespace) -> list[str]:
    """Returns pgaudit and the selected peer."""
    return [OURS, *options.chosen(given, [STOCK])]


def measure_rates(report: Report, probes: dict[str, Probe], given: argparse.Namespace) -> dict[Case, list[list[float]]]:
    """Returns the latencies of each round, for each contender and rate."""
    rates = {OURS: given.rates, STOCK: given.peer_rates}
    taken: dict[Case, list[list[float]]] = {(name, rate): [] for name in probes for rate in rates[name]}
    for number in range(given.rounds):
        for (name, rate), rounds in taken.items():
            rounds.append(latency_probe.latencies(probes[name], rate, given.seconds))
            shown = ", ".join(f"{each} {percentile(rounds[-1], share):,.1f} ms" for each, share in SHARES.items())
            reached = len(rounds[-1]) / given.seconds
            report.progress(f"round {number + 1}/{given.rounds}, {name}, {reached:,.0f} events/s: {shown}")
    return taken


def report_rates(report: Report, taken: dict[Case, list[list[float]]]) -> None:
    """Reports the percentiles of each round as a table; those of all rounds as curves and against the targets."""
    measured: list[Measurement] = []
    curves: Curves = {}
    for (name, rate), rounds in taken.items():
        together = [latency for each in rounds for latency in each]
        for each, share in SHARES.items():
            values = [percentile(latencies, share) for latencies in rounds]
            measured.append(Measurement(f"{name}, {rate:,} events/s, {each}", name, "ms", values, ours=name == OURS))
            curves.setdefault(f"{name}, {each}", []).append((rate, percentile(together, share)))
            if name == OURS and (bound := BOUNDS.get((rate, each))):
                report.target(f"{rate} events/s, {each} in ms", percentile(together, share), bound, limit=True)
    report.table("From commit to visible in the log, by rounds", measured, plotted=False)
    report.curve("From commit to visible in the log", ("events/s", "ms"), curves, f"{OURS}, p50")


def report_idle(report: Report, probe: Probe, given: argparse.Namespace) -> None:
    """Measures and reports the processor time of an idle worker, and the latency of the next event."""
    latency_probe.first_event(probe, SETTLE_SECONDS)
    used = Measurement("an idle worker", "idle", "% of a core", ours=True)
    waited = Measurement(f"the first event after {given.idle:g} s", "first", "ms", ours=True)
    for number in range(given.rounds):
        share, latency = latency_probe.first_event(probe, given.idle)
        used.values.append(share)
        waited.values.append(latency)
        report.progress(f"round {number + 1}/{given.rounds}, idle: {share:.2f} % of a core, then {latency:,.1f} ms")
    report.table("Processor time while the queue is empty", [used])
    report.table("First event after a pause", [waited])
    report.target("first event after a pause, slowest in ms", max(waited.values), 250, limit=True)
    report.target("idle worker, % of a core", used.median, 2, limit=True)


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the lowest value that at least that share of the values does not exceed; NaN without values."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else math.nan
