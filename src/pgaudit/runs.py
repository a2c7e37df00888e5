"""What a worker is running, and whether it should go on; its job manager, its tasks and its rounds share it."""

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Registration:
    """A worker as the database knows it: a number for people, and the token that only the worker knows."""

    id: int
    token: UUID = field(repr=False)


@dataclass(slots=True)
class Runs:
    """The runs of one worker process."""

    registration: Registration | None = None
    """None before the worker is registered and after it has ended."""
    jobs: set[int] = field(default_factory=set)
    """The jobs that it has fetched, and not finished."""
    paused_until: float = 0.0
    """By the monotonic clock; after an infrastructure error, for every job would meet the same one."""
    stopping: bool = False
    """It was told to stop: what runs ends as soon as it can."""

    def is_oldest(self, job: int) -> bool:
        """Whether no other run began earlier."""
        return job <= min(self.jobs, default=job)
