"""Slows streams down while the queue has a backlog: events come into the log first, and then to destinations."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

SHARE: Final = 0.05  # of a CPU, for all streams of a worker together, while there is a backlog
LONGEST_PAUSE: Final = 30.0  # seconds between two chunks of a stream, however long the backlog lasts
BACKLOG_SECONDS: Final = 0.5  # for which a full batch counts as a backlog
STEP_SECONDS: Final = 0.05


class Throttle:
    """Knows whether a worker's queue has a backlog, and pauses its streams and processors meanwhile."""

    def __init__(self) -> None:
        self._busy_until = 0.0
        self._running = 0
        self._lock = threading.Lock()

    def note_backlog(self) -> None:
        """Notes that the queue has more than the worker takes at a time."""
        self._busy_until = time.monotonic() + BACKLOG_SECONDS

    @property
    def is_backlog(self) -> bool:
        """Whether the queue had more than the worker takes at a time, a moment ago."""
        return time.monotonic() < self._busy_until

    @contextmanager
    def share(self) -> Generator[None]:
        """Counts the thread of a stream among those that share the CPU time."""
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    def wait(self, used: float, stopping: threading.Event) -> None:
        """Waits while there is a backlog, so that all streams together take at most ``SHARE`` of a CPU.

        :param used: seconds of CPU time that the last chunk has taken; infinite before the first one.
        """
        until = time.monotonic() + min(used * max(self._running, 1) / SHARE, LONGEST_PAUSE)
        while self.is_backlog and time.monotonic() < until and not stopping.is_set():
            stopping.wait(STEP_SECONDS)
