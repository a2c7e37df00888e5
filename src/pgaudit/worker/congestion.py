"""How a worker slows down while the infrastructure fails, and how it returns to full speed."""

import time
from dataclasses import dataclass, field
from typing import Final

import psycopg

from pgaudit import _db_errors
from pgaudit._backoff import with_jitter

FIRST_PAUSE_SECONDS: Final = 0.05
MAX_TERMINATED: Final = 20  # consecutive sessions of a run that are terminated before a batch is persisted


@dataclass(slots=True)
class Congestion:
    """The largest batch and the pause of a worker.

    An infrastructure error halves the batch and doubles the pause: a smaller batch is more likely to be committed
    between two errors. Each committed batch ends the pause and doubles the batch again. A terminated session does not
    lengthen the pause, because the server accepts the next one.
    """

    batch_size: int
    """Largest batch, in jobs, while there are no errors."""
    max_pause: float
    """Longest pause, in seconds, before jitter."""
    max_jobs: int = field(init=False)
    """Largest next batch, in jobs."""
    paused_until: float = 0.0
    """End of the pause, in seconds of the monotonic clock."""
    errors: int = 0
    """Errors since the last committed batch."""

    def __post_init__(self) -> None:
        self.max_jobs = self.batch_size

    @property
    def is_paused(self) -> bool:
        """Whether the worker fetches no jobs now, because the same error would most likely happen again."""
        return time.monotonic() < self.paused_until

    def fail(self, error: BaseException) -> float:
        """Notes an infrastructure error. Returns the pause in seconds, with jitter."""
        doublings = 0 if is_terminated(error) else min(self.errors, 30)
        pause = with_jitter(min(FIRST_PAUSE_SECONDS * 2**doublings, self.max_pause))
        self.errors += 1
        self.max_jobs = max(1, self.max_jobs // 2)
        self.paused_until = time.monotonic() + pause
        return pause

    def succeed(self) -> None:
        """Notes a committed batch."""
        self.errors = 0
        self.paused_until = 0.0
        self.max_jobs = min(self.batch_size, self.max_jobs * 2)

    def should_reconnect(self, error: BaseException) -> bool:
        """Returns whether a run continues at once in a new session, because its session was terminated."""
        return is_terminated(error) and self.errors < MAX_TERMINATED


def is_terminated(error: BaseException) -> bool:
    """Returns whether an administrator terminated the session (SQLSTATE 57P01)."""
    return isinstance(_db_errors.origin(error), psycopg.errors.AdminShutdown)
