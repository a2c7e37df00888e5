"""Pages of the log: the events that a query finds, the newest first, and their number."""

from dataclasses import dataclass

from pgaudit._reading import Steps, run, run_async
from pgaudit.trail.bounded import LARGEST_PAGE, Stop, search_bounded, start_search
from pgaudit.trail.entry import Entry
from pgaudit.trail.page_cursor import NEWEST, Cursor
from pgaudit.trail.query import Query, as_query
from pgaudit.trail.spans import ALL


@dataclass(frozen=True, slots=True)
class Page:
    """Events, the newest first. ``next`` is the cursor of older ones, ``previous`` of newer ones, if there are any.

    ``stopped`` says how far a search has looked that no index serves, and that has not filled the page; ``next``, or
    ``previous`` when the page was asked for by that, goes on there.
    """

    entries: list[Entry]
    next: str | None
    previous: str | None
    stopped: Stop | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many events a query finds; at least that many, unless it is exact."""

    number: int
    exact: bool


def search(
    conn: object, query: Query | str = "", after: str | None = None, limit: int = 50, scope: Query | None = None
) -> Page:
    """Returns a page of the events that a query finds.

    >>> page = trail.search(conn, "action:claim.* target:claim:7")
    >>> older = trail.search(conn, "action:claim.* target:claim:7", after=page.next) if page.next else None

    :param after: the cursor of a page that was returned before; the newest events without one.
    :param limit: the most events to return, up to 1,000.
    :param scope: an additional condition, such as the tenants that a user may see.
    :raises InvalidQuery: the query or the cursor cannot be understood.
    """
    return run(conn, page_of(as_query(query) & (scope or Query()), cursor_of(after), valid_limit(limit)))


async def search_async(
    conn: object, query: Query | str = "", after: str | None = None, limit: int = 50, scope: Query | None = None
) -> Page:
    """``search`` for an asynchronous connection."""
    return await run_async(conn, page_of(as_query(query) & (scope or Query()), cursor_of(after), valid_limit(limit)))


def count(conn: object, query: Query | str, most: int = 1_000, scope: Query | None = None) -> Count:
    """Returns how many events a query finds, counting up to ``most`` and never through the whole log."""
    return run(conn, count_of(as_query(query) & (scope or Query()), most))


def cursor_of(after: str | None) -> Cursor:
    """Returns where the page begins."""
    return NEWEST if after is None else Cursor.parse(after)


def valid_limit(limit: int) -> int:
    """Returns the limit.

    :raises ValueError: no page has that size.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        raise ValueError(f"a page has 1 to {LARGEST_PAGE:,} events, not {limit}")
    return limit


def page_of(query: Query, cursor: Cursor, limit: int) -> Steps[Page]:
    """Finds the page at a cursor."""
    down = cursor.side == "before"
    looking = yield from start_search(query, cursor.span, down=down, reads_entries=True)
    looks, stop = yield from search_bounded(looking, limit + 1)
    found = [entry for look in looks for entry in look.entries]
    more = found[limit - 1].index if len(found) > limit else stop.index if stop else None
    page = older_page if down else newer_page
    return page(cursor, found[:limit][:: 1 if down else -1], more, stop if len(found) <= limit else None)


def older_page(cursor: Cursor, entries: list[Entry], more: int | None, stop: Stop | None) -> Page:
    """Returns a page that was searched from its newest event down; ``more`` is the index at which it ends."""
    newest = entries[0].index if entries else cursor.index - 1
    previous = None if cursor == NEWEST else str(Cursor("after", newest))
    return Page(entries, None if more is None else str(Cursor("before", more)), previous, stop)


def newer_page(cursor: Cursor, entries: list[Entry], more: int | None, stop: Stop | None) -> Page:
    """Returns a page that was searched from its oldest event up; ``more`` is the index at which it ends."""
    oldest = entries[-1].index if entries else cursor.index + 1
    return Page(entries, str(Cursor("before", oldest)), None if more is None else str(Cursor("after", more)), stop)


def count_of(query: Query, most: int) -> Steps[Count]:
    """Counts what a bounded search finds."""
    looking = yield from start_search(query, ALL, down=True)
    looks, stop = yield from search_bounded(looking, most + 1)
    number = sum(len(look.found) for look in looks)
    return Count(min(number, most), exact=number <= most and stop is None)
