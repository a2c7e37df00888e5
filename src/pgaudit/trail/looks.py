"""Looks through spans of the log for the events of a query, a bounded number of rows at a time."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pgaudit._reading import Steps
from pgaudit.trail.entry import Entry
from pgaudit.trail.query import Query
from pgaudit.trail.scans import WALK, Scan, document_terms, indexed_terms, scan_of
from pgaudit.trail.spans import Span
from pgaudit.trail.statements import fewest, look_at

# Rows of the first look, when other terms decide about each row; a further look has up to eight times as many.
FIRST_ROWS: Final = 500
GROWTH: Final = 8
MOST_ROWS: Final = 32_000
MARGIN: Final = 1.25
RARE: Final = 100  # matches are rare if at most one row of 100 matches


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has found: the indexes of matching events, in its direction. ``examined`` rows were read.

    ``entries`` are these events, in the same order, if the search reads them; then there are no more than were wanted.
    """

    found: list[int]
    entries: list[Entry]
    examined: int
    ends_span: bool


class Search:
    """A search through one span after the other, in one direction; it has looked up to the index ``position``."""

    def __init__(
        self, query: Query, spans: list[Span], chosen: Collection[str], *, down: bool, reads_entries: bool = False
    ) -> None:
        self._query = query
        self._spans = spans
        self._left: range = spans[0].indexes if spans else range(0)
        self._terms = indexed_terms(query, chosen)
        self._documents = document_terms(query, chosen)
        self._down = down
        self._reads_entries = reads_entries
        self._scan: Scan | None = None
        self._rows = FIRST_ROWS
        self._examined = 0
        self._found = 0
        self.position = 0

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to look through."""
        return not self._spans

    def look(self, wanted: int, budget: int) -> Steps[Look]:
        """Reads the next rows, as many as may hold ``wanted`` matches, and no more than the budget."""
        if self._scan is None:
            self._scan = yield from self._choose(self._spans[0])
        scan, left = self._scan, self._left
        most = self._most(scan, wanted, budget)
        given = wanted if self._reads_entries else None
        rows = yield look_at(scan, self._query, left, most, down=self._down, wanted=given)
        count, least, greatest = rows[0][:3]
        entries = [Entry.from_row(row[3:]) for row in rows if self._reads_entries and row[3] is not None]
        indexes = [entry.index for entry in entries] if self._reads_entries else rows[0][3] or ()
        found: list[int] = sorted(set(indexes), reverse=self._down)
        if self._reads_entries and len(found) == wanted:  # there may be more in these rows
            least = greatest = found[-1]
        elif count < most:
            least, greatest = left.start, left.stop - 1
        seen = range(least, left.stop) if self._down else range(left.start, greatest + 1)
        self._count(count, len(found))
        self._advance(seen)
        return Look(found, entries[:: -1 if self._down else 1], count * scan.width, ends_span=seen == left)

    def _choose(self, span: Span) -> Steps[Scan]:
        """Chooses the index that finds the fewest events of the span; the order of the log, if there is none."""
        scans: list[Scan] = []
        for term in self._terms:
            scan = yield from scan_of(term, span.partitions)
            if scan is not None:
                scans.append(scan)
        if len(scans) < 2:  # noqa: PLR2004 - no choice
            return scans[0] if scans else self._walk()
        best, are_few = yield from fewest(scans, span.indexes)
        if are_few and best.term:
            self._terms = [best.term]  # most probably in the next spans, too
        return best

    def _walk(self) -> Scan:
        """Returns the order of the log; an index of documents, if there is one and few of the rows so far match.

        That index has no order: it would find all matches of the span before the first page of them.
        """
        are_rare = self._examined > 0 and self._found * RARE <= self._examined
        return Scan(self._documents[0]) if self._documents and are_rare else WALK

    def _most(self, scan: Scan, wanted: int, budget: int) -> int:
        """Returns how many rows the next look reads: as many as are wanted, if each row matches."""
        others = [term for term in self._query.terms if term is not scan.term]
        rows = self._rows_for(wanted) if others else wanted
        return max(1, min(rows, budget // scan.width))

    def _rows_for(self, wanted: int) -> int:
        """Returns in how many rows that many matches are expected, by the rows so far."""
        if not self._found:
            return self._rows
        return min(self._rows, int(MARGIN * wanted * self._examined / self._found) + 1)

    def _count(self, examined: int, found: int) -> None:
        self._examined += examined
        self._found += found
        self._rows = min(self._rows * GROWTH, MOST_ROWS)

    def _advance(self, seen: range) -> None:
        """Moves behind the rows that were read: in the same span, or to the next one."""
        self.position = seen.start if self._down else seen.stop - 1
        if seen != self._left:
            self._scan = self._walk() if self._scan is WALK else self._scan
            self._left = range(self._left.start, seen.start) if self._down else range(seen.stop, self._left.stop)
            return
        self._scan = None
        self._spans = self._spans[1:]
        if self._spans:
            self._left = self._spans[0].indexes
