"""The command line of the benchmarks: ``python -m benchmarks [NAME] [options]``."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

from rich.console import Console

from benchmarks.support import options
from benchmarks.support.report import Report
from benchmarks.support.server import Bench, server

NAMES: Final = (
    "record", "crossover", "drain", "sustained", "latency", "footprint", "horizon", "backlog", "partitions", "stats",
    "search", "capture", "seal", "streams", "engines", "soak",
)  # fmt: skip
# ``soak`` runs for a given time, and only if it is named.
ONLY_IF_NAMED: Final = frozenset({"soak"})
# Columns of the tables where the output is not a terminal.
FILE_WIDTH: Final = 130


class Benchmark(Protocol):
    """A module of one of the names above."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the options of this benchmark."""

    def run(self, bench: Bench, report: Report, options: argparse.Namespace) -> None:
        """Measures and reports."""


def load(name: str) -> Benchmark:
    """Returns the benchmark of that name."""
    return cast("Benchmark", import_module(f"benchmarks.{name}"))


def select(arguments: list[str]) -> list[tuple[Benchmark, argparse.Namespace]]:
    """Returns the named benchmark, or else all that need not be named, each with its options.

    :raises SystemExit: there is no benchmark of that name.
    """
    if arguments and arguments[0] in NAMES:
        return [configure(arguments[0], arguments[1:])]
    if not arguments or arguments[0].startswith("-"):
        description = f"Runs all but {', '.join(sorted(ONLY_IF_NAMED))}. Or name one of {', '.join(NAMES)}, or plot."
        options.parser("", description).parse_args(arguments)
        return [configure(name, arguments) for name in NAMES if name not in ONLY_IF_NAMED]
    raise SystemExit(f"no benchmark {arguments[0]!r}: choose from {', '.join(NAMES)}, or plot")


def configure(name: str, arguments: list[str]) -> tuple[Benchmark, argparse.Namespace]:
    """Returns a benchmark with its options."""
    benchmark = load(name)
    parser = options.parser(name, benchmark.__doc__ or name)
    benchmark.add_arguments(parser)
    return benchmark, parser.parse_args(arguments)


def redraw(arguments: list[str]) -> None:
    """Draws the data of earlier plots again."""
    from benchmarks.support import plot  # noqa: PLC0415 - matplotlib takes a second to import

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks plot", description="Draws FILE.svg from the FILE.json that --plot wrote."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json", help="the data of a plot")
    for file in parser.parse_args(arguments).files:
        print(plot.redraw(file))


def main() -> None:
    """Runs the benchmarks on the server that PGAUDIT_DSN names, or on an embedded one."""
    if sys.argv[1:2] == ["plot"]:
        redraw(sys.argv[2:])
        return
    benchmarks = select(sys.argv[1:])
    files = benchmarks[0][1]
    with server() as bench:
        report = Report(Console(width=None if sys.stdout.isatty() else FILE_WIDTH), bench)
        for benchmark, its_options in benchmarks:
            benchmark.run(bench, report, its_options)
        report.finish(files.json, files.plot)


if __name__ == "__main__":
    main()
