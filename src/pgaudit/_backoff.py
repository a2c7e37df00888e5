"""Delays between attempts: doubled from one to the next, with jitter."""

import random
from typing import Final

JITTER: Final = 0.2
MOST_DOUBLINGS: Final = 60


def backoff_delay(attempts: int, first: float, longest: float) -> float:
    """Returns how long to wait after so many failed attempts, with jitter, in the unit of ``first`` and ``longest``.

    :param first: the delay after one attempt.
    :param longest: the longest delay, before jitter.
    """
    return with_jitter(min(first * 2.0 ** min(attempts - 1, MOST_DOUBLINGS), longest))


def with_jitter(delay: float) -> float:
    """Returns the delay, longer or shorter by up to a fifth: what failed together does not come back together."""
    return delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret depends on it
