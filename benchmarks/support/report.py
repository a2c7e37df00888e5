"""Measurements, and how they are reported: progress, tables, curves and targets; JSON and a plot on request."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.support.server import Bench, describe_machine

ROWS: Final = 20  # of a curve on the screen; all of them are in the JSON and the plot
Curves = dict[str, list[tuple[float, float]]]


@dataclass(slots=True)
class Measurement:
    """One quantity, measured once in each round. ``short`` heads the column of multiples of it."""

    name: str
    short: str
    unit: str
    values: list[float] = field(default_factory=list)
    ours: bool = field(default=False, kw_only=True)

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """Half the distance between the lowest and the highest value, as a share of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median if self.median else 0.0


def ratio(measurement: Measurement, other: Measurement) -> float:
    """Returns the median of the rounds' own ratios: the two values of a round were measured in the same minutes."""
    pairs = zip(measurement.values, other.values, strict=True)
    return median(mine / its if its else float("nan") for mine, its in pairs)


@dataclass(frozen=True, slots=True)
class Target:
    """What a quantity should reach: at least the bound or, with ``limit``, at most."""

    name: str
    value: float
    bound: float
    limit: bool = False

    @property
    def reached(self) -> bool:
        """Whether the target is reached."""
        return self.value <= self.bound if self.limit else self.value >= self.bound


class Report:
    """Everything that was measured, and the machine that it was measured on."""

    def __init__(self, console: Console, bench: Bench) -> None:
        self._console = console
        self.environment: dict[str, Any] = describe_machine() | {"settings": bench.settings()}
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
        """Prints a line while a benchmark runs."""
        self._console.print(f"  [dim]{text}[/]", highlight=False)

    def table(
        self, title: str, measurements: Sequence[Measurement], *others: Measurement, plotted: bool = True
    ) -> None:
        """Prints measurements of one unit, each also as a multiple of ``others``.

        A table that repeats what a curve shows is not ``plotted``.
        """
        shown = new_table(title, measurements[0].unit, "spread", *(f"of {other.short}" for other in others))
        for measurement in measurements:
            digits = 0 if measurement.median >= 100 else 2  # noqa: PLR2004 - three digits are enough
            ratios = [f"{ratio(measurement, other):.2f}" for other in others]
            name = f"[bold]{measurement.name}[/]" if measurement.ours else measurement.name
            shown.add_row(name, f"{measurement.median:,.{digits}f}", f"±{measurement.spread:.0%}", *ratios)
        self._console.print(shown)
        details = [in_full(measurement, others) for measurement in measurements]
        self.tables.append({"title": title, "plotted": plotted, "measurements": details})

    def curve(self, title: str, labels: tuple[str, str], curves: Curves, ours: str = "") -> None:
        """Prints how quantities depend on another: ``labels`` of x and y; ``ours`` is the name of pgaudit's curve."""
        shown = new_table(f"{title} ({labels[1]})", *curves, first=labels[0])
        values = {name: dict(points) for name, points in curves.items()}
        for x in choose_rows(sorted({x for points in values.values() for x in points})):
            shown.add_row(short(x), *(short(points[x]) if x in points else "–" for points in values.values()))
        self._console.print(shown)
        self.curves.append({"title": title, "labels": labels, "ours": ours, "curves": curves})

    def target(self, name: str, value: float, bound: float, *, limit: bool = False) -> None:
        """Adds a target: at least the bound or, with ``limit``, at most."""
        self.targets.append(Target(name, value, bound, limit))

    def finish(self, json_file: Path | None = None, plot_file: Path | None = None) -> None:
        """Prints the targets, and writes the files that were requested."""
        if self.targets:
            shown = new_table("Targets", "measured", "target", "")
            for target in self.targets:
                verdict = "[green]reached[/]" if target.reached else "[red]missed[/]"
                bound = f"{'≤' if target.limit else '≥'} {target.bound:,g}"
                shown.add_row(target.name, f"{target.value:,.2f}", bound, verdict)
            self._console.print(shown)
        content = self.content()
        if json_file:
            json_file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if plot_file:
            from benchmarks.support import plot  # noqa: PLC0415 - matplotlib takes a second to import

            plot.write(content, plot_file)

    def content(self) -> dict[str, Any]:
        """Returns everything that was measured, as it is written to the JSON file."""
        targets = [asdict(target) | {"reached": target.reached} for target in self.targets]
        return self.environment | {"tables": self.tables, "curves": self.curves, "targets": targets}


def short(value: float) -> str:
    """Returns a number with four significant digits, or without decimals from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"  # noqa: PLR2004 - three digits are enough


def choose_rows(values: list[float]) -> list[float]:
    """Returns at most ROWS of the values, evenly spaced, including the last one."""
    step = -(-len(values) // ROWS) if values else 1
    return values[::-step][::-1]


def new_table(title: str, *headers: str, first: str = "") -> Table:
    """Returns an empty table."""
    made = Table(title=f"\n[bold]{title}[/]", title_justify="left", title_style="", box=None, padding=(0, 0, 0, 2))
    made.add_column(first, header_style="dim")
    for header in headers:
        made.add_column(header, justify="right", header_style="dim")
    return made


def in_full(measurement: Measurement, others: Sequence[Measurement]) -> dict[str, Any]:
    """Returns a measurement with its median, range and ratios."""
    return asdict(measurement) | {
        "median": measurement.median,
        "lowest": min(measurement.values),
        "highest": max(measurement.values),
        "spread": measurement.spread,
        "ratios": {other.short: ratio(measurement, other) for other in others},
    }
