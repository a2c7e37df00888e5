"""How often a processor tries an event, and how long it waits in between."""

from dataclasses import dataclass
from typing import Final

from pgaudit._backoff import backoff_delay
from pgaudit.errors import InvalidProcessor

MOST_ATTEMPTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Backoff:
    """A number of attempts, with a delay that doubles from one to the next.

    :param attempts: how often an event is tried, the first time included.
    :param delay: seconds before the second attempt.
    :param max_delay: the longest delay, in seconds, before jitter of a fifth.
    :raises InvalidProcessor: a value is out of range.
    """

    attempts: int = 8
    delay: float = 2.0
    max_delay: float = 300.0

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= MOST_ATTEMPTS:
            raise InvalidProcessor(
                f"attempts={self.attempts!r}: a processor tries an event 1 to {MOST_ATTEMPTS:,} times"
            )
        if self.delay < 0 or self.max_delay < 0:
            raise InvalidProcessor("delay and max_delay are seconds, 0 or more")

    def delay_after(self, attempt: int) -> float | None:
        """Returns the seconds until the next attempt, with jitter; None after the last one."""
        if attempt >= self.attempts:
            return None
        return backoff_delay(attempt, self.delay, self.max_delay)
