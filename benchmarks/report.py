"""How the benchmarks speak: progress while they run, tables at the end of each, JSON and a plot on request."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.figures import Curves, Figure, Target, ratio
from benchmarks.server import Bench

ROWS: Final = 20  # of a curve on the screen; all of them are in the JSON and the plot


class Report:
    """What was measured so far, and on what."""

    def __init__(self, console: Console, bench: Bench) -> None:
        self._console = console
        self.environment: dict[str, Any] = machine.description() | {"settings": bench.settings()}
        self.tables: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []
        self.targets: list[Target] = []
        self._print_header()

    def _print_header(self) -> None:
        settings = self.environment["settings"]
        packages = " · ".join(f"{name} {number}" for name, number in self.environment["packages"].items())
        self._console.print(f"[bold]PostgreSQL {settings['server_version']}[/] · {packages}", highlight=False)
        self._console.print(f"Python {self.environment['python']} · {self.environment['machine']}", highlight=False)
        shown = " · ".join(f"{name} {value}" for name, value in settings.items() if name != "server_version")
        self._console.print(f"[dim]{shown}[/]", highlight=False)

    def progress(self, text: str) -> None:
        """Says what has just been measured."""
        self._console.print(f"  [dim]{text}[/]", highlight=False)

    def table(self, title: str, figures: Sequence[Figure], *others: Figure) -> None:
        """Shows figures, each also as a multiple of the others."""
        shown = columns(title, figures[0].unit, "spread", *(f"of {other.short}" for other in others))
        for figure in figures:
            digits = 0 if figure.median >= 100 else 2  # noqa: PLR2004 - three digits do
            ratios = [f"{ratio(figure, other):.2f}" for other in others]
            name = f"[bold]{figure.name}[/]" if figure.ours else figure.name
            shown.add_row(name, f"{figure.median:,.{digits}f}", f"±{figure.spread:.0%}", *ratios)
        self._console.print(shown)
        self.tables.append({"title": title, "figures": [in_full(figure, others) for figure in figures]})

    def curve(self, title: str, labels: tuple[str, str], curves: Curves, ours: str = "") -> None:
        """Shows how quantities depend on another: ``labels`` of x and y, ``ours`` names the curve in colour."""
        shown = columns(f"{title} ({labels[1]})", *curves, first=labels[0])
        values = {name: dict(points) for name, points in curves.items()}
        for x in some_of(sorted({x for points in values.values() for x in points})):
            shown.add_row(short(x), *(short(points[x]) if x in points else "–" for points in values.values()))
        self._console.print(shown)
        self.curves.append({"title": title, "labels": labels, "ours": ours, "curves": curves})

    def target(self, name: str, value: float, bound: float, *, limit: bool = False) -> None:
        """Notes what should be reached: at least the bound or, if ``limit``, at most."""
        self.targets.append(Target(name, value, bound, limit))

    def finish(self, json_file: Path | None = None, plot_file: Path | None = None) -> None:
        """Shows the targets, and writes what was asked for."""
        if self.targets:
            shown = columns("Targets", "measured", "target", "")
            for target in self.targets:
                verdict = "[green]reached[/]" if target.reached else "[red]missed[/]"
                bound = f"{'≤' if target.limit else '≥'} {target.bound:,g}"
                shown.add_row(target.name, f"{target.value:,.2f}", bound, verdict)
            self._console.print(shown)
        content = self.content()
        if json_file:
            json_file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if plot_file:
            from benchmarks import plot  # noqa: PLC0415 - matplotlib takes a second

            plot.draw(content, plot_file)

    def content(self) -> dict[str, Any]:
        """All that was measured, as the JSON file holds it."""
        targets = [asdict(target) | {"reached": target.reached} for target in self.targets]
        return self.environment | {"tables": self.tables, "curves": self.curves, "targets": targets}


def short(value: float) -> str:
    """A number with as many digits as say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"  # noqa: PLR2004 - three digits do


def some_of(values: list[float]) -> list[float]:
    """At most a screenful of them, evenly chosen, the last one included."""
    step = -(-len(values) // ROWS) if values else 1
    return values[::-step][::-1]


def columns(title: str, *headers: str, first: str = "") -> Table:
    """An empty table."""
    made = Table(title=f"\n[bold]{title}[/]", title_justify="left", title_style="", box=None, padding=(0, 0, 0, 2))
    made.add_column(first, header_style="dim")
    for header in headers:
        made.add_column(header, justify="right", header_style="dim")
    return made


def in_full(figure: Figure, others: Sequence[Figure]) -> dict[str, Any]:
    """A figure with what follows from it."""
    ratios = {other.short: ratio(figure, other) for other in others}
    return asdict(figure) | {"median": figure.median, "spread": figure.spread, "ratios": ratios}
