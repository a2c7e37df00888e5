"""From how large a log on an INSERT into it costs the business transaction more than recording does."""

import argparse
from typing import Final

from benchmarks import filled, peers, store
from benchmarks.figures import Curves, Figure, ratio
from benchmarks.report import Report
from benchmarks.server import Bench
from benchmarks.variants import BARE, DIRECT, NAMES, PGAUDIT, measure

VARIANTS: Final = (BARE, DIRECT, PGAUDIT)
FILLED: Final = "pgaudit_benchmark_filled"


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Fills one log in steps and measures after each, on that very database: copying it would take longer."""
    peers.create_business(bench, FILLED)
    connections = 16
    curves: Curves = {NAMES[each]: [] for each in VARIANTS}
    for rows in sorted(options.log_rows):
        filled.fill(bench, FILLED, store.PLAIN_LOG, rows, report.progress)
        figures = {each: Figure(NAMES[each], each, "tx/s", ours=each == PGAUDIT) for each in VARIANTS}
        for number in range(options.rounds):
            for each, figure in figures.items():
                filled.settle(bench, FILLED)
                figure.values.append(measure(bench, FILLED, each, connections, options.seconds).tps)
            shown = ", ".join(f"{each} {figure.values[-1]:,.0f}" for each, figure in figures.items())
            report.progress(f"round {number + 1}/{options.rounds}, {rows:,} rows in the log: {shown} tx/s")
        title = f"One UPDATE, {connections} connections, {rows:,} rows in the log"
        report.table(title, list(figures.values()), figures[BARE], figures[DIRECT])
        report.target(
            f"record beside {rows:,} rows, times an INSERT into them", ratio(figures[PGAUDIT], figures[DIRECT]), 1
        )
        for each, figure in figures.items():
            curves[NAMES[each]].append((rows, figure.median))
    report.curve("Transactions by the size of the log", ("rows in the log", "tx/s"), curves, NAMES[PGAUDIT])
    bench.drop(FILLED)
