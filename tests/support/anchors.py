"""What tests of single anchors pass to them."""

from typing import Any

from pgaudit.sealing.anchors import anchor_at
from pgaudit.sealing.keys import new_keys
from pgaudit.sealing.notes import Checkpoint, Note
from pgaudit.sealing.signing import sign

KEYS = new_keys("audit.example.com/claims")
OTHER_ROOT = bytes(31) + b"\1"


def checkpoint(size: int, root: bytes = bytes(32)) -> Note:
    """Returns a signed checkpoint of a log that nobody has."""
    return sign(Checkpoint(KEYS[0].name, size, root), KEYS)


def submit(anchor: Any, note: Note) -> Any:
    """Sends a checkpoint to an anchor that needs no proof; returns the receipt."""
    return anchor.submit(note, no_proof, 0)


def no_proof(old: int) -> list[bytes]:
    """Fails the test: only witnesses ask for a proof."""
    raise AssertionError(f"a proof from {old} was asked for")


def anchor_of(url: str, kind: type[Any]) -> Any:
    """Returns the anchor of a URL, which is of that kind."""
    anchor = anchor_at(url)
    assert isinstance(anchor, kind)
    return anchor
