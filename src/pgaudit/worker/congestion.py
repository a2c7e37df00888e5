"""How a worker slows down while the infrastructure fails, and how it returns to full speed."""

import time
from dataclasses import dataclass, field
from typing import Final

import psycopg

from pgaudit import _db_errors
from pgaudit.worker.retry_policy import with_jitter

FIRST_PAUSE_SECONDS: Final = 0.05
MAX_TERMINATED: Final = 20  # sessions of a run, one after the other, in which no batch passes


@dataclass(slots=True)
class Congestion:
    """The largest batch and the pause of a worker.

    An infrastructure error halves the batch and doubles the pause: whatever cuts its transactions off, a smaller batch
    is more likely to pass in between. Each batch that passes ends the pause and doubles the batch again. The pause does
    not grow for a session that was terminated: the server accepts the next one.
    """

    batch_size: int
    """Of a worker that meets no error."""
    max_pause: float
    """In seconds."""
    max_jobs: int = field(init=False)
    """Most jobs of the next batch."""
    paused_until: float = 0.0
    """By the monotonic clock."""
    errors: int = 0
    """Since the last batch that passed."""

    def __post_init__(self) -> None:
        self.max_jobs = self.batch_size

    @property
    def is_paused(self) -> bool:
        """Whether the worker fetches no job: it would most likely meet the same error."""
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
        """Notes a batch that passed."""
        self.errors = 0
        self.paused_until = 0.0
        self.max_jobs = min(self.batch_size, self.max_jobs * 2)

    def should_reconnect(self, error: BaseException) -> bool:
        """Returns whether a run goes on at once in another session, after an error that ended its own."""
        return is_terminated(error) and self.errors < MAX_TERMINATED


def is_terminated(error: BaseException) -> bool:
    """Returns whether an administrator has terminated the session."""
    return isinstance(_db_errors.origin(error), psycopg.errors.AdminShutdown)
