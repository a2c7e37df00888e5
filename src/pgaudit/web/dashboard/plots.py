"""Plots of throughput and lag: positions of bars, lines and labels, which ``plot.html`` draws as SVG.

Horizontal positions are percentages, so that a plot is as wide as there is room while its text keeps its size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby
from typing import Final

from pgaudit.stats import Throughput
from pgaudit.web.dashboard.axes import duration, duration_ceiling, quantity, quantity_ceiling

HEIGHT: Final = 120.0
EDGE: Final = 5.0  # percent of the width in which the label of a tick would be cut off

# Hours that a plot shows: minutes in a bucket, and minutes from one label of the time axis to the next.
RANGES: Final = {1: (1, 15), 6: (5, 60), 24: (15, 240)}
DEFAULT_HOURS: Final = 6


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was persisted between two moments. Lags are in seconds, and 0 when nothing was."""

    start: datetime
    end: datetime
    events: int
    avg_lag: float
    max_lag: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A label of an axis: percent of the width from the left, or units from the top."""

    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """What is shown of a bucket: percents of the width, units from the top, and a text for people who point at it."""

    x: float
    width: float
    y: float
    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line with gaps: an SVG path in a box 100 wide and ``HEIGHT`` high."""

    name: str
    label: str
    path: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One measure over time."""

    name: str
    title: str
    description: str
    bars: list[Bar]
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    height: float = HEIGHT


def buckets(rows: Iterable[Throughput], hours: int, now: datetime) -> list[Bucket]:
    """Returns the last hours in buckets, the oldest first; some may be empty.

    The last bucket is the one that has begun and not ended.

    :param hours: a key of ``RANGES``.
    """
    width = timedelta(minutes=RANGES[hours][0])
    end = floor(now, width) + width
    count = timedelta(hours=hours) // width
    by_start: dict[datetime, list[Throughput]] = {}
    for row in rows:
        by_start.setdefault(floor(row.minute, width), []).append(row)
    starts = [end - width * back for back in range(count, 0, -1)]
    return [bucket(start, start + width, by_start.get(start, [])) for start in starts]


def floor(moment: datetime, width: timedelta) -> datetime:
    """Returns the start of the bucket that holds the moment, in UTC."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // width * width


def bucket(start: datetime, end: datetime, rows: Sequence[Throughput]) -> Bucket:
    """Returns the minutes between two moments as one bucket; the average lag is that of an event."""
    events = sum(row.events for row in rows)
    total = sum(row.avg_lag_seconds * row.events for row in rows)
    return Bucket(
        start, end, events, total / events if events else 0.0, max((r.max_lag_seconds for r in rows), default=0)
    )


def throughput_plot(shown: Sequence[Bucket], zone: tzinfo) -> Plot:
    """Returns the plot of the events that were persisted in each bucket."""
    minutes = (shown[0].end - shown[0].start) // timedelta(minutes=1)
    each = "a minute" if minutes == 1 else f"{minutes} minutes"
    top = quantity_ceiling(max(bucket.events for bucket in shown))
    total, busiest = sum(bucket.events for bucket in shown), max(shown, key=lambda bucket: bucket.events)
    description = f"{total:,} events. At most {busiest.events:,} in {each}, at {clock(busiest.start, zone)}."
    return Plot(
        "throughput",
        f"Events persisted in {each}",
        description if total else "Nothing was persisted.",
        list(bars(shown, zone, top, lambda bucket: bucket.events)),
        [],
        time_ticks(shown, zone),
        value_ticks(top, quantity),
    )


def lag_plot(shown: Sequence[Bucket], zone: tzinfo) -> Plot:
    """Returns the plot of the time from recording to persisting: highest and average, with gaps."""
    top = duration_ceiling(max(bucket.max_lag for bucket in shown))
    worst, events = max(shown, key=lambda bucket: bucket.max_lag), sum(bucket.events for bucket in shown)
    average = sum(bucket.avg_lag * bucket.events for bucket in shown) / events if events else 0.0
    description = (
        f"At most {duration(worst.max_lag)}, at {clock(worst.start, zone)}; {duration(average)} on average. "
        f"{len([one for one in shown if not one.events])} of {len(shown)} intervals have a gap: nothing was persisted."
    )
    lines = [
        Line("max", "highest", path(shown, top, lambda bucket: bucket.max_lag)),
        Line("avg", "average", path(shown, top, lambda bucket: bucket.avg_lag)),
    ]
    return Plot(
        "lag",
        "Lag from recording to persisting",
        description if events else "Nothing was persisted.",
        list(bars(shown, zone, top, lambda bucket: bucket.max_lag)),
        lines,
        time_ticks(shown, zone),
        value_ticks(top, duration),
    )


def bars(shown: Sequence[Bucket], zone: tzinfo, top: float, value: Callable[[Bucket], float]) -> Iterator[Bar]:
    """Yields a bar for each bucket in which something was persisted."""
    width = 100 / len(shown)
    for number, one in enumerate(shown):
        if one.events:
            height = round(value(one) / top * HEIGHT, 1)
            yield Bar(round(number * width, 3), round(width, 3), round(HEIGHT - height, 1), height, text(one, zone))


def text(bucket: Bucket, zone: tzinfo) -> str:
    """Returns a bucket in words."""
    lags = f"lag {duration(bucket.avg_lag)} on average, {duration(bucket.max_lag)} at most"
    return f"{clock(bucket.start, zone)} to {clock(bucket.end, zone)}: {bucket.events:,} events, {lags}"


def path(shown: Sequence[Bucket], top: float, value: Callable[[Bucket], float]) -> str:
    """Returns the path through the middle of the buckets; a bucket without events interrupts it."""
    width = 100 / len(shown)
    drawn: list[str] = []
    for has_events, group in groupby(enumerate(shown), lambda one: one[1].events > 0):
        points = [
            f"{(number + 0.5) * width:.2f} {HEIGHT - value(bucket) / top * HEIGHT:.1f}" for number, bucket in group
        ]
        if has_events:
            # A line to itself, which the round ends of the stroke make a dot, where a bucket stands alone.
            drawn.append(f"M{' L'.join(points if points[1:] else points * 2)}")
    return " ".join(drawn)


def time_ticks(shown: Sequence[Bucket], zone: tzinfo) -> list[Tick]:
    """Returns labels at round local times, except at the edges, where they would be cut off."""
    hours = (shown[-1].end - shown[0].start) // timedelta(hours=1)
    _, step = RANGES[hours]
    ticks: list[Tick] = []
    for number, bucket in enumerate(shown):
        local, position = bucket.start.astimezone(zone), round(100 * number / len(shown), 3)
        if (local.hour * 60 + local.minute) % step == 0 and EDGE <= position <= 100 - EDGE:
            ticks.append(Tick(position, f"{local:%H:%M}"))
    return ticks


def value_ticks(top: float, label: Callable[[float], str]) -> list[Tick]:
    """Returns the middle and the top of the value axis, and its bottom, zero, which needs no label."""
    return [Tick(HEIGHT, ""), Tick(HEIGHT / 2, label(top / 2)), Tick(0, label(top))]


def clock(moment: datetime, zone: tzinfo) -> str:
    """Returns the local time of day."""
    return f"{moment.astimezone(zone):%H:%M}"
