"""A destination that collects events until there are enough for a file, or until a deadline."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pgaudit.streams.destinations.destination import BaseDestination
from pgaudit.trail.entry import Entry

SET_BACK: Final = timedelta(hours=1)  # two clocks do not differ by as much, unless one of them was wrong


class BatchingDestination(BaseDestination):
    """Waits for a full chunk until a deadline; the log is not read again before."""

    takes_all = True

    def __init__(self) -> None:
        self._log_size = 0
        self._until: datetime | None = None
        self._full_at = 0

    def is_waiting(self, log_size: int, now: datetime) -> bool:
        """Returns whether the deadline is ahead and the log has too few events for a full chunk."""
        self._log_size = log_size
        return self._until is not None and now < self._until and log_size < self._full_at

    def wait(self, entries: Sequence[Entry], until: datetime) -> int:
        """Sets the deadline. Returns 0, the number of events to send now."""
        self._until = until
        self._full_at = self._log_size + self.limits.events - len(entries)
        return 0

    def release(self, count: int) -> int:
        """Removes the deadline. Returns ``count``, the number of events to send now."""
        self._until = None
        return count


def is_set_back(moment: datetime, now: datetime) -> bool:
    """Returns whether a moment that has passed lies ahead: the clock was set back, so there is no wait for it."""
    return moment > now + SET_BACK
