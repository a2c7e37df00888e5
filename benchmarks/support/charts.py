"""The two charts of a plot: bars, or points on a logarithmic axis, for measurements, and lines for curves."""

from collections.abc import Iterator
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final

from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WRAP: Final = 60  # characters in a line as wide as the plot
LOG_FROM: Final = 20  # an axis is logarithmic if the highest value is that many times the lowest
FEW_DECADES: Final = 100  # below this ratio a logarithmic axis also has ticks at 2 and 5
INK, MUTED, GRID, PAPER = "#24292f", "#59636e", "#d8dee4", "#ffffff"
OURS, PEER = "#0969da", "#8c959f"
OTHERS: Final = ("#c2500a", "#00806a", "#a0478e")
MARKERS, DASHES = "os^D", ("-", "--", ":")


def draw_bars(axes: "Axes", title: str, measurements: list[dict[str, Any]]) -> None:
    """Draws the medians with their ranges: as bars, or as points on a logarithmic axis, which has no zero."""
    places = range(len(measurements))
    low = min(each["lowest"] for each in measurements)
    high = max(each["highest"] for each in measurements)
    logarithmic = is_wide(low, high)
    for place, each in zip(places, measurements, strict=True):
        colour, median = OURS if each["ours"] else PEER, each["median"]
        spread = [[median - each["lowest"]], [each["highest"] - median]]
        if logarithmic:
            axes.axhline(place, color=GRID, lw=1)
            axes.plot(median, place, "o", ms=8, color=colour)
        else:
            axes.barh(place, median, color=colour, height=0.36)
        axes.errorbar(median, place, xerr=spread, ecolor=INK, lw=1, fmt="none")
        axes.annotate(number(median), (each["highest"], place), (6, 0), textcoords="offset points", va="center")
        axes.text(0, place - 0.22, each["name"], transform=axes.get_yaxis_transform(), va="bottom")
    axes.set_ylim(len(measurements) - 0.6, -0.95)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    limits = (low / 1.5, high * (high / low) ** 0.2) if logarithmic else (0, high * 1.2 or 1)
    set_scale(axes, "x", logarithmic=logarithmic)
    axes.set_xlim(*limits)
    finish(axes, title, label(measurements[0]["unit"], logarithmic=logarithmic))


def draw_lines(axes: "Axes", curve: dict[str, Any]) -> None:
    """Draws each curve; curves named alike up to a comma share a colour and differ in their dashes."""
    curves: dict[str, list[tuple[float, float]]] = curve["curves"]
    for (name, points), (colour, marker, dash) in zip(curves.items(), styles([*curves], curve["ours"]), strict=True):
        axes.plot(*zip(*points, strict=True), color=colour, marker=marker, ls=dash, lw=1.8, label=name)
    xs, ys = ([point[axis] for points in curves.values() for point in points] for axis in (0, 1))
    wide_x, wide_y = is_wide(min(xs), max(xs)), is_wide(min(ys), max(ys))
    set_scale(axes, "x", logarithmic=wide_x)
    set_scale(axes, "y", logarithmic=wide_y)
    if not wide_y:
        axes.set_ylim(0, max(ys) * 1.08 or 1)
    if len(curves) > 1:
        name_curves(axes, curves)
    axes.set_ylabel(label(curve["labels"][1], logarithmic=wide_y))
    axes.grid(axis="y", color=GRID)
    finish(axes, curve["title"], label(curve["labels"][0], logarithmic=wide_x))


def styles(names: list[str], ours: str) -> Iterator[tuple[str, str, str]]:
    """Yields colour, marker and dash of each curve."""
    groups = list(dict.fromkeys(name.partition(",")[0] for name in names))
    details = list(dict.fromkeys(name.partition(",")[2] for name in names))
    own = ours.partition(",")[0]
    colours = {own: OURS} | dict(zip([each for each in groups if each != own], OTHERS * len(groups), strict=False))
    for name in names:
        group, _, detail = name.partition(",")
        yield colours[group], MARKERS[groups.index(group) % 4], DASHES[details.index(detail) % 3]


def name_curves(axes: "Axes", curves: dict[str, list[tuple[float, float]]]) -> None:
    """Writes each name at the right end of its line, or a legend where the lines end at different places."""
    if len({points[-1][0] for points in curves.values()}) > 1:
        axes.legend(frameon=False, ncols=2, handlelength=3, loc="upper left", bbox_to_anchor=(0, -0.3))
        return
    to_fraction = (axes.transData + axes.transAxes.inverted()).transform
    lines = sorted(axes.get_lines(), key=lambda line: curves[str(line.get_label())][-1][1])
    texts = [fill(str(line.get_label()), 20) for line in lines]
    ends = [float(to_fraction(curves[str(line.get_label())][-1])[1]) for line in lines]
    for line, text, place in zip(lines, texts, spread(ends, [1 + text.count("\n") for text in texts]), strict=True):
        axes.text(1.03, place, text, transform=axes.transAxes, color=line.get_color(), va="center", fontsize=10)


def spread(places: list[float], rows: list[int]) -> list[float]:
    """Returns ascending places, as fractions of the height, moved apart so that texts of that many rows fit below 1."""
    heights = [0.1 * count for count in rows]
    for nth in range(1, len(places)):
        places[nth] = max(places[nth], places[nth - 1] + (heights[nth] + heights[nth - 1]) / 2)
    places[-1] = min(places[-1], 1)
    for nth in range(len(places) - 2, -1, -1):
        places[nth] = min(places[nth], places[nth + 1] - (heights[nth] + heights[nth + 1]) / 2)
    return places


def is_wide(low: float, high: float) -> bool:
    """Returns whether values need a logarithmic axis."""
    return low > 0 and high / low >= LOG_FROM


def set_scale(axes: "Axes", which: str, *, logarithmic: bool) -> None:
    """Sets the scale of an axis, with few ticks and plain numbers."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if logarithmic:
        axes.set(**{f"{which}scale": "log"})
        low, high = axis.get_data_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < FEW_DECADES else (1,), numticks=8))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda value, _place: tick(value))


def tick(value: float) -> str:
    """Returns the number at a tick."""
    return f"{value:,.6g}" if value < 1e6 else f"{value / 1e6:,.3g} M"  # noqa: PLR2004 - a million


def number(value: float) -> str:
    """Returns a number with two decimals, or none from 100 on, as the tables show it."""
    return f"{value:,.{0 if value >= 100 else 2}f}"  # noqa: PLR2004


def label(text: str, *, logarithmic: bool) -> str:
    """Returns the label of an axis."""
    return f"{text} (log scale)" if logarithmic else text


def finish(axes: "Axes", title: str, x_label: str) -> None:
    """Adds the title and the label, and removes the frame that is not needed."""
    axes.set_title(fill(title, WRAP), loc="left", x=0, fontsize=11, fontweight="bold")
    axes.set_xlabel(x_label)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
