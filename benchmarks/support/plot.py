"""Draws measurements as SVG: a bar for each measurement, a line for each curve, for light and dark pages.

The data of a plot are written beside it as JSON, so that ``python -m benchmarks plot`` can redraw it.
"""

import json
import re
from pathlib import Path
from textwrap import fill
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from benchmarks.support.charts import GRID, INK, MUTED, OTHERS, OURS, PAPER, PEER, WRAP, draw_bars, draw_lines

# A page shows a plot as narrow as 400 pixels: its text must be readable there.
WIDTH, ROW, LINES, MARGIN = 5.8, 0.5, 2.9, 0.9  # inches
# Each colour on a dark page.
DARK: Final = {
    INK: "#e6edf3", MUTED: "#9198a1", GRID: "#30363d", PAPER: "#0d1117", OURS: "#58a6ff", PEER: "#8b949e",
    OTHERS[0]: "#f0883e", OTHERS[1]: "#3fc9a7", OTHERS[2]: "#e39cc9",
}  # fmt: skip
# Text stays text, so that it can be searched and read aloud. The salt makes the ids of two runs the same.
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none", "svg.hashsalt": "pgaudit", "font.family": "sans-serif", "font.size": 11, "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "figure.facecolor": PAPER, "axes.facecolor": PAPER,
    "lines.markersize": 5,
}  # fmt: skip


def write(content: dict[str, Any], file: Path) -> None:
    """Writes the data of a report to the JSON file beside the plot, and draws them."""
    data = summarize(content)
    file.with_suffix(".json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draw(data, file)


def redraw(file: Path) -> Path:
    """Draws the data of a JSON file beside it, and returns the plot's path."""
    plot = file.with_suffix(".svg")
    draw(json.loads(file.read_text(encoding="utf-8")), plot)
    return plot


def summarize(content: dict[str, Any]) -> dict[str, Any]:
    """Returns what a plot needs of a report: medians and extremes instead of all values."""
    kept = ("name", "unit", "ours", "median", "lowest", "highest")
    tables = [
        table | {"measurements": [{key: each[key] for key in kept} for each in table["measurements"]]}
        for table in content["tables"]
    ]
    environment = {key: content[key] for key in ("packages", "machine", "settings")}
    return environment | {"tables": tables, "curves": content["curves"]}


def draw(data: dict[str, Any], file: Path) -> None:
    """Draws the plotted tables and the curves of a summary below each other."""
    tables, curves = [table for table in data["tables"] if table["plotted"]], data["curves"]
    heights = [MARGIN + ROW * len(table["measurements"]) for table in tables] + [LINES] * len(curves)
    if not heights:
        return
    with mpl.rc_context(STYLE):
        size = (WIDTH, sum(heights) + MARGIN / 2)
        figure, axes = plt.subplots(
            len(heights), squeeze=False, figsize=size, layout="constrained", height_ratios=heights
        )
        for place, table in zip(axes[:, 0], tables, strict=False):
            draw_bars(place, table["title"], table["measurements"])
        for place, curve in zip(axes[len(tables) :, 0], curves, strict=True):
            draw_lines(place, curve)
        figure.supxlabel(describe_origin(data), x=0.01, ha="left", fontsize=9, color=MUTED)
        figure.savefig(file, format="svg", metadata={"Date": None})
        plt.close(figure)
    file.write_text(adapt_colours(file.read_text(encoding="utf-8")), encoding="utf-8")


def describe_origin(data: dict[str, Any]) -> str:
    """Returns the versions and the machine of the measurements."""
    packages = ", ".join(f"{name} {number}" for name, number in data["packages"].items())
    return fill(f"PostgreSQL {data['settings']['server_version']}, {packages}; {data['machine']}", WRAP + 12)


def adapt_colours(svg: str) -> str:
    """Replaces the colours by CSS variables, which differ on a dark page, and removes trailing spaces."""
    light = "".join(f"--c{number}: {colour};" for number, colour in enumerate(DARK))
    dark = "".join(f"--c{number}: {colour};" for number, colour in enumerate(DARK.values()))
    for number, colour in enumerate(DARK):
        svg = svg.replace(colour, f"var(--c{number})")
    rules = f":root {{{light}}} @media (prefers-color-scheme: dark) {{:root {{{dark}}}}}"
    return re.sub(r"[ \t]+$", "", svg.replace("<defs>", f"<style>{rules}</style>\n <defs>", 1), flags=re.MULTILINE)
