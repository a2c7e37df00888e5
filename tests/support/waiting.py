"""Waiting for an event, instead of for a time."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Returns as soon as the condition holds; fails when it does not within that time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {condition.__doc__ or condition}"
        time.sleep(0.02)
