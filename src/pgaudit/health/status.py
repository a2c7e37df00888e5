"""What a health check consists of."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """From good to bad."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"  # events are safe and flow, but something needs attention
    UNHEALTHY = "unhealthy"  # events do not reach the log in time, or a stream or the proof is broken


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was seen, what is allowed, and a sentence for people."""

    name: str
    status: Status
    observed: int | float | str | None
    threshold: int | float | str | None
    message: str
