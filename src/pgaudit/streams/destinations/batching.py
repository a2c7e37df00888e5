"""A destination that waits until there is enough for a file of its own."""

from collections.abc import Sequence
from datetime import datetime

from pgaudit.streams.destinations.destination import BaseDestination
from pgaudit.trail.entry import Entry


class BatchingDestination(BaseDestination):
    """Waits for more events until a moment, and lets nobody read the log again before."""

    takes_all = True

    def __init__(self) -> None:
        self._log_size = 0
        self._until: datetime | None = None
        self._full_at = 0

    def is_waiting(self, log_size: int, now: datetime) -> bool:
        """Returns whether that moment has not come, and there cannot be as many events as the limits allow."""
        self._log_size = log_size
        return self._until is not None and now < self._until and log_size < self._full_at

    def wait(self, entries: Sequence[Entry], until: datetime) -> int:
        """Waits until that moment, or until there may be a full chunk. Returns 0, the number of events to send now."""
        self._until = until
        self._full_at = self._log_size + self.limits.events - len(entries)
        return 0

    def release(self, count: int) -> int:
        """Waits no longer. Returns the number of events to send now."""
        self._until = None
        return count
