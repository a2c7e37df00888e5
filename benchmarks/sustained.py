"""The highest rate of events that one worker sustains beside the writers, on the same processors.

Writers are pgbench on ``--connections``; each transaction updates one row and records one event. One worker process
moves the events into the log meanwhile. The lag of an event is persisted_at - recorded_at, by the server's clock. A
rate holds if, over ``--seconds`` after two seconds of warming up, no event has a lag of a second or more, and every
event is in the log at the end. Units: events/s that the writers committed, which is less than the offered rate where
they could not reach it; milliseconds for the lag.

Each step has a fresh database. The first one runs flat out: the rate at which the writers commit and half the rate at
which the worker drains meanwhile are the bounds of the search. It tries their geometric mean, which replaces one of
them, up to ``--steps`` times. A step ends as soon as its lag is too long. The figure is the highest rate that held, 0
if none did; a rate that holds flat out is all that the writers can commit. A direct INSERT into a plain table with the
columns and indexes of the log has no worker: its figure is the rate that the writers reach flat out.
"""

import argparse
import math
from typing import Final

from benchmarks import options, peers
from benchmarks.contenders import Contender, pgaudit, pgqueuer, stock
from benchmarks.figures import Figure, ratio
from benchmarks.rates import Outcome, Trial, attempt
from benchmarks.report import Report
from benchmarks.server import RUN, Bench
from benchmarks.variants import DIRECT, PGAUDIT, PGQUEUER, STOCK

NAMES: Final = {
    DIRECT: "INSERT into a plain log, no worker",
    PGAUDIT: "pgaudit.record and a worker",
    STOCK: "stock Procrastinate",
    PGQUEUER: "PgQueuer",
}
NOTHING: Final = Outcome(0.0, 0.0, 0.0, 0.0, held=False)
# The search ends when the bounds are this close.
CLOSE: Final = 1.03


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How many writers there are, and how finely a rate is searched for."""
    parser.add_argument("--connections", type=int, default=16, help="of the writers (16)")
    parser.add_argument("--steps", type=int, default=5, help="rates tried after the one flat out (5)")
    parser.set_defaults(seconds=10.0, rounds=3)


def run(bench: Bench, report: Report, given: argparse.Namespace) -> None:
    """Searches by turns, one search for each way in each round."""
    peers.create_business(bench)
    asked = {PGAUDIT, *options.chosen(given, NAMES)}
    ways = [each for each in NAMES if each in asked]
    trials = {each: Trial(bench, each, worker_of(bench, each), given.connections, given.seconds) for each in ways}
    highest = {each: Figure(NAMES[each], each, "events/s", ours=each == PGAUDIT) for each in ways}
    medians = {each: Figure(NAMES[each], each, "ms", ours=each == PGAUDIT) for each in ways if each != DIRECT}
    slowest = {each: Figure(NAMES[each], each, "ms", ours=each == PGAUDIT) for each in medians}
    for number in range(given.rounds):
        for each in ways:
            found = search(report, trials[each], given.steps)
            highest[each].values.append(found.recorded)
            if each != DIRECT:
                medians[each].values.append(found.median)
                slowest[each].values.append(found.slowest)
        shown = ", ".join(f"{each} {figure.values[-1]:,.0f}" for each, figure in highest.items())
        report.progress(f"round {number + 1}/{given.rounds}: {shown} events/s")
    limits = [highest[DIRECT]] if DIRECT in highest else []
    title = f"Highest sustained rate, {given.connections} connections"
    report.table(title, list(highest.values()), *limits)
    report.table("Lag at that rate, median event", list(medians.values()))
    report.table("Lag at that rate, slowest event", list(slowest.values()))
    if limits:
        report.target("sustained rate, of a direct INSERT", ratio(highest[PGAUDIT], highest[DIRECT]), 0.7)
    bench.drop(RUN, peers.BUSINESS)


def search(report: Report, trial: Trial, steps: int) -> Outcome:
    """The outcome of the highest rate that held; its rates are 0 if none did."""
    first = told(report, trial)
    if trial.worker is None or first.held:
        return first
    best, low, high = NOTHING, max(first.logged / 2, 1.0), first.recorded
    for _ in range(steps):
        if high / low < CLOSE:
            break
        middle = math.sqrt(low * high)
        outcome = told(report, trial, middle)
        if outcome.held:
            best, low = outcome, middle
        else:
            high = middle
    return best


def told(report: Report, trial: Trial, rate: float | None = None) -> Outcome:
    """One attempt, which is reported."""
    outcome = attempt(trial, rate)
    offered = f"{rate:,.0f} events/s offered" if rate else "flat out"
    rates = f"{outcome.recorded:,.0f} recorded, {outcome.logged:,.0f} logged"
    verdict = f"held, slowest event {outcome.slowest:,.0f} ms" if outcome.held else "did not hold"
    report.progress(f"{trial.way}, {offered}: {rates}, {verdict}")
    return outcome


def worker_of(bench: Bench, way: str) -> Contender | None:
    """The worker of a way, if it has one, with the settings with which the peers drain fastest."""
    workers = {PGAUDIT: pgaudit(), STOCK: stock(bench, 10), PGQUEUER: pgqueuer(bench, 10)}
    return workers.get(way)
