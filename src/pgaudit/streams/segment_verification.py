"""Verifies stored segments without the database: their names, their events, and the signed roots over all events."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from pgaudit.errors import InvalidNote, PackAltered
from pgaudit.sealing.notes import Checkpoint, Note, VerifierKey
from pgaudit.sealing.policy import Policy
from pgaudit.streams.segment_storage import SegmentStorage, checkpoint_names
from pgaudit.streams.segment_tree import Tree
from pgaudit.streams.segments import Line, Segment, unpacked

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


def check(archive: SegmentStorage, policy: Policy | None = None, *, is_part: bool = False) -> VerifiedSegments:
    """Verifies all segments and checkpoints of a storage. It needs 32 bytes of memory for each event.

    :param policy: whose signatures checkpoints need; without it, signatures are not looked at.
    :param is_part: the segments have not all events of the log, so gaps are no finding, and roots cannot be computed.
    """
    names = list(archive.names())
    checking = SegmentVerifier(archive, policy, is_part=is_part)
    checking.roots = (
        {} if is_part else {size: checking.read_checkpoint(name) for size, name in checkpoint_names(names).items()}
    )
    for name in names:
        segment = Segment.parse(name)
        if segment is not None:
            checking.read(segment)
    checking.end()
    return checking.checked


class SegmentVerifier:
    """Reads segment after segment."""

    def __init__(self, archive: SegmentStorage, policy: Policy | None, *, is_part: bool) -> None:
        self.checked = VerifiedSegments()
        self.roots: dict[int, bytes | None] = {}
        self._archive = archive
        self._policy = policy
        self._is_part = is_part
        self._of_part: dict[int, bytes] = {}
        self._tree = Tree()
        self._next = 0
        self._is_broken = False
        self._since: list[str] = []  # segments since the last root that was right

    def read(self, segment: Segment) -> None:
        """Verifies one segment."""
        self.checked.segments += 1
        self._since.append(segment.name)
        content = self._archive.get(segment.name)
        if not segment.is_name_of(content):
            self.checked.add(f"{segment.name} was altered: it has not the hash of its name")
        try:
            lines = list(unpacked(content))
        except ValueError as error:
            self.checked.add(f"{segment.name}: {error}")
            self._is_broken, self._next = True, max(self._next, segment.last + 1)
            return
        for problem in problems_of(segment, lines):
            self.checked.add(f"{segment.name}: {problem}")
        for line in lines:
            self._take(segment, line)

    def _take(self, segment: Segment, line: Line) -> None:
        """Adds an event. One whose index was read already must have the same hash."""
        if not line.is_intact:
            self.checked.add(f"{segment.name}: event {line.index} was altered: its hash is not that of its text")
        if line.index < self._next:
            if self._known(line.index) not in (None, line.computed):
                self.checked.add(f"{segment.name}: event {line.index} is not the one of an earlier segment")
            return
        if line.index > self._next and not self._is_part:
            self.checked.add(f"before {segment.name}: {missing(self._next, line.index)}")
            self._is_broken = True
        self._append(line)

    def _append(self, line: Line) -> None:
        self.checked.first = line.index if self.checked.first is None else self.checked.first
        self.checked.last, self._next = line.index, line.index + 1
        self.checked.events += 1
        if self._is_part:
            self._of_part[line.index] = line.computed
        elif not self._is_broken:
            self._tree.add(line.computed)
            self._compare_root()

    def _known(self, index: int) -> bytes | None:
        """Returns the hash of an event that was read; None if it was not."""
        return self._of_part.get(index) if self._is_part else self._tree.leaf(index)

    def _compare_root(self) -> None:
        """Compares the root of the tree when it has the size of a checkpoint."""
        size = self._next
        if (root := self.roots.get(size)) is not None:
            if self._tree.root() == root:
                self.checked.covered = size
                self._since = self._since[-1:]
            else:
                self._is_broken = True
                self.checked.add(
                    f"the events before index {size} are not those that its checkpoint has signed: the first one that "
                    f"differs is in {' or '.join(self._since[:3])}"
                )

    def read_checkpoint(self, name: str) -> bytes | None:
        """Returns the root of a checkpoint, if it is signed as the policy asks."""
        self.checked.checkpoints += 1
        try:
            note = Note.parse(self._archive.get(name).decode())
            checkpoint = Checkpoint.parse(note.text)
            signers = self._policy.check(note) if self._policy else []
        except (InvalidNote, PackAltered, UnicodeDecodeError) as error:
            self.checked.add(f"{name}: {error}")
            return None
        if name != f"checkpoints/{checkpoint.size:020d}.checkpoint":
            self.checked.add(f"{name} has a checkpoint of {checkpoint.size:,} events")
            return None
        self.checked.origin, self.checked.signed_by = checkpoint.origin, signers
        return checkpoint.root

    def end(self) -> None:
        """Adds a finding if a policy was given and no signed root covers any event."""
        if self._policy and not self._is_part and not self.checked.covered and not self.checked.findings:
            self.checked.add("no checkpoint covers its events: none was stored yet, or they were removed")


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
