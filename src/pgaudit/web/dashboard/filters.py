"""Filters of the templates: moments in the viewer's time zone, numbers, sizes and ages."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

UNITS: Final = ("B", "kB", "MB", "GB", "TB")
THOUSAND: Final = 999.95  # is written as 1000.0
MINUTE: Final = 60
AGES: Final = ((86_400, "d"), (3_600, "h"), (MINUTE, "min"), (1, "s"))
LONGEST_ZONE: Final = 64


def zone_of(name: str) -> tzinfo:
    """Returns the time zone of an IANA name, as the viewer's browser says it; UTC for any other text."""
    try:
        return ZoneInfo(name) if 0 < len(name) <= LONGEST_ZONE else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


@pass_context
def moment(context: Context, value: datetime | None) -> Markup | str:
    """Returns a moment in the viewer's time zone; its title is the exact moment in UTC."""
    return written(context, value, 0)


@pass_context
def clock(context: Context, value: datetime) -> Markup | str:
    """Returns the time of day of a moment whose day stands above it."""
    return written(context, value, len("2026-01-01 "))


def written(context: Context, value: datetime | None, start: int) -> Markup | str:
    """Returns a moment, written from a character on."""
    if value is None:
        return "–"
    in_utc = value.astimezone(UTC)
    try:
        shown = in_utc.astimezone(context["zone"])
    except OverflowError:  # the zone would lead out of the years that there are
        shown = in_utc
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        in_utc.isoformat(),
        f"{in_utc.isoformat(' ').removesuffix('+00:00')} UTC",
        shown.isoformat(" ", "seconds")[start:19],
    )


def number(value: float | None) -> str:
    """Returns a number with commas between thousands; an integer of any length keeps all its digits."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def size(value: int | None) -> str:
    """Returns a number of bytes in the unit that leaves few digits: "4.2 MB"."""
    if value is None:
        return "–"
    amount, units = float(value), list(UNITS)
    while abs(amount) >= THOUSAND and len(units) > 1:
        amount /= 1_000
        del units[0]
    return f"{value} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def age(seconds: float | None) -> str:
    """Returns a number of seconds in its two largest units: "4.2 s", "3 min 20 s", "2 d 4 h"."""
    if seconds is None:
        return "–"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    parts, rest = list[str](), int(seconds)
    for length, unit in AGES:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count:,} {unit}" if count else "")
    return " ".join(filter(None, parts[:2]))


def ago(passed: timedelta) -> str:
    """Returns how long ago something was, in its largest unit: "just now", "3 min ago", "2 d ago"."""
    seconds = int(passed.total_seconds())
    for length, unit in AGES[:-1]:
        if seconds >= length:
            return f"{seconds // length:,} {unit} ago"
    return "just now"


def coded(text: str) -> Markup:
    """Returns a sentence with what stands between backticks as code."""
    parts = text.split("`")
    return Markup().join(Markup("<code>{}</code>").format(one) if n % 2 else escape(one) for n, one in enumerate(parts))


def segment(text: str) -> str:
    """Returns a text as one segment of a path: ``url("/timeline/claim/" ~ id|segment)``."""
    return quote(text, safe="")


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "moment": moment,
    "clock": clock,
    "number": number,
    "size": size,
    "age": age,
    "ago": ago,
    "coded": coded,
    "segment": segment,
}
