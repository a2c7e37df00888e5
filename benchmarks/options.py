"""What every benchmark is asked for, and how a list is read."""

import argparse
from collections.abc import Iterable
from pathlib import Path


def numbers(text: str) -> list[int]:
    """Takes "1,4,16" for the numbers that it lists."""
    return [int(part.replace("_", "")) for part in text.split(",")]


def names(text: str) -> frozenset[str]:
    """Takes "stock,pgqueuer" for the names that it lists."""
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def parser(benchmark: str, description: str) -> argparse.ArgumentParser:
    """A parser that knows the options which all benchmarks share."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks {benchmark}".rstrip(), description=description)
    made.add_argument("--peers", type=names, default=frozenset(), help="compares with these alone, such as stock,copy")
    made.add_argument("--seconds", type=float, default=3.0, help="how long each timed run takes (%(default)g)")
    made.add_argument("--rounds", type=int, default=5, help="how often each figure is taken, by turns (%(default)d)")
    made.add_argument("--json", type=Path, metavar="FILE", help="writes the figures to a file, too")
    made.add_argument("--plot", type=Path, metavar="FILE.svg", help="draws them, too")
    return made


def chosen(options: argparse.Namespace, known: Iterable[str]) -> list[str]:
    """Those of the known peers that are asked for, in their order; all, when none is."""
    return [name for name in known if not options.peers or name in options.peers]
