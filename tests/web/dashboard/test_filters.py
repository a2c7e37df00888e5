"""How templates write values."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from jinja2 import Environment

from pgaudit.web.dashboard import filters


def test_moments_at_the_ends_of_time_are_shown() -> None:
    """The log may have the years 1 and 9999; a zone that leads out of them falls back to UTC."""
    environment = Environment(autoescape=True)
    environment.filters["moment"] = filters.moment
    template = environment.from_string("{{ value|moment }}")
    for value, zone, shown in (
        (datetime(1, 1, 2, tzinfo=UTC), ZoneInfo("America/New_York"), "0001-01-01 19:03:58"),
        (datetime(9999, 12, 31, 23, tzinfo=UTC), ZoneInfo("Asia/Tokyo"), "9999-12-31 23:00:00"),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), UTC, "2025-12-31 23:00:00"),
    ):
        assert f">{shown}</time>" in template.render(value=value, zone=zone)
    assert template.render(value=None, zone=UTC) == "–"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("number", 12_345_678_901_234_567_890, "12,345,678,901,234,567,890"),
        ("number", 0, "0"),
        ("number", 1234.56, "1,234.6"),
        ("number", None, "–"),
        ("size", 999, "999 B"),
        ("size", 1_000, "1.0 kB"),
        ("size", 999_949, "999.9 kB"),
        ("size", 999_950, "1.0 MB"),
        ("size", 123_456_789_012, "123.5 GB"),
        ("size", 5 * 10**16, "50000.0 TB"),
        ("size", None, "–"),
        ("age", 0.04, "0.0 s"),
        ("age", 59.9, "59.9 s"),
        ("age", 60, "1 min"),
        ("age", 200, "3 min 20 s"),
        ("age", 3_600, "1 h"),
        ("age", 3_605, "1 h"),
        ("age", 187_200, "2 d 4 h"),
        ("age", None, "–"),
        ("segment", "a/b?c#ä %", "a%2Fb%3Fc%23%C3%A4%20%25"),
    ],
)
def test_values_are_written_for_people(name: str, value: object, shown: str) -> None:
    """Units that leave few digits; integers keep all of theirs; what is not known is a dash."""
    assert filters.FILTERS[name](value) == shown
