"""Where the events of receipts are: in the queue, in the log, acknowledged, or noted as sightings."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import tuple_row

from pgaudit.sealing.reconcile.filter import Filter
from pgaudit.sealing.reconcile.receipts import HASH_BYTES, Receipt

CHUNK: Final = 50_000  # rows of the log that a statement reads
# An event is in the log near others that were recorded at the same time, unless it was retried.
NEAR: Final = timedelta(seconds=10)

# In the order of an event's life. Each says of what it finds whether the event still is what its hash says.
PLACES: Final[tuple[tuple[str, LiteralString], ...]] = (
    ("queue", "SELECT leaf_hash, leaf_hash = pgaudit.leaf_hash(event) FROM pgaudit.audit_jobs WHERE leaf_hash IN "),
    (
        "acknowledged",
        "SELECT leaf_hash, leaf_hash = pgaudit.leaf_hash(event) FROM pgaudit.acknowledged_jobs WHERE leaf_hash IN ",
    ),
    ("sighted", "SELECT leaf_hash, true FROM pgaudit.event_sighting WHERE leaf_hash IN "),
)
# The hashes come as one value: an array of them takes the client ten times as long.
GIVEN: Final = """(
    SELECT substr(hashes, at, 32)
      FROM (SELECT %s::bytea AS hashes) given, generate_series(1, octet_length(hashes), 32) at)
"""
FIRST_RECORDED: Final = "SELECT oldest_recorded FROM pgaudit.batch ORDER BY first_index LIMIT 1"
SIZE: Final = "SELECT size FROM pgaudit.log_head"
FIRST_INDEX: Final = """
    SELECT first_index FROM pgaudit.batch WHERE recorded_until >= %s ORDER BY recorded_until, first_index LIMIT 1
"""
HASHES: Final = """
    SELECT coalesce(string_agg(leaf_hash, ''), ''), min(recorded_at) FROM pgaudit.audit_log
     WHERE index >= %s AND index < %s
"""
RANGES: Final = "SELECT first_index, end_index FROM pgaudit.index_ranges(%s, %s)"
RECORDED: Final = """
    SELECT index, leaf_hash FROM pgaudit.audit_log
     WHERE index >= %s AND index < %s AND recorded_at BETWEEN %s AND %s ORDER BY index
"""


@dataclass(slots=True)
class Lookup:
    """Looks for the events of receipts, and counts what it finds by place."""

    conn: psycopg.Connection[Any]
    found: Counter[str] = field(default_factory=Counter[str])
    altered: list[Receipt] = field(default_factory=list[Receipt])  # whose event is there, and is another one

    def without_found(self, receipts: Iterable[Receipt], *, near: bool) -> list[Receipt]:
        """Returns the receipts whose events are in none of the places.

        :param near: look in the log only where events recorded at that time usually are
        """
        missing: dict[bytes, list[Receipt]] = {}
        for receipt in receipts:
            missing.setdefault(receipt.leaf_hash, []).append(receipt)
        if near:
            self._look_near(missing)
            self._look_in_places(missing)
        else:  # the queue first: an event that leaves it meanwhile is in the log then
            self._look_in_places(missing)
            self._look_in_log(missing, 0, None)
        return [receipt for same in missing.values() for receipt in same]

    def without_receipt(self, seen: Filter, since: datetime, until: datetime) -> Iterator[tuple[int, bytes]]:
        """Yields index and hash of the events that were recorded between two times and are not among the receipts."""
        for begin, end in self._rows(RANGES, since, until):
            for first in range(begin, end, CHUNK):
                rows = self._rows(RECORDED, first, min(first + CHUNK, end), since, until)
                yield from ((index, leaf_hash) for index, leaf_hash in rows if leaf_hash not in seen)

    def log_begins(self) -> datetime | None:
        """Returns when the first event of the log was recorded; None if it is empty."""
        rows = self._rows(FIRST_RECORDED)
        return rows[0][0] if rows else None

    def _look_in_places(self, missing: dict[bytes, list[Receipt]]) -> None:
        for place, query in PLACES:
            if not missing:
                return
            for leaf_hash, is_intact in self._rows(query + GIVEN, b"".join(missing)):
                receipts = missing.pop(leaf_hash, [])
                self.found[place] += len(receipts)
                if not is_intact:
                    self.altered += receipts

    def _look_near(self, missing: dict[bytes, list[Receipt]]) -> None:
        """Looks in the log from the time of the first of the receipts to the time of the last."""
        times = [receipt.committed_at for same in missing.values() for receipt in same]
        begin = self._rows(FIRST_INDEX, min(times) - NEAR)
        if begin:
            self._look_in_log(missing, begin[0][0], max(times) + NEAR)

    def _look_in_log(self, missing: dict[bytes, list[Receipt]], start: int, until: datetime | None) -> None:
        """Looks in the log from an index on, up to what was recorded after a time, or its end."""
        ((size,),) = self._rows(SIZE) if missing else ((0,),)
        for first in range(start, size, CHUNK):
            ((hashes, oldest),) = self._rows(HASHES, first, first + CHUNK)
            for at in range(0, len(hashes), HASH_BYTES):
                self.found["log"] += len(missing.pop(hashes[at : at + HASH_BYTES], ()))
            if not missing or (until and oldest and oldest > until):
                return

    def _rows(self, query: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.conn.cursor(row_factory=tuple_row, binary=True) as cursor:
            return cursor.execute(query, parameters).fetchall()
