"""The Merkle tree over the events of segments, from index 0 on."""

from pgaudit.sealing.tiles import WIDTH, Tile, split_hashes
from pgaudit.sealing.tree import HASH_SIZE
from pgaudit.sealing.verify.frontier import Frontier


class Tree:
    """The leaves of a log from index 0 on, and the root over them."""

    def __init__(self) -> None:
        self._leaves = bytearray()
        self._frontier = Frontier()

    def add(self, leaf: bytes) -> None:
        """Adds the next leaf."""
        self._leaves += leaf
        size = len(self._leaves) // HASH_SIZE
        if size % WIDTH == 0:
            self._frontier.add(Tile.of(0, size // WIDTH - 1, bytes(self._leaves[-WIDTH * HASH_SIZE :])))

    def leaf(self, index: int) -> bytes | None:
        """Returns a leaf; None if there is none of that index."""
        return bytes(self._leaves[index * HASH_SIZE : (index + 1) * HASH_SIZE]) or None

    def root(self) -> bytes | None:
        """Returns the root; None without a leaf."""
        return self._frontier.root(split_hashes(bytes(self._leaves[self._frontier.size * HASH_SIZE :])))
