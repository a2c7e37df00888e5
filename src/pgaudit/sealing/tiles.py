"""Tiles: the hashes of the tree as C2SP ``tlog-tiles`` stores them, 256 of one level at a time.

A tile of level 0 holds 256 leaf hashes; one of level 1 the roots of 256 tiles of level 0, and so on. Only complete
tiles are stored: they never change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pgaudit.sealing.tree import HASH_SIZE, complete_root

WIDTH: Final = 256  # hashes of a tile
HEIGHT: Final = 8  # levels of the tree in a tile
TILE_BYTES: Final = WIDTH * HASH_SIZE


@dataclass(frozen=True, slots=True)
class Tile:
    """A complete tile: its hashes, one after the other, and their root, which is one hash of the level above."""

    level: int
    number: int
    hashes: bytes
    root: bytes

    @classmethod
    def of(cls, level: int, number: int, hashes: bytes) -> "Tile":
        """Returns the tile with these hashes.

        :raises ValueError: there are not 256 of them.
        """
        if len(hashes) != TILE_BYTES:
            raise ValueError(f"a tile has {WIDTH} hashes, not {len(hashes) / HASH_SIZE:g}")
        return cls(level, number, hashes, complete_root(split_hashes(hashes)))


def split_hashes(hashes: bytes) -> list[bytes]:
    """Returns the single hashes."""
    return [hashes[first : first + HASH_SIZE] for first in range(0, len(hashes), HASH_SIZE)]


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """Returns the path of a tile in a log directory; below 256 hashes, of a partial one.

    >>> tile_path(0, 1234067)
    'tile/0/x001/x234/067'
    >>> tile_path(1, 5, 17)
    'tile/1/005.p/17'
    """
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:  # noqa: PLR2004 - the format writes numbers in groups of three digits
        number //= 1000
        groups.insert(0, f"x{number % 1000:03d}")
    partial = f".p/{width}" if width < WIDTH else ""
    return f"tile/{level}/{'/'.join(groups)}{partial}"


def partial_widths(size: int) -> list[int]:
    """Returns how many hashes the last, incomplete tile of each level has in a tree of that size; 0 for none.

    >>> partial_widths(70_000)
    [112, 17, 1]
    """
    widths: list[int] = []
    while size:
        widths.append(size % WIDTH)
        size //= WIDTH
    return widths


class TiledTree:
    """The hashes of a tree of ``size`` leaves.

    :param tile: returns the hashes of a complete tile, for its level and number.
    :param partials: the hashes of the incomplete tile of each level, which may be empty.
    """

    def __init__(self, size: int, tile: Callable[[int, int], bytes], partials: Sequence[bytes]) -> None:
        widths = [len(hashes) // HASH_SIZE for hashes in partials]
        if widths != partial_widths(size):
            raise ValueError(f"the incomplete tiles of {size:,} leaves have not {widths} hashes")
        self.size = size
        self.partials = partials
        self._tile = tile

    def node(self, level: int, number: int) -> bytes:
        """Returns the hash of the complete subtree of ``2**level`` leaves from leaf ``number << level``."""
        tile_level, height = divmod(level, HEIGHT)
        tile, offset = divmod(number << height, WIDTH)
        hashes = self.hashes(tile_level, tile)
        return complete_root(split_hashes(hashes[offset * HASH_SIZE : (offset + (1 << height)) * HASH_SIZE]))

    def hashes(self, level: int, number: int) -> bytes:
        """Returns the hashes of a tile; the last one of a level may have fewer than 256."""
        is_complete = number < (self.size >> HEIGHT * level) // WIDTH
        return self._tile(level, number) if is_complete else self.partials[level]
