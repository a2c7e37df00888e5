"""Limits the attempts to log in."""

import time
from collections import OrderedDict, deque
from threading import Lock
from typing import Final

MOST_FAILURES: Final = 5
WITHIN_SECONDS: Final = 60.0
MOST_ADDRESSES: Final = 1_000


class Attempts:
    """The failed logins of the last minute by the client's address, in this process, for as many as 1,000 clients."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def seconds_to_wait(self, address: str) -> int:
        """Returns for how long a client must not try again; 0 if it may."""
        with self._lock:
            failures = self._recent(address)
            if len(failures) < MOST_FAILURES:
                return 0
            return int(failures[0] + WITHIN_SECONDS - time.monotonic()) + 1

    def failed(self, address: str) -> None:
        """Counts a failure. The client that has failed least recently is forgotten when there are too many."""
        with self._lock:
            failures = self._recent(address)
            failures.append(time.monotonic())
            self._failures[address] = failures
            self._failures.move_to_end(address)
            if len(self._failures) > MOST_ADDRESSES:
                self._failures.popitem(last=False)

    def _recent(self, address: str) -> deque[float]:
        failures = self._failures.get(address, deque(maxlen=MOST_FAILURES))
        while failures and failures[0] <= time.monotonic() - WITHIN_SECONDS:
            failures.popleft()
        return failures
