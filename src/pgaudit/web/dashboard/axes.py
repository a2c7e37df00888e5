"""Round numbers for the value axis of a plot, and how they are written."""

import math
from typing import Final

# Seconds that are round to people, from a minute on; below that, decimal numbers are.
ROUND_SECONDS: Final = (60, 120, 240, 600, 1_200, 3_600, 7_200, 14_400, 43_200, 86_400, 172_800)
MINUTE: Final = 60
HOUR: Final = 3_600
DAY: Final = 86_400
THOUSAND: Final = 1_000
MILLION: Final = 1_000_000


def quantity_ceiling(highest: float) -> float:
    """Returns the next even round number: the top of an axis whose middle is a whole number as well."""
    return max(2.0, decimal_ceiling(highest))


def duration_ceiling(seconds: float) -> float:
    """Returns the next round duration; 0.1 seconds at least, because shorter lags do not matter."""
    if seconds <= MINUTE:
        return min(max(0.1, decimal_ceiling(seconds)), MINUTE)
    return next((one for one in ROUND_SECONDS if seconds <= one), DAY * decimal_ceiling(seconds / DAY))


def decimal_ceiling(number: float) -> float:
    """Returns the next 1, 2, 4, 6 or 10 times a power of ten; halves of them are round as well."""
    if number <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(number))
    return next((factor * power for factor in (1, 2, 4, 6) if number <= factor * power * (1 + 1e-9)), 10 * power)


def quantity(number: float) -> str:
    """Returns a number of events, short: 1,200 or 1.2 M."""
    if number >= MILLION:
        return f"{number / MILLION:g} M"
    return f"{number / THOUSAND:g} k" if number >= 10 * THOUSAND else f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Returns a duration with its unit, two digits or three: 12 ms, 1.5 s, 4 min."""
    for unit, size in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds >= 1 or seconds == 0 else f"{seconds * 1_000:.0f} ms"
