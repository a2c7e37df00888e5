"""Verifies a log from its rows: reads it once, in the order of its tiles."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import SystemRandom
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row, tuple_row

from pgaudit._driver import fetch
from pgaudit.sealing import stored_tree
from pgaudit.sealing.levels import Level
from pgaudit.sealing.tiles import WIDTH, Tile, split_hashes
from pgaudit.sealing.tree import HASH_SIZE
from pgaudit.sealing.verify.ahead import Computed, Sample, read_ahead, tiles_of
from pgaudit.sealing.verify.comparing import Comparison
from pgaudit.sealing.verify.findings import Finding, Verification
from pgaudit.sealing.verify.frontier import Frontier
from pgaudit.sealing.verify.promises import Promise, Trusted, beyond, broken, stored

NEWEST: Final = "SELECT coalesce(max(size), 0) FROM pgaudit.checkpoint"
ENDS: Final = "SELECT head, rows, tiled FROM pgaudit.log_ends()"
TILES: Final = """
    SELECT number, hashes, root FROM pgaudit.tile WHERE level = 0 AND number >= %(first)s AND number < %(end)s
"""
CACHED: Final = 256  # tiles
STORED: Final = "SELECT hashes, root FROM pgaudit.tile WHERE level = %(level)s AND number = %(number)s"


class Walk:
    """One pass over the log, from an index that is a multiple of 256.

    :param helpers: further connections, which compute hashes ahead.
    :param promises: checkpoints that were kept elsewhere, in any order; those of the database are read on the way.
    :param progress: is called with the number of events that were verified, and of those in all.
    :param percent: how much of the sealed events is compared, in tiles that are chosen at random.
    """

    def __init__(  # noqa: PLR0913 - those of ``verify``
        self,
        conn: psycopg.Connection[Any],
        first: int,
        trusted: Trusted,
        promises: Sequence[Promise],
        *,
        helpers: Sequence[psycopg.Connection[Any]] = (),
        progress: Callable[[int, int], None] = lambda _done, _all: None,
        percent: float = 100,
    ) -> None:
        (self._newest,) = fetch(conn, scalar_row, NEWEST)  # before the ends: no checkpoint is larger than the log
        ((head, rows, sealed),) = fetch(conn, tuple_row, ENDS)
        self.result = Verification(first, max(head, rows), sealed=min(sealed, max(head, rows)))
        self._conn, self._helpers = conn, helpers
        self._head, self._rows, self._sealed = head, rows, sealed
        self._trusted = trusted
        self._kept_elsewhere = sorted(promises, key=size_of)
        self._due: list[Promise] = []
        self._progress = progress
        self._frontier = Frontier(stored_tree.tree_of(conn, first) if first else None)
        self._comparison = Comparison(conn, self._leaf)
        self._kept: dict[str, int] = {}  # by source: what a thief of the key has signed says nothing about an anchor
        self._sample = sample_of(self.result, percent)
        self._tile = lru_cache(CACHED)(self._read_tile)

    def run(self) -> Verification:
        """Returns what was found."""
        first, end = self.result.first, self.result.end
        for portion, computed in read_ahead(self._conn, self._helpers, first, end, self._sample):
            self._portion(portion, computed)
            self._progress(portion.stop - first, end - first)
        self._check_end()
        return self.result

    def _portion(self, portion: range, computed: list[Computed]) -> None:
        """Verifies some events."""
        numbers = tiles_of(portion)
        self._due = self._promises(portion.start, portion.stop)
        rows = fetch(self._conn, tuple_row, TILES, {"first": numbers.start, "end": numbers.stop})
        tiles = {number: Tile(0, number, hashes, root) for number, hashes, root in rows}
        found = {each.number: each for each in computed}
        for number in numbers:
            end = min(portion.stop, (number + 1) * WIDTH)
            is_chosen = self._sample is None or number in self._sample
            hashes = self._compare(number, found.get(number), tiles.get(number), end) if is_chosen else b""
            self._follow(number, tiles.get(number), hashes, end)

    def _compare(self, number: int, computed: Computed | None, tile: Tile | None, end: int) -> bytes:
        """Compares the events of one tile with what was sealed. Returns what they hash to."""
        first = number * WIDTH
        hashes = computed.hashes if computed else b""
        self.result.compared += computed.events if computed else 0
        is_whole = computed is not None and computed.events == end - first
        is_same = tile is None or tile.hashes == hashes
        if not is_whole or not is_same or (computed and computed.altered) or self._comparison.is_shifted:
            self.result.add(*self._comparison.findings(first, end))
        if computed and computed.drifted:
            self.result.add(*self._comparison.drift(first, end))
        return hashes

    def _follow(self, number: int, tile: Tile | None, hashes: bytes, end: int) -> None:
        """Adds one tile to the tree, and checks the promises about sizes within it."""
        first = number * WIDTH
        if tile is None and first < self._sealed:
            self.result.add(Finding("missing", f"tile {number:,} of level 0 is missing", first))
        sealed = tile.hashes if tile else hashes
        self._check_promises(first, end, sealed)
        if tile:
            self._check_tile(tile)
        elif len(sealed) == WIDTH * HASH_SIZE:
            self._frontier.add(Tile.of(0, number, sealed))

    def _check_tile(self, tile: Tile) -> None:
        """Checks the root of a tile, and the tiles of higher levels that it completes."""
        made = Tile.of(0, tile.number, tile.hashes)
        higher = self._frontier.add(made)
        wrong = [each for each in higher if self._tile(each.level, each.number) != each]
        if made.root != tile.root:
            wrong.insert(0, made)
        for each in wrong:
            message = f"tile {each.number:,} of level {each.level} does not match the tiles below it"
            self.result.add(Finding("altered", message, tile.number * WIDTH))

    def _promises(self, first: int, end: int) -> list[Promise]:
        """Returns the checkpoints of sizes in ``(first, end]``, from everywhere, the smallest first."""
        here, wrong = stored(self._conn, self._trusted, first, end)
        self.result.add(*wrong)
        elsewhere = between(self._kept_elsewhere, first, end)
        return sorted([*here, *elsewhere], key=size_of) if elsewhere else here

    def _check_promises(self, first: int, end: int, hashes: bytes) -> None:
        """Checks the checkpoints of sizes in ``(first, end]``."""
        for promise in between(self._due, first, end):
            size = promise.checkpoint.size
            last_kept = self._kept.get(promise.source, self.result.first)
            root = self._frontier.root(split_hashes(hashes[: (size - first) * HASH_SIZE]))
            found = broken(promise, root, last_kept)
            if found:
                self.result.add(found)
                continue
            self._kept[promise.source] = size
            self.result.checkpoints += not promise.is_foreign
            self.result.anchored += promise.is_foreign
            self.result.sealed = max(self.result.sealed, size)
            self.result.reach(promise.level, size)

    def _check_end(self) -> None:
        """Checks that the log ends where it says, and where it was said to end."""
        last = max([self._newest, *map(size_of, self._kept_elsewhere[-1:])])
        for promise in self._promises(self.result.end, last):
            self.result.add(beyond(promise, self.result.end))
        if self._sealed > self.result.end:
            message = f"the log has {self.result.end:,} events, and the tiles cover {self._sealed:,}"
            self.result.add(Finding("truncated", message, self.result.end))
        if self._rows > self._head:
            message = f"rows from index {self._head:,} on were not appended by a worker"
            self.result.add(Finding("inserted", message, self._head))
        if self.result.end > self.result.first:
            self.result.reach(Level.HASHED, self.result.end)
            if self.result.sealed:
                self.result.reach(Level.SEALED, self.result.sealed)

    def _leaf(self, index: int) -> bytes | None:
        """Returns the sealed leaf with an index; None if no tile has it."""
        if not 0 <= index < self._sealed:
            return None
        tile = self._tile(0, index // WIDTH)
        start = index % WIDTH * HASH_SIZE
        return tile.hashes[start : start + HASH_SIZE] if tile else None

    def _read_tile(self, level: int, number: int) -> Tile | None:
        """Returns a stored tile; None if it is missing."""
        found = fetch(self._conn, tuple_row, STORED, {"level": level, "number": number})
        return Tile(level, number, *found[0]) if found else None


def size_of(promise: Promise) -> int:
    """Returns the size of the log that a checkpoint is about."""
    return promise.checkpoint.size


def between(promises: Sequence[Promise], first: int, end: int) -> Sequence[Promise]:
    """Returns those of sizes in ``(first, end]``; they are sorted by size."""
    return promises[bisect_right(promises, first, key=size_of) : bisect_right(promises, end, key=size_of)]


def sample_of(result: Verification, percent: float) -> Sample:
    """Returns the tiles to be compared: some of the sealed ones, at least one, and all that no tile covers yet."""
    if percent >= 100:  # noqa: PLR2004 - all of them
        return None
    first, sealed, last = result.first // WIDTH, result.sealed // WIDTH, -(-result.end // WIDTH)
    complete = range(first, max(first, sealed))
    chosen = SystemRandom().sample(complete, min(len(complete), max(1, round(len(complete) * percent / 100))))
    return frozenset(chosen) | frozenset(range(complete.stop, last))
