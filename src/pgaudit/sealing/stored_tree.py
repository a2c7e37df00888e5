"""The tree in the database: reading its hashes, and adding the tiles of events that were appended since."""

from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row, tuple_row

from pgaudit._driver import fetch
from pgaudit.errors import LogDamaged
from pgaudit.sealing import tree
from pgaudit.sealing.notes import Checkpoint, Note
from pgaudit.sealing.tiles import HEIGHT, TILE_BYTES, WIDTH, Tile, TiledTree, partial_widths
from pgaudit.sealing.tree import HASH_SIZE

Connection = psycopg.Connection[Any]

PORTION: Final = 64  # tiles of level 0 that one transaction adds: 16,384 events
CACHED: Final = 1_024  # tiles, of 8 KiB
SIZES: Final = """
    SELECT (SELECT size FROM pgaudit.log_head),
           coalesce((SELECT max(number) + 1 FROM pgaudit.tile WHERE level = %(level)s), 0)
"""
# What was detached is no longer in the log.
BEGINNING: Final = "SELECT coalesce(min(first_index), 0) FROM pgaudit.log_partitions()"
LEAVES: Final = "SELECT pgaudit.leaf_hashes(%(first)s, %(end)s)"
ROOTS: Final = """
    SELECT coalesce(string_agg(root, '' ORDER BY number), '') FROM pgaudit.tile
     WHERE level = %(level)s AND number >= %(first)s AND number < %(end)s
"""
TILE: Final = "SELECT hashes FROM pgaudit.tile WHERE level = %(level)s AND number = %(number)s"
ADD: Final = "SELECT pgaudit.add_tiles(%(level)s::smallint, %(first)s, %(hashes)s::bytea[], %(roots)s::bytea[])"


def size_of_log(conn: Connection) -> int:
    """Returns how many events the log has."""
    ((size, _),) = fetch(conn, tuple_row, SIZES, {"level": 0})
    return int(size)


def beginning_of_log(conn: Connection) -> int:
    """Returns the first index that the log still has."""
    beginning: int
    (beginning,) = fetch(conn, scalar_row, BEGINNING)
    return beginning


def complete_tiles(conn: Connection, level: int) -> int:
    """Returns how many tiles a level has."""
    ((_, count),) = fetch(conn, tuple_row, SIZES, {"level": level})
    return int(count)


def leaf_hashes(conn: Connection, first: int, end: int) -> bytes:
    """Returns the leaf hashes of a range of the log.

    :raises LogDamaged: rows are missing.
    """
    hashes: bytes
    (hashes,) = fetch(conn, scalar_row, LEAVES, {"first": first, "end": end})
    if len(hashes) != (end - first) * HASH_SIZE:
        missing = end - first - len(hashes) // HASH_SIZE
        raise LogDamaged(f"{missing:,} of the events {first:,} to {end - 1:,} are missing from the log")
    return hashes


def roots(conn: Connection, level: int, first: int, end: int) -> bytes:
    """Returns the roots of tiles, one after the other.

    :raises LogDamaged: tiles are missing.
    """
    found: bytes
    (found,) = fetch(conn, scalar_row, ROOTS, {"level": level, "first": first, "end": end})
    if len(found) != (end - first) * HASH_SIZE:
        raise LogDamaged(f"tiles of level {level} are missing between {first:,} and {end:,}")
    return found


def extend(conn: Connection) -> int | None:
    """Adds tiles of the events that have none yet. Returns the size of the log that now has all its tiles.

    :returns: None if there are more to add: a transaction adds no more than a portion.
    :raises LogDamaged: rows or tiles are missing.
    """
    size, count = size_of_log(conn), complete_tiles(conn, 0)
    end = min(size // WIDTH, count + PORTION)
    if end > count:
        add(conn, 0, count, leaf_hashes(conn, count * WIDTH, end * WIDTH))
    level = 1
    while (below := complete_tiles(conn, level - 1)) >= WIDTH:
        count = complete_tiles(conn, level)
        if below // WIDTH > count:
            add(conn, level, count, roots(conn, level - 1, count * WIDTH, below // WIDTH * WIDTH))
        level += 1
    return size if end == size // WIDTH else None


def add(conn: Connection, level: int, first: int, hashes: bytes) -> None:
    """Adds the tiles with these hashes to a level."""
    parts = [hashes[start : start + TILE_BYTES] for start in range(0, len(hashes), TILE_BYTES)]
    tiles = [Tile.of(level, first + number, part) for number, part in enumerate(parts)]
    given = {"hashes": [tile.hashes for tile in tiles], "roots": [tile.root for tile in tiles]}
    fetch(conn, tuple_row, ADD, {"level": level, "first": first, **given})


def tree_of(conn: Connection, size: int) -> TiledTree:
    """Returns the tree of the first ``size`` events, all of whose complete tiles are stored. It reads as it is asked.

    :raises LogDamaged: tiles or rows are missing.
    """

    @lru_cache(CACHED)
    def tile(level: int, number: int) -> bytes:
        found: list[bytes] = fetch(conn, scalar_row, TILE, {"level": level, "number": number})
        if not found:
            raise LogDamaged(f"tile {number:,} of level {level} is missing")
        return found[0]

    partials: list[bytes] = []
    for level, width in enumerate(partial_widths(size)):
        end = size >> HEIGHT * level
        partials.append(roots(conn, level - 1, end - width, end) if level else leaf_hashes(conn, end - width, end))
    return TiledTree(size, tile, partials)


def signed_tree(conn: Connection, note: Note) -> TiledTree:
    """Returns the tree of a checkpoint.

    :raises LogDamaged: the tree in the database is another one.
    """
    checkpoint = Checkpoint.parse(note.text)
    tiled = tree_of(conn, checkpoint.size)
    if tree.root(checkpoint.size, tiled.node) != checkpoint.root:
        raise LogDamaged(
            f"the tree of the first {checkpoint.size:,} events is not the one that was signed: run `pgaudit verify`"
        )
    return tiled
