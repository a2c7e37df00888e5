"""What a worker is running, and whether it should go on; its job manager, its tasks and its rounds share it."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Runs:
    """The runs of one worker process."""

    jobs: set[int] = field(default_factory=set)
    """The jobs that it has fetched as leads, and not finished."""
    paused_until: float = 0.0
    """By the monotonic clock; after an infrastructure error, for every job would meet the same one."""
    stopping: bool = False
    """It was told to stop: what runs ends as soon as it can."""

    def is_oldest(self, job: int) -> bool:
        """Whether no other run began earlier."""
        return job <= min(self.jobs, default=job)
