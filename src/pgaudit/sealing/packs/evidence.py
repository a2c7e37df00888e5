"""The evidence in a pack: a proof for each event, or the tiles of the tree that lead from the events to the root."""

from functools import lru_cache
from typing import Final, Protocol

from pgaudit.errors import LogDamaged
from pgaudit.sealing import tree
from pgaudit.sealing.notes import Note
from pgaudit.sealing.packs.description import Kind
from pgaudit.sealing.packs.layout import proof_path
from pgaudit.sealing.packs.proof import Proof
from pgaudit.sealing.packs.staging import Staging
from pgaudit.sealing.tiles import HEIGHT, WIDTH, TiledTree, partial_widths, tile_path
from pgaudit.sealing.tree import HASH_SIZE

CACHED: Final = 4_096


class Evidence(Protocol):
    """What is added to a pack for its events, in their order."""

    def add(self, index: int, leaf: bytes) -> None:
        """Adds what shows that the event is in the tree."""
        ...

    def end(self) -> None:
        """Adds what leads from there to the root."""
        ...


class Proofs:
    """A file for each event, with a whole proof."""

    def __init__(self, tiled: TiledTree, note: Note, staging: Staging) -> None:
        self._size, self._note, self._staging = tiled.size, note, staging
        self._node = lru_cache(CACHED)(tiled.node)

    def add(self, index: int, leaf: bytes) -> None:
        """Writes the proof of an event.

        :raises LogDamaged: the event is not the one that was sealed.
        """
        proof = proof_of(index, leaf, self._size, self._node, self._note)
        self._staging.write(proof_path(index), str(proof).encode())

    def end(self) -> None:
        """Adds nothing: each proof leads to the root."""


class Tiles:
    """A log directory, as C2SP ``tlog-tiles`` says, with the tiles that are needed."""

    def __init__(self, tiled: TiledTree, staging: Staging) -> None:
        self._tiled, self._staging = tiled, staging
        self._written: dict[int, int] = {}  # the last tile of each level
        self._leaves = b""

    def add(self, index: int, leaf: bytes) -> None:
        """Writes the tile of an event, and those above it, unless they were written for the one before.

        :raises LogDamaged: the event is not the one that was sealed.
        """
        place = index
        for level in range(len(self._tiled.partials)):
            number, place = place // WIDTH, place // WIDTH
            if self._written.get(level) == number:
                break
            hashes = self.write(level, number)
            self._leaves = hashes if level == 0 else self._leaves
            if len(hashes) < WIDTH * HASH_SIZE:
                break
        start = index % WIDTH * HASH_SIZE
        check_sealed(index, leaf, self._leaves[start : start + HASH_SIZE])

    def write(self, level: int, number: int) -> bytes:
        """Writes a tile. Returns its hashes."""
        hashes = self._tiled.hashes(level, number)
        self._staging.write(tile_path(level, number, len(hashes) // HASH_SIZE), hashes)
        self._written[level] = number
        return hashes

    def end(self) -> None:
        """Writes the last, incomplete tile of each level: together they have the root."""
        for level, width in enumerate(partial_widths(self._tiled.size)):
            last = (self._tiled.size >> HEIGHT * level) // WIDTH
            if width and self._written.get(level) != last:
                self.write(level, last)


def proof_of(index: int, leaf: bytes, size: int, node: tree.Node, note: Note) -> Proof:
    """Returns the proof that an event is in the tree of a checkpoint.

    :param node: returns the hashes of the tree, which has ``size`` leaves.
    :raises LogDamaged: the event is not the one that was sealed.
    """
    check_sealed(index, leaf, node(0, index))
    return Proof(index, tuple(tree.inclusion_proof(index, size, node)), str(note))


def check_sealed(index: int, leaf: bytes, sealed: bytes) -> None:
    """Checks that the text of an event has the hash that was sealed.

    :raises LogDamaged: it has another one.
    """
    if leaf != sealed:
        raise LogDamaged(f"the event of index {index} is not the one that was sealed: run `pgaudit verify`")


def evidence_of(kind: Kind, tiled: TiledTree, note: Note, staging: Staging) -> Evidence:
    """Returns the evidence of a kind."""
    return Tiles(tiled, staging) if kind == "tiles" else Proofs(tiled, note, staging)
