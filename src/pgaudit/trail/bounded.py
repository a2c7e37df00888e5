"""Searches that read a bounded number of rows, and say how far they have looked."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pgaudit._reading import Statement, Steps
from pgaudit.indexes.catalog import CHOSEN_NAMES
from pgaudit.trail.fields import path_of
from pgaudit.trail.looks import Look, Search
from pgaudit.trail.query import Query
from pgaudit.trail.spans import spans_of

MOST_EXAMINED: Final = 100_000  # rows, for one page
MOST_SPANS: Final = 6  # for one page: 21 partitions, of 200 million events by default
LARGEST_PAGE: Final = 1_000
RECORDED: Final = "SELECT recorded_at FROM pgaudit.audit_log WHERE index = %(index)s"


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a search stopped before its page was full: ``examined`` rows were read, back to ``recorded_at``."""

    index: int
    recorded_at: datetime | None
    examined: int


def start_search(query: Query, span: range, *, down: bool, reads_entries: bool = False) -> Steps[Search]:
    """Prepares a search through a part of the log.

    :param reads_entries: whether its looks return the events, and not only their indexes.
    """
    spans = yield from spans_of(query, span, down=down)
    chosen = [name for (name,) in (yield Statement(CHOSEN_NAMES))] if any(path_of(t.field) for t in query.terms) else []
    return Search(query, spans, chosen, down=down, reads_entries=reads_entries)


def search_bounded(looking: Search, wanted: int) -> Steps[tuple[list[Look], Stop | None]]:
    """Looks for ``wanted`` events; the Stop says where the search ended at its limit of rows or spans.

    The last look may have found more than are wanted, if the search does not read the events.
    """
    looks: list[Look] = []
    found = examined = spans = 0
    while found < wanted and not looking.is_finished:
        if examined >= MOST_EXAMINED or spans >= MOST_SPANS:
            rows = yield Statement(RECORDED, {"index": looking.position})
            return looks, Stop(looking.position, rows[0][0].astimezone(UTC) if rows else None, examined)
        look = yield from looking.look(wanted - found, MOST_EXAMINED - examined)
        looks.append(look)
        found += len(look.found)
        examined += look.examined
        spans += look.ends_span
    return looks, None
