"""Waiting for a condition instead of sleeping."""

import asyncio
import time
from collections.abc import Callable

PAUSE = 0.02


def wait_until(what: str, condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Returns as soon as the condition holds. Fails, and says what was awaited, if it does not hold in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain until {what}"
        time.sleep(PAUSE)


async def wait_until_async(what: str, condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Does what ``wait_until`` does, and lets other tasks run meanwhile."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain until {what}"
        await asyncio.sleep(PAUSE)
