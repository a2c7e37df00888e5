"""What an anchor is: a place outside the database that keeps checkpoints, or vouches for them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pgaudit.sealing.notes import Checkpoint, Note, Signature

Proof = Callable[[int], list[bytes]]
"""Returns the consistency proof from an older size of the tree to that of the note."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an anchor answered, if that proves something by itself.

    :ivar text: it is stored in the database.
    :ivar cosignatures: these are added to the stored note.
    """

    text: str
    cosignatures: tuple[Signature, ...] = ()


@runtime_checkable
class Anchor(Protocol):
    """A place that checkpoints are sent to."""

    @property
    def name(self) -> str:
        """Its URL without secrets."""
        ...

    def submit(self, note: Note, proof: Proof, last: int) -> Receipt | None:
        """Sends a checkpoint, which is at least as large as the last one that the anchor took.

        :param last: size of the last checkpoint that it took; 0 if there is none.
        :raises AnchorFailed: it did not take it. The message has no secret.
        """
        ...


@runtime_checkable
class ReadableAnchor(Anchor, Protocol):
    """An anchor that returns what it has taken."""

    def read(self) -> Iterator[Note]:
        """Yields the checkpoints that it has, from the smallest on.

        :raises AnchorFailed: it cannot be read.
        :raises InvalidNote: it has something that is no checkpoint.
        """
        ...


@runtime_checkable
class VouchingAnchor(Anchor, Protocol):
    """An anchor whose receipts prove something by themselves."""

    def check(self, note: Note, receipt: str) -> None:
        """Checks that a receipt is for that checkpoint.

        :raises AnchorFailed: it is not.
        """
        ...


def own_note(note: Note) -> Note:
    """Returns the note with the signatures of the log alone, which stay the same when witnesses add theirs."""
    origin = Checkpoint.parse(note.text).origin
    return Note(note.text, tuple(signature for signature in note.signatures if signature.name == origin))


def size_of(note: Note) -> int:
    """Returns how many events the checkpoint covers."""
    return Checkpoint.parse(note.text).size
