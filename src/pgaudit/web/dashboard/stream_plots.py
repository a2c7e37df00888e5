"""Pictures of what streams have sent: small ones of a day by the hour, and a plot of one stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from pgaudit.streams.history import Interval
from pgaudit.web.dashboard.axes import quantity, quantity_ceiling
from pgaudit.web.dashboard.plots import EDGE, HEIGHT, Bar, Line, Plot, Tick, clock, floor, value_ticks

HOUR: Final = timedelta(hours=1)
QUARTER: Final = timedelta(minutes=15)
DAY: Final = timedelta(days=1)
SPARK_HEIGHT: Final = 20.0
LABEL_EVERY: Final = 4  # hours
MARKED: Final = 4.0  # units from the top


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A small picture of a day: bars of events, and the bars' places where an attempt has failed."""

    label: str
    bars: list[Bar]
    failed: list[Bar]


def by_start(intervals: Sequence[Interval], width: timedelta, now: datetime) -> list[Interval]:
    """Returns an interval for each part of the last day, the oldest first; empty ones, too."""
    known = {one.start.astimezone(UTC): one for one in intervals}
    end = floor(now, width) + width
    starts = [end - width * back for back in range(DAY // width, 0, -1)]
    return [known.get(start, Interval("", start, 0, 0)) for start in starts]


def spark(intervals: Sequence[Interval], now: datetime) -> Sparkline:
    """Returns the small picture of a stream."""
    shown = by_start(intervals, HOUR, now)
    events, failures = sum(one.events for one in shown), sum(one.failures for one in shown)
    label = f"{events:,} events in the last day" + (f", {failures:,} failed attempts" if failures else "")
    top = float(max((one.events for one in shown), default=0) or 1)
    bars = [bar(number, one, len(shown), top, SPARK_HEIGHT) for number, one in enumerate(shown) if one.events]
    failed = [bar(number, one, len(shown), top, SPARK_HEIGHT) for number, one in enumerate(shown) if one.failures]
    return Sparkline(label, bars, failed)


def bar(number: int, one: Interval, count: int, top: float, height: float) -> Bar:
    """Returns the bar of an interval, two units high at least."""
    high = round(max(one.events / top * height, 2.0), 1)
    return Bar(round(100 * number / count, 3), round(100 / count, 3), round(height - high, 1), high, "")


def delivery_plot(intervals: Sequence[Interval], now: datetime, zone: tzinfo) -> Plot:
    """Returns the plot of what one stream has sent in the last day; failed attempts are marks at its top."""
    shown = by_start(intervals, QUARTER, now)
    events, failures = sum(one.events for one in shown), sum(one.failures for one in shown)
    top = quantity_ceiling(max(one.events for one in shown))
    bars = [
        Bar(
            place.x,
            place.width,
            round(HEIGHT - one.events / top * HEIGHT, 1),
            round(one.events / top * HEIGHT, 1),
            said,
        )
        for number, one in enumerate(shown)
        if one.events or one.failures
        for place, said in [(bar(number, one, len(shown), top, HEIGHT), text(one, zone))]
    ]
    lines = [Line("failed", "failed attempts", marks(shown))] if failures else []
    description = f"{events:,} events, {failures:,} failed attempts." if events or failures else "Nothing was sent."
    ticks = value_ticks(top, quantity)
    return Plot("delivery", "Events sent in 15 minutes", description, bars, lines, time_ticks(shown, zone), ticks)


def marks(shown: Sequence[Interval]) -> str:
    """Returns the path of a dot for each interval in which an attempt has failed."""
    places = [(number + 0.5) / len(shown) * 100 for number, one in enumerate(shown) if one.failures]
    return " ".join(f"M{x:.2f} {MARKED} L{x:.2f} {MARKED}" for x in places)


def text(one: Interval, zone: tzinfo) -> str:
    """Returns an interval in words."""
    failed = f", {one.failures:,} failed attempts" if one.failures else ""
    return f"{clock(one.start, zone)} to {clock(one.start + QUARTER, zone)}: {one.events:,} events{failed}"


def time_ticks(shown: Sequence[Interval], zone: tzinfo) -> list[Tick]:
    """Returns labels at every fourth local hour, except at the edges, where they would be cut off."""
    found: list[Tick] = []
    for number, one in enumerate(shown):
        local, position = one.start.astimezone(zone), round(100 * number / len(shown), 3)
        if local.minute == 0 and local.hour % LABEL_EVERY == 0 and EDGE <= position <= 100 - EDGE:
            found.append(Tick(position, f"{local:%H:%M}"))
    return found
