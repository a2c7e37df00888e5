"""The right edge of a tree that grows: what is needed to compute its root at each size."""

from collections.abc import Sequence

from pgaudit.sealing.tiles import WIDTH, Tile, TiledTree, split_hashes
from pgaudit.sealing.tree import list_root


class Frontier:
    """A tree of complete tiles, to which further ones are added.

    :param tree: the tree to begin with; its size is a multiple of 256. Nothing by default.
    """

    def __init__(self, tree: TiledTree | None = None) -> None:
        self.size = tree.size if tree else 0
        # The hashes of the incomplete tile of each level above the leaves.
        self._levels = [split_hashes(hashes) for hashes in tree.partials[1:]] if tree else []

    def add(self, tile: Tile) -> list[Tile]:
        """Adds the next complete tile of leaves. Returns the tiles of higher levels that it completes."""
        self.size += WIDTH
        made: list[Tile] = []
        level, root = 1, tile.root
        while True:
            if len(self._levels) < level:
                self._levels.append([])
            hashes = self._levels[level - 1]
            hashes.append(root)
            if len(hashes) < WIDTH:
                return made
            made.append(Tile.of(level, (self.size >> 8 * (level + 1)) - 1, b"".join(hashes)))
            root = made[-1].root
            self._levels[level - 1] = []
            level += 1

    def root(self, rest: Sequence[bytes] = ()) -> bytes | None:
        """Returns the root of the tree with some more leaves, fewer than 256; None if it has no leaf at all."""
        root = list_root(rest) if rest else None
        for level in self._levels:
            hashes = [*level, root] if root else level
            root = list_root(hashes) if hashes else root
        return root
