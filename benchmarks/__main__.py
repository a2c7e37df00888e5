"""The command line of the benchmarks: ``python -m benchmarks [NAME] [options]``."""

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Protocol, cast

from rich.console import Console

from benchmarks import options
from benchmarks.report import Report
from benchmarks.server import Bench, server

NAMES: Final = (
    "record", "drain", "sustained", "latency", "footprint", "horizon", "backlog", "partitions", "stats", "soak",
)  # fmt: skip
# ``soak`` runs for the time that is given; it has to be named.
LONG: Final = frozenset({"soak"})


# In a file there is no terminal whose width would matter.
WIDE: Final = 130


class Benchmark(Protocol):
    """A module of a name above."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds what this benchmark alone is asked for."""

    def run(self, bench: Bench, report: Report, options: argparse.Namespace) -> None:
        """Measures, and tells the report."""


def load(name: str) -> Benchmark:
    """The benchmark of that name."""
    return cast("Benchmark", import_module(f"benchmarks.{name}"))


def asked(arguments: list[str]) -> list[tuple[Benchmark, argparse.Namespace]]:
    """The benchmarks to run, each with its options: the one that is named first, or else all but the long ones."""
    available = [name for name in NAMES if find_spec(f"benchmarks.{name}")]
    if arguments and arguments[0] in available:
        return [configured(arguments[0], arguments[1:])]
    if not arguments or arguments[0].startswith("-"):
        description = f"All but {', '.join(sorted(LONG))}; or name one of {', '.join(available)}."
        options.parser("", description).parse_args(arguments)
        return [configured(name, arguments) for name in available if name not in LONG]
    raise SystemExit(f"no benchmark {arguments[0]!r}: there are {', '.join(available)}")


def configured(name: str, arguments: list[str]) -> tuple[Benchmark, argparse.Namespace]:
    """A benchmark with its options."""
    benchmark = load(name)
    parser = options.parser(name, (benchmark.__doc__ or name).partition("\n")[0])
    benchmark.add_arguments(parser)
    return benchmark, parser.parse_args(arguments)


def main() -> None:
    """Runs the benchmarks on the server that PGAUDIT_DSN names, or on an embedded one."""
    benchmarks = asked(sys.argv[1:])
    given = benchmarks[0][1]
    with server() as bench:
        report = Report(Console(width=None if sys.stdout.isatty() else WIDE), bench)
        for benchmark, its_options in benchmarks:
            benchmark.run(bench, report, its_options)
        report.finish(given.json, given.plot)


if __name__ == "__main__":
    main()
