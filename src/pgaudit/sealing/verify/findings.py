"""What a verification can find, and its result."""

from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

from pgaudit.sealing.levels import Level

Name = Literal[
    "altered",
    "missing",
    "inserted",
    "reordered",
    "column_drift",
    "truncated",
    "rolled_back",
    "forked",
    "unsigned",
    "unanchored",
    "incomplete",
    "guard_disabled",
]
MOST_KEPT: Final = 1_000  # findings; more are counted


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, in a sentence; ``index`` is where it begins in the log."""

    name: Name
    message: str
    index: int | None = None
    event_id: UUID | None = None


@dataclass(slots=True)
class Verification:
    """The result: events ``[first, end)`` were verified, the first ``sealed`` of the log are covered by tiles.

    ``level`` is that of the events before ``level_end``: of those that the largest checkpoint of this level covers.

    Of a sample, only ``compared`` events were compared with what was sealed; the tree and its checkpoints were verified
    as a whole.
    """

    first: int
    end: int
    compared: int = 0
    sealed: int = 0
    checkpoints: int = 0
    anchored: int = 0
    level: Level = Level.NOTHING
    level_end: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    count: int = 0

    def add(self, *findings: Finding) -> None:
        """Adds findings; only the first thousand are kept, all are counted."""
        self.count += len(findings)
        self.findings += findings[: max(0, MOST_KEPT - len(self.findings))]

    def reach(self, level: Level, end: int) -> None:
        """Notes that the events before an index reach a level; a lower one than before changes nothing."""
        self.level, self.level_end = max((self.level, self.level_end), (level, end))

    @property
    def below_level(self) -> int:
        """How many of the newest events do not reach the level."""
        return max(0, self.end - max(self.level_end, self.first))

    @property
    def unsealed(self) -> int:
        """How many of the newest events no tile and no checkpoint covers yet."""
        return max(0, self.end - max(self.sealed, self.first))
