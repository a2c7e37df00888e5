"""Plots: what is drawn where, and what is said about it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pgaudit.stats import Throughput
from pgaudit.web.dashboard import axes, plots

NOW = datetime(2026, 3, 1, 12, 3, 20, tzinfo=UTC)


def minute(ago: int, events: int = 10, avg: float = 0.5, highest: float = 2.0) -> Throughput:
    """Returns what was persisted in the minute that began that many minutes before noon."""
    return Throughput(datetime(2026, 3, 1, 12, tzinfo=UTC) - timedelta(minutes=ago), events, 1, avg, highest)


@pytest.mark.parametrize(("hours", "width", "count"), [(1, 1, 60), (6, 5, 72), (24, 15, 96)])
def test_buckets_cover_the_range_without_a_hole(hours: int, width: int, count: int) -> None:
    """The last bucket holds the present; each begins where the one before ends."""
    shown = plots.buckets([], hours, NOW)
    assert len(shown) == count
    assert shown[-1].start <= NOW < shown[-1].end
    assert {one.end - one.start for one in shown} == {timedelta(minutes=width)}
    assert [one.end for one in shown[:-1]] == [one.start for one in shown[1:]]


def test_a_bucket_adds_up_its_minutes() -> None:
    """The average lag is weighted by events, the highest one is the highest of all minutes."""
    rows = [minute(3, events=30, avg=1.0, highest=4.0), minute(4, events=10, avg=3.0, highest=3.0), minute(400)]
    (full,) = [one for one in plots.buckets(rows, 6, NOW) if one.events]
    assert (full.events, full.avg_lag, full.max_lag) == (40, 1.5, 4.0)


def test_nothing_persisted_leaves_a_gap() -> None:
    """Two lines are drawn around a gap, and a bucket that stands alone is a dot."""
    shown = plots.buckets([minute(50), minute(40), minute(35)], 6, NOW)
    highest, average = plots.lag_plot(shown, UTC).lines
    assert highest.path.count("M") == average.path.count("M") == 2
    alone = highest.path.split(" M")[0].removeprefix("M").split(" L")
    assert alone[0] == alone[1]
    assert len(plots.throughput_plot(shown, UTC).bars) == 3


def test_bars_stay_inside_the_plot() -> None:
    """The top of the axis is round, and not below the highest bar."""
    shown = plots.buckets([minute(one, events=one * 37 + 1) for one in range(60)], 1, NOW)
    plot = plots.throughput_plot(shown, UTC)
    assert all(bar.y >= 0 and bar.y + bar.height == pytest.approx(plot.height, abs=0.2) for bar in plot.bars)
    assert all(bar.x >= 0 and bar.x + bar.width <= 100.1 for bar in plot.bars)
    assert [tick.label for tick in plot.y_ticks] == ["", "2,000", "4,000"]


def test_an_empty_plot_says_so() -> None:
    """Without events there is no line, no bar, and a sentence."""
    shown = plots.buckets([], 24, NOW)
    for plot in (plots.lag_plot(shown, UTC), plots.throughput_plot(shown, UTC)):
        assert plot.description == "Nothing was persisted."
        assert plot.bars == []
        assert {line.path for line in plot.lines} <= {""}


@pytest.mark.parametrize(("hours", "step"), [(1, 15), (6, 60), (24, 240)])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_times_are_round_where_the_viewer_is(hours: int, step: int, zone: str) -> None:
    """Labels are at round local times, also in zones that are half an hour off, and none is cut off at an edge."""
    ticks = plots.time_ticks(plots.buckets([], hours, NOW), ZoneInfo(zone))
    assert len(ticks) >= 3
    for tick in ticks:
        hour, minutes = map(int, tick.label.split(":"))
        assert (hour * 60 + minutes) % step == 0
        assert 5 <= tick.position <= 95


def test_the_description_has_the_numbers() -> None:
    """Who does not see the plot reads how high it is, when, and how much of it is missing."""
    shown = plots.buckets([minute(3, events=1_200, avg=0.25, highest=90.0)], 6, NOW)
    assert plots.lag_plot(shown, UTC).description == (
        "At most 1.5 min, at 11:55; 250 ms on average. 71 of 72 intervals have a gap: nothing was persisted."
    )
    assert plots.throughput_plot(shown, ZoneInfo("Europe/Berlin")).description == (
        "1,200 events. At most 1,200 in 5 minutes, at 12:55."
    )


@pytest.mark.parametrize(
    ("seconds", "top", "label"),
    [
        (0, 0.1, "100 ms"),
        (0.3, 0.4, "400 ms"),
        (1.2, 2, "2 s"),
        (55, 60, "1 min"),
        (61, 120, "2 min"),
        (4_000, 7_200, "2 h"),
        (1_000_000, 1_728_000, "20 d"),
    ],
)
def test_the_axis_of_lags_ends_at_a_round_duration(seconds: float, top: float, label: str) -> None:
    """The top is round to people, and so is its half."""
    assert axes.duration_ceiling(seconds) == pytest.approx(top)
    assert axes.duration(top) == label


@pytest.mark.parametrize(
    ("highest", "top", "label"), [(0, 2, "2"), (3, 4, "4"), (4_100, 6_000, "6,000"), (61_000, 100_000, "100 k")]
)
def test_the_axis_of_events_ends_at_a_round_number(highest: float, top: float, label: str) -> None:
    """The middle of the axis is a whole number as well."""
    assert axes.quantity_ceiling(highest) == pytest.approx(top)
    assert axes.quantity(top) == label
