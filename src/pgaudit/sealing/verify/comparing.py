"""Compares the events of the log with the leaves that were sealed, and names what differs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row, tuple_row

from pgaudit._driver import fetch
from pgaudit.sealing.tiles import WIDTH
from pgaudit.sealing.verify.findings import Finding

HASHES: Final = "SELECT * FROM pgaudit.stored_hashes(%(first)s, %(end)s)"
DRIFT: Final = """
    SELECT index, string_agg(column_name, ', ') FROM pgaudit.column_drift(%(first)s, %(end)s)
     WHERE column_name <> 'leaf_hash' GROUP BY index ORDER BY index
"""
Leaf = Callable[[int], bytes | None]


@dataclass(frozen=True, slots=True)
class Stored:
    """The hashes of one event, and the index under which its id was appended."""

    index: int
    event_id: UUID
    stored: bytes
    computed: bytes
    appended_as: int | None


class Comparison:
    """Compares one part of the log after the other, from its beginning.

    :param leaf: returns the sealed leaf with an index; None if there is none.
    """

    def __init__(self, conn: psycopg.Connection[Any], leaf: Leaf) -> None:
        self._conn = conn
        self._leaf = leaf
        self._shift = 0  # how many events more, or fewer, the log has up to here than were sealed

    @property
    def is_shifted(self) -> bool:
        """Whether events stand at other places than they were sealed at, since one was inserted or removed."""
        return self._shift != 0

    def findings(self, first: int, end: int) -> Iterator[Finding]:
        """Yields what differs in ``[first, end)``."""
        rows = fetch(self._conn, class_row(Stored), HASHES, {"first": first, "end": end + 1})
        found = {row.index: row for row in rows}
        yield from missing(first, end, sorted(found.keys() - {end}))
        for row in rows:
            if row.index < end:
                yield from self._of_row(row, found.get(row.index + 1))

    def drift(self, first: int, end: int) -> Iterator[Finding]:
        """Yields the events with a column that differs from the event."""
        for index, columns in fetch(self._conn, tuple_row, DRIFT, {"first": first, "end": end}):
            yield Finding("column_drift", f"{columns} of event {index:,} differs from the event", index)

    def _of_row(self, row: Stored, following: Stored | None) -> Iterator[Finding]:
        """Yields what is wrong with one event."""
        sealed = self._sealed(row)
        if sealed in (None, row.computed):
            if row.stored != row.computed:
                yield altered(row, "its hash is not that of its content")
        elif row.stored == sealed or row.stored != row.computed:
            yield altered(row, "its content is not what was sealed")
        elif row.computed == self._sealed(row, 1) and following_is(following, self._sealed(row, 2)):
            place = row.index - self._shift
            yield Finding("missing", f"the event that was sealed as {place:,} is gone; later ones moved up", row.index)
            self._shift -= 1
        elif following is not None and following_is(following, sealed) and row.computed != self._sealed(row, 1):
            self._shift += 1
            yield Finding(
                "inserted", f"event {row.index:,} was never sealed; later ones moved", row.index, row.event_id
            )
        elif (elsewhere := self._place_of(row)) is not None:
            message = f"event {row.index:,} was sealed as {elsewhere:,}"
            yield Finding("reordered", message, row.index, row.event_id)
        else:
            yield altered(row, "its content and its hash are not what was sealed")

    def _sealed(self, row: Stored, further: int = 0) -> bytes | None:
        """Returns the leaf that was sealed where a row should stand, or that many places further."""
        return self._leaf(row.index - self._shift + further)

    def _place_of(self, row: Stored) -> int | None:
        """Returns where the content of a row was sealed: near it, or where its id was appended."""
        first = (row.index - self._shift) // WIDTH * WIDTH
        places = [*range(first, first + WIDTH), *([] if row.appended_as is None else [row.appended_as])]
        return next((place for place in places if self._leaf(place) == row.computed), None)


def following_is(following: Stored | None, sealed: bytes | None) -> bool:
    """Returns whether the next event is the sealed one; or there is none."""
    return following is None or following.computed == sealed


def altered(row: Stored, why: str) -> Finding:
    """Returns the finding of a changed event."""
    return Finding("altered", f"event {row.index:,} was altered: {why}", row.index, row.event_id)


def missing(first: int, end: int, indexes: Sequence[int]) -> Iterator[Finding]:
    """Yields each gap between the indexes of a range."""
    for before, after in zip([first - 1, *indexes], [*indexes, end], strict=True):
        if after - before > 1:
            yield gap(before + 1, after)


def gap(first: int, end: int) -> Finding:
    """Returns the finding of a range without events."""
    which = f"event {first:,} is" if end - first == 1 else f"events {first:,} to {end - 1:,} are"
    return Finding("missing", f"{which} missing from the log", first)
