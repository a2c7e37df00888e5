"""How the benchmarks speak: progress while they run, tables at the end of each, JSON for programs."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Target, ratio
from benchmarks.server import Bench
from pgaudit import __version__


class Report:
    """What was measured so far, and on what."""

    def __init__(self, console: Console, bench: Bench) -> None:
        self._console = console
        self.environment: dict[str, Any] = {
            "python": platform.python_version(),
            "machine": f"{cpu_count()} cores, {platform.system()} {platform.machine()}",
            "packages": {"pgaudit": __version__} | {name: version(name) for name in ("procrastinate", "psycopg")},
            "settings": bench.settings(),
        }
        self.tables: list[dict[str, Any]] = []
        self.targets: list[Target] = []
        self._print_header()

    def _print_header(self) -> None:
        packages = " · ".join(f"{name} {number}" for name, number in self.environment["packages"].items())
        settings = self.environment["settings"]
        self._console.print(f"[bold]PostgreSQL {settings['server_version']}[/] · {packages}", highlight=False)
        self._console.print(f"Python {self.environment['python']} · {self.environment['machine']}", highlight=False)
        shown = " · ".join(f"{name} {value}" for name, value in settings.items() if name != "server_version")
        self._console.print(f"[dim]{shown}[/]", highlight=False)

    def progress(self, text: str) -> None:
        """Says what has just been measured."""
        self._console.print(f"  [dim]{text}[/]", highlight=False)

    def table(self, title: str, figures: Sequence[Figure], *others: Figure) -> None:
        """Shows figures, each also as a multiple of the others."""
        shown = Table(title=f"\n[bold]{title}[/]", title_justify="left", title_style="", box=None, padding=(0, 0, 0, 2))
        shown.add_column("")
        for name in (figures[0].unit, "spread", *(f"of {other.short}" for other in others)):
            shown.add_column(name, justify="right", header_style="dim")
        for figure in figures:
            digits = 0 if figure.median >= 100 else 2  # noqa: PLR2004 - three digits say enough
            ratios = [f"{ratio(figure, other):.2f}" for other in others]
            shown.add_row(figure.name, f"{figure.median:,.{digits}f}", f"±{figure.spread:.0%}", *ratios)
        self._console.print(shown)
        self.tables.append(
            {
                "title": title,
                "figures": [
                    asdict(figure)
                    | {"median": figure.median, "ratios": {other.short: ratio(figure, other) for other in others}}
                    for figure in figures
                ],
            }
        )

    def target(self, name: str, value: float, bound: float, *, limit: bool = False) -> None:
        """Notes what should be reached: at least the bound or, if ``limit``, at most."""
        self.targets.append(Target(name, value, bound, limit))

    def finish(self, path: Path | None) -> None:
        """Shows the targets, and writes the JSON."""
        shown = Table(title="\n[bold]Targets[/]", title_justify="left", title_style="", box=None, padding=(0, 0, 0, 2))
        for name in ("", "measured", "target", ""):
            shown.add_column(name, justify="right" if name else "left", header_style="dim")
        for target in self.targets:
            verdict = "[green]reached[/]" if target.reached else "[red]missed[/]"
            bound = f"{'≤' if target.limit else '≥'} {target.bound:g}"
            shown.add_row(target.name, f"{target.value:.2f}", bound, verdict)
        self._console.print(shown)
        if path:
            content = self.environment | {"tables": self.tables, "targets": [asdict(target) for target in self.targets]}
            path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
