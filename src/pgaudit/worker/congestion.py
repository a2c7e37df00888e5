"""How a worker slows down while the infrastructure fails, and how it returns to full speed."""

import time
from dataclasses import dataclass, field
from typing import Final

from pgaudit.worker.retry_policy import with_jitter

FIRST_PAUSE_SECONDS: Final = 0.05


@dataclass(slots=True)
class Congestion:
    """The largest batch and the pause of a worker.

    An infrastructure error halves the batch and doubles the pause: whatever cuts its transactions off, a smaller batch
    is more likely to pass in between. Each batch that passes ends the pause and doubles the batch again.
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

    def fail(self) -> float:
        """Notes an infrastructure error. Returns the pause in seconds, with jitter."""
        pause = with_jitter(min(FIRST_PAUSE_SECONDS * 2 ** min(self.errors, 30), self.max_pause))
        self.errors += 1
        self.max_jobs = max(1, self.max_jobs // 2)
        self.paused_until = time.monotonic() + pause
        return pause

    def succeed(self) -> None:
        """Notes a batch that passed."""
        self.errors = 0
        self.paused_until = 0.0
        self.max_jobs = min(self.batch_size, self.max_jobs * 2)
