"""Verifies stored segments without the database: their names, their events, and the signed roots over all events."""

from pgaudit.errors import InvalidNote, PackAltered
from pgaudit.sealing.notes import Checkpoint, Note
from pgaudit.sealing.policy import Policy
from pgaudit.streams.segment_findings import VerifiedSegments, missing, problems_of
from pgaudit.streams.segment_storage import SegmentStorage, checkpoint_names
from pgaudit.streams.segment_tree import Tree
from pgaudit.streams.segments import Line, Segment, unpacked


def verify_segments(
    storage: SegmentStorage, policy: Policy | None = None, *, is_part: bool = False
) -> VerifiedSegments:
    """Verifies all segments and checkpoints of a storage. It needs 32 bytes of memory for each event.

    :param policy: whose signatures checkpoints need; without it, signatures are not looked at.
    :param is_part: the segments have not all events of the log, so gaps are no finding, and roots cannot be computed.
    """
    names = list(storage.names())
    verifier = SegmentVerifier(storage, policy, is_part=is_part)
    if not is_part:
        verifier.roots = {size: verifier.read_checkpoint(name) for size, name in checkpoint_names(names).items()}
    for name in names:
        segment = Segment.parse(name)
        if segment is not None:
            verifier.read(segment)
    verifier.end()
    return verifier.result


class SegmentVerifier:
    """Reads segment after segment."""

    def __init__(self, storage: SegmentStorage, policy: Policy | None, *, is_part: bool) -> None:
        self.result = VerifiedSegments()
        self.roots: dict[int, bytes | None] = {}
        self._storage = storage
        self._policy = policy
        self._is_part = is_part
        self._of_part: dict[int, bytes] = {}
        self._tree = Tree()
        self._next = 0
        self._is_broken = False
        self._since: list[str] = []  # segments since the last root that was right

    def read(self, segment: Segment) -> None:
        """Verifies one segment."""
        self.result.segments += 1
        self._since.append(segment.name)
        content = self._storage.get(segment.name)
        if not segment.is_name_of(content):
            self.result.add(f"{segment.name} was altered: its hash is not the one in its name")
        try:
            lines = list(unpacked(content))
        except ValueError as error:
            self.result.add(f"{segment.name}: {error}")
            self._is_broken, self._next = True, max(self._next, segment.last + 1)
            return
        for problem in problems_of(segment, lines):
            self.result.add(f"{segment.name}: {problem}")
        for line in lines:
            self._take(segment, line)

    def _take(self, segment: Segment, line: Line) -> None:
        """Adds an event. One whose index was read already must have the same hash."""
        if not line.is_intact:
            self.result.add(f"{segment.name}: event {line.index} was altered: its hash is not that of its text")
        if line.index < self._next:
            if self._known(line.index) not in (None, line.computed):
                self.result.add(f"{segment.name}: event {line.index} is not the one of an earlier segment")
            return
        if line.index > self._next and not self._is_part:
            self.result.add(f"before {segment.name}: {missing(self._next, line.index)}")
            self._is_broken = True
        self._append(line)

    def _append(self, line: Line) -> None:
        self.result.first = line.index if self.result.first is None else self.result.first
        self.result.last, self._next = line.index, line.index + 1
        self.result.events += 1
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
        root = self.roots.get(self._next)
        if root is None:
            return
        if self._tree.root() == root:
            self.result.covered = self._next
            self._since = self._since[-1:]
        else:
            self._is_broken = True
            self.result.add(
                f"the events before index {self._next} are not those that its checkpoint has signed: the first one "
                f"that differs is in {' or '.join(self._since[:3])}"
            )

    def read_checkpoint(self, name: str) -> bytes | None:
        """Returns the root of a checkpoint, if it is signed as the policy asks."""
        self.result.checkpoints += 1
        try:
            note = Note.parse(self._storage.get(name).decode())
            checkpoint = Checkpoint.parse(note.text)
            signers = self._policy.check(note) if self._policy else []
        except (InvalidNote, PackAltered, UnicodeDecodeError) as error:
            self.result.add(f"{name}: {error}")
            return None
        if name != f"checkpoints/{checkpoint.size:020d}.checkpoint":
            self.result.add(f"{name} has a checkpoint of {checkpoint.size:,} events")
            return None
        self.result.origin, self.result.signed_by = checkpoint.origin, signers
        return checkpoint.root

    def end(self) -> None:
        """Adds a finding if a policy was given and no signed root covers any event."""
        if self._policy and not self._is_part and not self.result.covered and not self.result.findings:
            self.result.add("no checkpoint covers its events: none was stored yet, or they were removed")
