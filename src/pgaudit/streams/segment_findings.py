"""What a verification of segments has found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from pgaudit.sealing.notes import VerifierKey
from pgaudit.streams.segments import Line, Segment

MOST_FINDINGS: Final = 100


@dataclass(slots=True)
class VerifiedSegments:
    """The result of a verification.

    :ivar events: how many different ones it has, from ``first`` to ``last``.
    :ivar covered: how many events, from index 0 on, the largest checkpoint covers whose root was computed again.
    :ivar findings: what is wrong, in the order of the log; the first hundred.
    """

    segments: int = 0
    events: int = 0
    first: int | None = None
    last: int | None = None
    covered: int = 0
    checkpoints: int = 0
    origin: str | None = None
    signed_by: list[VerifierKey] = field(default_factory=list[VerifierKey])
    findings: list[str] = field(default_factory=list[str])

    def add(self, finding: str) -> None:
        """Adds what is wrong."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)


def problems_of(segment: Segment, lines: Sequence[Line]) -> Iterator[str]:
    """Yields each problem of a segment: its order, and its first and last index."""
    indexes = [line.index for line in lines]
    if indexes != sorted(set(indexes)):
        yield "its events are not in the order of the log"
    if (indexes[0], indexes[-1]) != (segment.first, segment.last):
        yield f"it has the events {indexes[0]} to {indexes[-1]}"


def missing(first: int, end: int) -> str:
    """Returns a sentence about a gap from ``first`` to before ``end``."""
    return f"event {first} is missing" if end - first == 1 else f"events {first} to {end - 1} are missing"
