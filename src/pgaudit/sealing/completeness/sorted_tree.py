"""The tree of a period: its leaves in ascending order of their keys, 256 of them in a tile."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

from pgaudit.sealing import tree
from pgaudit.sealing.completeness.offline import target_leaf
from pgaudit.sealing.tiles import HEIGHT, WIDTH, split_hashes

CACHED: Final = 8  # tiles whose leaves are hashed


@dataclass(frozen=True, slots=True)
class TargetTile:
    """Up to 256 leaves: their keys and digests, one after the other."""

    number: int
    keys: bytes
    digests: bytes

    @property
    def leaves(self) -> list[bytes]:
        """The leaf hashes."""
        return list(map(target_leaf, split_hashes(self.keys), split_hashes(self.digests)))

    @property
    def root(self) -> bytes:
        """The root over these leaves alone."""
        return tree.list_root(self.leaves)


def root_of(roots: bytes) -> bytes:
    """Returns the root over the roots of all tiles. An incomplete tile is a subtree of its own, at the right end."""
    return tree.list_root(split_hashes(roots)) if roots else sha256().digest()


class SortedTree:
    """The hashes of a tree.

    :param roots: those of its tiles.
    :param tile: returns the tile of a number.
    """

    def __init__(self, size: int, roots: bytes, tile: Callable[[int], TargetTile]) -> None:
        self.size = size
        self._roots = split_hashes(roots)

        @lru_cache(CACHED)
        def hashes(number: int) -> list[bytes]:
            return tile(number).leaves

        self._hashes = hashes

    def node(self, level: int, number: int) -> bytes:
        """Returns the hash of the complete subtree of ``2**level`` leaves from leaf ``number << level``."""
        if level >= HEIGHT:
            first = number << (level - HEIGHT)
            return tree.complete_root(self._roots[first : first + (1 << (level - HEIGHT))])
        tile, offset = divmod(number << level, WIDTH)
        return tree.complete_root(self._hashes(tile)[offset : offset + (1 << level)])

    def proof(self, position: int) -> list[bytes]:
        """Returns the inclusion proof of a leaf."""
        return tree.inclusion_proof(position, self.size, self.node)
