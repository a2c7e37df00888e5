"""The command line of the benchmarks."""

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks import api, drain, record
from benchmarks.report import Report
from benchmarks.server import server


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What recording and draining cost.")
    parser.add_argument("benchmark", nargs="?", choices=["record", "drain"], help="both, when left out")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each run of pgbench takes (3)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each figure is taken, by turns (5)")
    parser.add_argument("--connections", default="16", help="business transactions at a time, such as 1,4,16,64 (16)")
    parser.add_argument("--events", type=int, default=100_000, help="how many events are drained (100,000)")
    parser.add_argument("--stock-events", type=int, default=3_000, help="how many of them stock Procrastinate drains")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the figures to a file, too")
    return parser.parse_args()


def main() -> None:
    """Runs the benchmarks on the server that PGAUDIT_DSN names, or on an embedded one."""
    given = arguments()
    console = Console()
    with server() as bench:
        report = Report(console, bench)
        if given.benchmark != "drain":
            for connections in map(int, given.connections.split(",")):
                record.run(bench, report, connections, given.seconds, given.rounds)
            api.run(bench, report, given.rounds)
        if given.benchmark != "record":
            drain.run(bench, report, given.events, given.stock_events, given.rounds)
        report.finish(given.json)


if __name__ == "__main__":
    main()
