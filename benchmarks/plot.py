"""The figures as a picture: bars for tables, lines for curves."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS: Final = "#1f6feb"
PEER: Final = "#b5bac1"
INK: Final = "#24292f"
SHADES: Final = ("#6e7781", "#9aa1a9", "#4d545c", "#b5bac1", "#3b4148")
WIDTH: Final = 9.0
BAR, MARGIN, LINES = 0.34, 0.95, 3.6  # inches
# Text stays text: it can be searched, and read aloud.
STYLE: Final[dict[Any, Any]] = {"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "text.color": INK}


def draw(content: dict[str, Any], file: Path) -> None:
    """Draws what a report has measured."""
    tables, curves = content["tables"], content["curves"]
    heights = [MARGIN + BAR * len(table["figures"]) for table in tables] + [LINES] * len(curves)
    if not heights:
        return
    with mpl.rc_context(STYLE):
        size = (WIDTH, sum(heights) + MARGIN)
        figure, axes = plt.subplots(
            len(heights), squeeze=False, figsize=size, facecolor="white", layout="constrained", height_ratios=heights
        )
        for place, table in zip(axes[:, 0], tables, strict=False):
            bars(place, table)
        for place, curve in zip(axes[len(tables) :, 0], curves, strict=True):
            lines(place, curve)
        figure.suptitle(origin(content), x=0.01, ha="left", fontsize=8, color=SHADES[0])
        figure.savefig(file, format="svg", metadata={"Date": None})
        plt.close(figure)


def origin(content: dict[str, Any]) -> str:
    """What it was measured on."""
    packages = " · ".join(f"{name} {number}" for name, number in content["packages"].items())
    return f"PostgreSQL {content['settings']['server_version']} · {packages}\n{content['machine']}"


def bars(axes: "Axes", table: dict[str, Any]) -> None:
    """A bar for each figure, with its lowest and highest value."""
    figures = table["figures"]
    places = range(len(figures))
    medians = [each["median"] for each in figures]
    below = [each["median"] - min(each["values"]) for each in figures]
    above = [max(each["values"]) - each["median"] for each in figures]
    colours = [OURS if each["ours"] else PEER for each in figures]
    axes.barh(places, medians, xerr=[below, above], color=colours, ecolor=INK, height=0.7, error_kw={"lw": 0.8})
    for place, each in zip(places, figures, strict=True):
        text = f"{each['median']:,.{0 if each['median'] >= 100 else 2}f}"  # noqa: PLR2004 - a million - as in the table
        axes.annotate(text, (max(each["values"]), place), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, [each["name"] for each in figures])
    axes.set_xlim(0, max((max(each["values"]) for each in figures), default=1) * 1.14 or 1)
    axes.invert_yaxis()
    framed(axes, table["title"], figures[0]["unit"])


def lines(axes: "Axes", curve: dict[str, Any]) -> None:
    """A line for each curve."""
    shade = 0
    for name, points in curve["curves"].items():
        ours = name == curve["ours"]
        axes.plot(*zip(*points, strict=True), marker="o", ms=3, label=name, color=OURS if ours else SHADES[shade])
        shade = (shade + (not ours)) % len(SHADES)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(curve["labels"][1])
    axes.legend(frameon=False)
    axes.grid(axis="y", color="#e6e8eb")
    framed(axes, curve["title"], curve["labels"][0])


def framed(axes: "Axes", title: str, label: str) -> None:
    """Title, unit, and no more frame than needed."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(label)
    axes.xaxis.set_major_formatter(lambda value, _place: f"{value:,.6g}" if value < 1e6 else f"{value / 1e6:,.3g} M")  # noqa: PLR2004 - a million
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
