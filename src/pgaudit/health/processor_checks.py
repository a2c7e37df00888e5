"""The check that processors keep up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pgaudit.health.status import Check, Status

SHOWN: Final = 3  # processors in one message
UNKNOWN_SECONDS: Final = 300.0  # workers say each minute which processors they know


@dataclass(frozen=True, slots=True)
class ProcessorState:
    """How a processor does. ``late`` is the age in seconds of the oldest event or job that waits for it."""

    name: str
    pause_kind: str | None
    failed: int
    late: float
    unknown_seconds: float

    def problems(self, limit: float) -> Iterator[str]:
        """Yields what is wrong with it."""
        if self.pause_kind == "failing":
            yield f"{self.name} fails, and is tried once a minute: `pgaudit processors show {self.name}`"
        elif self.pause_kind == "mismatch":
            yield f"{self.name} does not fit the log: `pgaudit processors show {self.name}`"
        elif self.pause_kind is None and self.late > limit:
            unknown = self.unknown_seconds > UNKNOWN_SECONDS
            yield f"{self.name} is {self.late:.0f} s late" + (", and no worker knows it" if unknown else "")
        if self.failed:
            yield f"{self.name} has {self.failed:,} failed job(s): `pgaudit jobs list --processor {self.name}`"


def processing(processors: Sequence[ProcessorState], limit: float) -> Check:
    """Returns the verdict on the processors. Never unhealthy: their events are safe in the log.

    :param limit: seconds that an event may wait.
    """
    problems = [problem for processor in processors for problem in processor.problems(limit)]
    late = max((processor.late for processor in processors if processor.pause_kind is None), default=0.0)
    if problems:
        more = f" … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        return Check("processors", Status.DEGRADED, late, limit, f"{'; '.join(problems[:SHOWN])}{more}.")
    message = f"{len(processors)} processor(s) keep up." if processors else "There is no processor."
    return Check("processors", Status.HEALTHY, late, limit, message)
