"""Reads the log onwards from an index, a bounded number of rows and bytes at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pgaudit._reading import Steps
from pgaudit.trail.bounded import LARGEST_PAGE, start_search
from pgaudit.trail.entry import Entry
from pgaudit.trail.query import Query
from pgaudit.trail.spans import ALL

MOST_EXAMINED: Final = 100_000  # rows of the log for one chunk: a rare match must not keep the position from moving


@dataclass(frozen=True, slots=True)
class Chunk:
    """The matching events from an index on. All events before ``next_index`` were looked at."""

    entries: Sequence[Entry]
    next_index: int
    is_full: bool

    def first(self, count: int) -> "Chunk":
        """Returns the chunk that ends with the ``count``-th event."""
        if count >= len(self.entries):
            return self
        kept = self.entries[:count]
        return Chunk(kept, kept[-1].index + 1 if kept else self.entries[0].index, is_full=True)


def read_chunk(query: Query, start: int, most_events: int, most_bytes: int, stop: int = ALL.stop) -> Steps[Chunk]:
    """Reads matching events from the index ``start`` on; one of them at least, however large it is.

    :param most_bytes: of the events' texts together.
    :param stop: the index before which it ends.
    """
    looking = yield from start_search(query, range(start, stop), down=False, reads_entries=True)
    entries: list[Entry] = []
    next_index, examined, size = start, 0, 0
    while not looking.is_finished and examined < MOST_EXAMINED:
        wanted = min(most_events - len(entries), LARGEST_PAGE)
        look = yield from looking.look(wanted, MOST_EXAMINED - examined)
        for entry in look.entries:
            size += len(entry.text)
            if entries and size > most_bytes:
                return Chunk(entries, entry.index, is_full=True)
            entries.append(entry)
        next_index, examined = looking.position + 1, examined + look.examined
        if len(entries) >= most_events:
            return Chunk(entries, entries[-1].index + 1, is_full=True)
    return Chunk(entries, max(next_index, start), is_full=not looking.is_finished)
