"""From what size of the log on does an INSERT into it cost the business transaction more than recording an event?

Variants: no event, a direct INSERT into a plain log, ``pgaudit.record``; 16 connections of pgbench.
Measured: transactions a second beside a plain log of each size in ``--log-rows``.
Duration: about 4 minutes; ten million rows take 8 GB and 20 minutes.
"""

import argparse
from typing import Final

from benchmarks.support import databases, plain_log
from benchmarks.support.options import numbers
from benchmarks.support.report import Curves, Measurement, Report, ratio
from benchmarks.support.server import Bench
from benchmarks.support.transactions import BARE, DIRECT, NAMES, PGAUDIT, measure

VARIANTS: Final = (BARE, DIRECT, PGAUDIT)
DATABASE: Final = "pgaudit_benchmark_filled"
CONNECTIONS: Final = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--log-rows", type=numbers, default=[0, 1_000_000], help="sizes of the log (0,1_000_000)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Fills one log in steps, and measures after each; a copy of the database would take longer than filling it."""
    databases.create_business(bench, DATABASE)
    curves: Curves = {NAMES[each]: [] for each in VARIANTS}
    for rows in sorted(options.log_rows):
        plain_log.fill(bench, DATABASE, plain_log.PLAIN_LOG, rows, report.progress)
        for each, measurement in compare(bench, report, options, rows).items():
            curves[NAMES[each]].append((rows, measurement.median))
    report.curve("Transactions by the size of the log", ("rows in the log", "tx/s"), curves, NAMES[PGAUDIT])
    bench.drop(DATABASE)


def compare(bench: Bench, report: Report, options: argparse.Namespace, rows: int) -> dict[str, Measurement]:
    """Measures all variants by turns beside that many rows, and reports them."""
    measured = {each: Measurement(NAMES[each], each, "tx/s", ours=each == PGAUDIT) for each in VARIANTS}
    for number in range(options.rounds):
        for each, measurement in measured.items():
            plain_log.vacuum_and_checkpoint(bench, DATABASE)
            measurement.values.append(measure(bench, DATABASE, each, CONNECTIONS, options.seconds).tps)
        shown = ", ".join(f"{each} {measurement.values[-1]:,.0f}" for each, measurement in measured.items())
        report.progress(f"round {number + 1}/{options.rounds}, {rows:,} rows in the log: {shown} tx/s")
    title = f"One UPDATE, {CONNECTIONS} connections, {rows:,} rows in the log"
    report.table(title, list(measured.values()), measured[BARE], measured[DIRECT], plotted=False)
    name = f"record beside {rows:,} rows, times an INSERT into them"
    report.target(name, ratio(measured[PGAUDIT], measured[DIRECT]), 1)
    return measured
