"""The check that nobody leaves WAL behind: an archive that is dead, or far behind, fills the primary's disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pgaudit.health.status import Check, Status

MUCH: Final = 1_000_000_000  # bytes of WAL


@dataclass(frozen=True, slots=True)
class ArchiveSlot:
    """The replication slot of an archive.

    :ivar kept: the bytes of WAL that are kept for it; None on a standby.
    :ivar safe: the bytes that can still be written before it is lost; None without a limit.
    """

    name: str
    active: bool
    wal_status: str | None
    kept: int | None
    safe: int | None

    @property
    def problem(self) -> str | None:
        """What is wrong with it."""
        kept = f"{(self.kept or 0) / 1e6:,.0f} MB of WAL are kept for it"
        if self.wal_status == "lost":
            return f"{self.name} has lost WAL that it needed: set up another archive"
        if not self.active:
            lost = f"and the slot is lost after {(self.safe or 0) / 1e6:,.0f} MB more"
            end = "until the disk is full" if self.safe is None else lost
            return f"nothing reads from {self.name}: {kept}, {end}"
        return f"{self.name} is behind: {kept}" if (self.kept or 0) > MUCH else None


def archived(slots: Sequence[ArchiveSlot]) -> Check:
    """Returns the verdict on the archives. Never unhealthy: events are safe, and flow without them."""
    problems = [problem for slot in slots if (problem := slot.problem)]
    kept = max((slot.kept or 0 for slot in slots), default=0)
    if problems:
        message = f"{'; '.join(problems)}. `pgaudit archive check` says more."
        return Check("archives", Status.DEGRADED, kept, MUCH, message)
    message = f"{len(slots)} archive(s) follow the log." if slots else "No archive follows the log."
    return Check("archives", Status.HEALTHY, kept, MUCH, message)
