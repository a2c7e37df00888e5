"""What the database has of closed periods: their events, and the leaves of their trees."""

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg.rows import class_row, scalar_row

from pgaudit._driver import fetch
from pgaudit.errors import LogDamaged
from pgaudit.sealing.completeness.offline import day_after, first_day
from pgaudit.sealing.completeness.sorted_tree import SortedTree, TargetTile, root_of
from pgaudit.sealing.tiles import WIDTH, split_hashes
from pgaudit.sealing.tree import HASH_SIZE

Connection = psycopg.Connection[Any]

# Years, and the days behind them, whose event is in the first `size` events of the log.
SEALED: Final = """
    WITH sealed AS (
        SELECT p.period, p.first_index, p.end_index, p.targets, p.root, k.index
          FROM pgaudit.target_period p JOIN pgaudit.event_key k ON k.event_id = p.event_id
         WHERE k.index < %(size)s
    )
    SELECT * FROM sealed one
     WHERE length(period) = 4 OR NOT EXISTS (SELECT FROM sealed year WHERE year.period = left(one.period, 4))
     ORDER BY period
"""
EVENT: Final = "SELECT event::text FROM pgaudit.audit_log WHERE index = %(index)s"
ROOTS: Final = (
    "SELECT coalesce(string_agg(root, '' ORDER BY number), '') FROM pgaudit.target_tile WHERE period = %(period)s"
)
TILE: Final = "SELECT number, keys, digests FROM pgaudit.target_tile WHERE period = %(period)s AND number = %(number)s"
NUMBER: Final = """
    SELECT number FROM pgaudit.target_tile
     WHERE period = %(period)s AND first_key <= %(key)s ORDER BY first_key DESC LIMIT 1
"""
CACHED: Final = 8  # tiles, of 16 KiB


@dataclass(frozen=True, slots=True)
class Sealed:
    """A period, and the index of its event in the log."""

    period: str
    first_index: int
    end_index: int
    targets: int
    root: bytes
    index: int

    def follows(self, before: "Sealed | None") -> bool:
        """Returns whether no event and no day is between both."""
        if before is None:
            return self.first_index == 0
        return self.first_index == before.end_index and first_day(self.period) == day_after(before.period)


def sealed_periods(conn: Connection, size: int) -> list[Sealed]:
    """Returns the periods whose event is below ``size``, from the first event of the log on and without a gap."""
    found: list[Sealed] = []
    for period in fetch(conn, class_row(Sealed), SEALED, {"size": size}):
        if not period.follows(found[-1] if found else None):
            break
        found.append(period)
    return found


def event_text(conn: Connection, index: int) -> str:
    """Returns the exact text of an event.

    :raises LogDamaged: it is missing.
    """
    found: list[str] = fetch(conn, scalar_row, EVENT, {"index": index})
    if not found:
        raise LogDamaged(f"event {index:,} is missing from the log: run `pgaudit verify`")
    return found[0]


class StoredTree(SortedTree):
    """The tree of a period in the database. It reads as it is asked."""

    def __init__(self, conn: Connection, period: Sealed) -> None:
        @lru_cache(CACHED)
        def tile(number: int) -> TargetTile:
            given: dict[str, object] = {"period": period.period, "number": number}
            found = fetch(conn, class_row(TargetTile), TILE, given)
            if not found:
                raise LogDamaged(f"tile {number:,} of the targets of {period.period} is missing")
            return found[0]

        roots: bytes
        (roots,) = fetch(conn, scalar_row, ROOTS, {"period": period.period})
        super().__init__(period.targets, roots, tile)
        self._conn, self._period, self._leaves = conn, period.period, tile
        if len(roots) != -(-period.targets // WIDTH) * HASH_SIZE or root_of(roots) != period.root:
            raise LogDamaged(f"the targets of {period.period} in the database are not those that were sealed")

    def position(self, key: bytes) -> int:
        """Returns how many leaves stand before the key."""
        found: list[int] = fetch(self._conn, scalar_row, NUMBER, {"period": self._period, "key": key})
        return found[0] * WIDTH + bisect_left(split_hashes(self._leaves(found[0]).keys), key) if found else 0

    def leaf(self, position: int) -> tuple[bytes, bytes]:
        """Returns key and digest of a leaf."""
        number, offset = divmod(position, WIDTH)
        tile = self._leaves(number)
        return split_hashes(tile.keys)[offset], split_hashes(tile.digests)[offset]
