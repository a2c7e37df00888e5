"""What is the highest rate of events at which one worker keeps up with the writers beside it?

Variants: ``pgaudit.record``, stock Procrastinate and PgQueuer, each with one worker; a direct INSERT into a plain log,
which needs no worker.
Measured: events a second that the writers committed, and the lag (persisted_at - recorded_at) in ms at that rate.
Duration: about 15 minutes.

The writers are pgbench on ``--connections``; each transaction updates one row and records one event. A rate holds if,
over ``--seconds`` after two seconds of warming up, no event has a lag of a second or more, and every event is in the
log at the end. Each step has a fresh database. The first one runs flat out: the writers' rate and half the worker's
rate are the bounds of the search. Each further step, at most ``--steps``, tries their geometric mean, which then
replaces one of them. The result is the highest rate that held, or 0; a rate that holds flat out is all that the writers
can commit.
"""

import argparse
import math
from typing import Final

from benchmarks.support import databases, options
from benchmarks.support.contenders import Contender, pgaudit, pgqueuer, stock
from benchmarks.support.report import Measurement, Report, ratio
from benchmarks.support.server import RUN, Bench
from benchmarks.support.transactions import DIRECT, PGAUDIT, PGQUEUER, STOCK
from benchmarks.support.trial import Outcome, Trial, attempt

NAMES: Final = {
    DIRECT: "INSERT into a plain log, no worker",
    PGAUDIT: "pgaudit.record and a worker",
    STOCK: "stock Procrastinate",
    PGQUEUER: "PgQueuer",
}
NONE_HELD: Final = Outcome(0.0, 0.0, 0.0, 0.0, held=False)
# The search ends when the ratio of the bounds is below this.
CLOSE: Final = 1.03


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--connections", type=int, default=16, help="connections of the writers (16)")
    parser.add_argument("--steps", type=int, default=5, help="rates that are tried after the run flat out (5)")
    parser.set_defaults(seconds=10.0, rounds=3)


def run(bench: Bench, report: Report, given: argparse.Namespace) -> None:
    """Searches by turns, one search for each variant in each round."""
    databases.create_business(bench)
    asked = {PGAUDIT, *options.chosen(given, NAMES)}
    variants = [each for each in NAMES if each in asked]
    trials = {each: Trial(bench, each, worker_for(bench, each), given.connections, given.seconds) for each in variants}
    highest = {each: Measurement(NAMES[each], each, "events/s", ours=each == PGAUDIT) for each in variants}
    medians = {each: Measurement(NAMES[each], each, "ms", ours=each == PGAUDIT) for each in variants if each != DIRECT}
    slowest = {each: Measurement(NAMES[each], each, "ms", ours=each == PGAUDIT) for each in medians}
    for number in range(given.rounds):
        for each in variants:
            found = search(report, trials[each], given.steps)
            highest[each].values.append(found.recorded)
            if each != DIRECT:
                medians[each].values.append(found.median)
                slowest[each].values.append(found.slowest)
        shown = ", ".join(f"{each} {measurement.values[-1]:,.0f}" for each, measurement in highest.items())
        report.progress(f"round {number + 1}/{given.rounds}: {shown} events/s")
    limits = [highest[DIRECT]] if DIRECT in highest else []
    title = f"Highest sustained rate, {given.connections} connections"
    report.table(title, list(highest.values()), *limits)
    report.table("Lag at that rate, median event", list(medians.values()))
    report.table("Lag at that rate, slowest event", list(slowest.values()))
    if limits:
        report.target("sustained rate, of a direct INSERT", ratio(highest[PGAUDIT], highest[DIRECT]), 0.7)
    bench.drop(RUN, databases.BUSINESS)


def search(report: Report, trial: Trial, steps: int) -> Outcome:
    """Returns the outcome of the highest rate that held; its rates are 0 if none did."""
    first = try_rate(report, trial)
    if trial.worker is None or first.held:
        return first
    best, low, high = NONE_HELD, max(first.logged / 2, 1.0), first.recorded
    for _ in range(steps):
        if high / low < CLOSE:
            break
        middle = math.sqrt(low * high)
        outcome = try_rate(report, trial, middle)
        if outcome.held:
            best, low = outcome, middle
        else:
            high = middle
    return best


def try_rate(report: Report, trial: Trial, rate: float | None = None) -> Outcome:
    """Tries a rate, and reports the outcome."""
    outcome = attempt(trial, rate)
    offered = f"{rate:,.0f} events/s offered" if rate else "flat out"
    rates = f"{outcome.recorded:,.0f} recorded, {outcome.logged:,.0f} logged"
    verdict = f"held, slowest event {outcome.slowest:,.0f} ms" if outcome.held else "did not hold"
    report.progress(f"{trial.variant}, {offered}: {rates}, {verdict}")
    return outcome


def worker_for(bench: Bench, variant: str) -> Contender | None:
    """Returns the worker of a variant, if it has one; the peers' settings are those with which they drain fastest."""
    workers = {PGAUDIT: pgaudit(), STOCK: stock(bench, 10), PGQUEUER: pgqueuer(bench, 10)}
    return workers.get(variant)
