"""Checks that anchors follow the checkpoints."""

from dataclasses import dataclass
from typing import Final

from pgaudit.health.status import Check, Status
from pgaudit.settings import Settings

MOST_INTERVALS: Final = 10
MOST_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class AnchorLag:
    """How far an anchor is behind."""

    name: str
    lag: float
    error: str | None

    def __str__(self) -> str:
        return f"{self.name} is {self.lag:.0f} s behind" + (f" ({self.error})" if self.error else "")


def anchored(anchors: list[AnchorLag], settings: Settings) -> Check:
    """Returns the verdict on the anchors. Never unhealthy: events are safe, and sealing goes on without anchors."""
    limit = min(MOST_INTERVALS * settings.checkpoint_interval, MOST_SECONDS)
    lag = max((anchor.lag for anchor in anchors), default=0.0)
    late = [str(anchor) for anchor in anchors if anchor.lag > limit]
    if late:
        message = f"Checkpoints do not reach all anchors: {'; '.join(late)}. They are tried again."
        return Check("anchors", Status.DEGRADED, lag, limit, message)
    message = (
        f"{len(anchors)} anchor(s) follow the checkpoints." if anchors else "There is no anchor (PGAUDIT_ANCHORS)."
    )
    return Check("anchors", Status.HEALTHY, lag, limit, message)
