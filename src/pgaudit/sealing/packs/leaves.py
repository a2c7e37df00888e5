"""Whether an event is in the signed tree of a pack, by its own proof or by the tiles."""

from functools import lru_cache
from typing import Final, Protocol

from pgaudit.errors import InvalidNote, PackAltered
from pgaudit.sealing import tree
from pgaudit.sealing.notes import Checkpoint
from pgaudit.sealing.packs.description import Kind
from pgaudit.sealing.packs.layout import CHECKPOINT, EVENTS, proof_path
from pgaudit.sealing.packs.proof import Proof
from pgaudit.sealing.packs.source import Source
from pgaudit.sealing.tiles import HEIGHT, WIDTH, Tile, TiledTree, partial_widths, tile_path
from pgaudit.sealing.tree import HASH_SIZE

CACHED: Final = 64  # tiles, of 8 KiB


class Leaves(Protocol):
    """The leaves of the tree of a checkpoint."""

    def check(self, index: int, leaf: bytes) -> None:
        """Checks the leaf at an index.

        :raises PackAltered: it is another one.
        """
        ...


class ProvedLeaves:
    """Leaves with a proof each. All of them have the same signed checkpoint, whose text is ``note``."""

    def __init__(self, source: Source, note: str, checkpoint: Checkpoint) -> None:
        self._source, self._note, self._checkpoint = source, note, checkpoint

    def check(self, index: int, leaf: bytes) -> None:
        """Checks the leaf at an index by its proof."""
        name = proof_path(index)
        proof = parsed(self._source, name)
        if (proof.index, proof.checkpoint) != (index, self._note):
            raise PackAltered(f"{name}: a proof of another index, or of another checkpoint")
        try:
            root = tree.root_of_proof(leaf, index, self._checkpoint.size, proof.hashes)
        except ValueError as error:
            raise PackAltered(f"{name}: {error}") from None
        if root != self._checkpoint.root:
            raise PackAltered(f"{EVENTS}, index {index}: {name} does not lead from this event to the signed root")


class TiledLeaves:
    """Leaves in tiles. A complete tile is one of the tree if its root is in the tile above it."""

    def __init__(self, source: Source, checkpoint: Checkpoint) -> None:
        self._source = source
        widths = enumerate(partial_widths(checkpoint.size))
        partials = [
            self.hashes(level, (checkpoint.size >> HEIGHT * level) // WIDTH, width) if width else b""
            for level, width in widths
        ]
        self._tree = TiledTree(checkpoint.size, lru_cache(CACHED)(self.tile), partials)
        if tree.root(checkpoint.size, self._tree.node) != checkpoint.root:
            raise PackAltered(f"{CHECKPOINT}: the incomplete tiles do not lead to its root")

    def hashes(self, level: int, number: int, width: int = WIDTH) -> bytes:
        """Returns the hashes of a tile."""
        name = tile_path(level, number, width)
        hashes = self._source.read(name)
        if len(hashes) != width * HASH_SIZE:
            raise PackAltered(f"{name}: {len(hashes):,} bytes, in place of {width} hashes")
        return hashes

    def tile(self, level: int, number: int) -> bytes:
        """Returns the hashes of a complete tile of the tree."""
        tile = Tile.of(level, number, self.hashes(level, number))
        if tile.root != self._tree.node(HEIGHT * (level + 1), number):
            first = number * WIDTH << HEIGHT * level
            raise PackAltered(f"{tile_path(level, number)}, from index {first} on: not a tile of the signed tree")
        return tile.hashes

    def check(self, index: int, leaf: bytes) -> None:
        """Checks the leaf at an index."""
        if leaf != self._tree.node(0, index):
            raise PackAltered(f"{EVENTS}, index {index}: this event is not the one in the signed tree")


def parsed(source: Source, name: str) -> Proof:
    """Returns the proof of a file.

    :raises PackAltered: it has another form.
    """
    try:
        return Proof.parse(source.text(name))
    except InvalidNote as error:
        raise PackAltered(f"{name}: {error}") from None


def leaves_of(kind: Kind, source: Source, note: str, checkpoint: Checkpoint) -> Leaves:
    """Returns the leaves of a pack.

    :raises PackAltered: the incomplete tiles do not fit the checkpoint.
    """
    return TiledLeaves(source, checkpoint) if kind == "tiles" else ProvedLeaves(source, note, checkpoint)
