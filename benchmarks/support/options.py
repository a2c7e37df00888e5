"""The options that every benchmark has, and how lists in options are parsed."""

import argparse
from collections.abc import Iterable
from pathlib import Path


def numbers(text: str) -> list[int]:
    """Parses a list of numbers such as "1,4,16"."""
    return [int(part.replace("_", "")) for part in text.split(",")]


def names(text: str) -> frozenset[str]:
    """Parses a list of names such as "stock,pgqueuer"."""
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def parser(benchmark: str, description: str) -> argparse.ArgumentParser:
    """Returns a parser with the options that all benchmarks share."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks {benchmark}".rstrip(),
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--peers", type=names, default=frozenset(), help="compare with these only, such as stock,copy")
    made.add_argument("--seconds", type=float, default=3.0, help="duration of each timed run (%(default)g)")
    made.add_argument("--rounds", type=int, default=5, help="measurements of each quantity, by turns (%(default)d)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all measurements to this file")
    made.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw them, with their data in FILE.json")
    return made


def chosen(options: argparse.Namespace, known: Iterable[str]) -> list[str]:
    """Returns the known peers that ``--peers`` selects, in their order; all of them without ``--peers``."""
    return [name for name in known if not options.peers or name in options.peers]
