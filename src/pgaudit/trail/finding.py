"""Finds events: one by its index or id, those after an index, and all that a query finds."""

from collections.abc import Iterator
from uuid import UUID

from pgaudit._reading import Steps, run, run_async
from pgaudit.trail.bounded import LARGEST_PAGE, MOST_EXAMINED, search_bounded, start_search
from pgaudit.trail.entry import Entry
from pgaudit.trail.page_cursor import NEWEST
from pgaudit.trail.paging import page_of
from pgaudit.trail.query import Query, Term, as_query
from pgaudit.trail.spans import ALL


def find(conn: object, key: int | UUID, scope: Query | None = None) -> Entry | None:
    """Returns the event with that index or id; the first of several with one id. None if there is none."""
    return run(conn, entry_of(key, scope or Query()))


async def find_async(conn: object, key: int | UUID, scope: Query | None = None) -> Entry | None:
    """``find`` for an asynchronous connection."""
    return await run_async(conn, entry_of(key, scope or Query()))


def pages(
    conn: object,
    query: Query | str = "",
    span: range = ALL,
    newest: int | None = None,
    scope: Query | None = None,
) -> Iterator[list[Entry]]:
    """Yields all events that a query finds, in the order of the log, up to a thousand at a time.

    :param span: only events with an index in this range; all of the log by default.
    :param newest: the most events to yield; the newest are kept.
    """
    wanted = as_query(query) & (scope or Query())
    if newest is not None:
        span = range(max(span.start, run(conn, start_of_newest(wanted, span, newest))), span.stop)
    looking = run(conn, start_search(wanted, span, down=False, reads_entries=True))
    while not looking.is_finished:
        look = run(conn, looking.look(LARGEST_PAGE, MOST_EXAMINED))
        if look.entries:
            yield look.entries


def entries_after(index: int, limit: int) -> Steps[list[Entry]]:
    """Finds the events that follow an index."""
    looking = yield from start_search(Query(), range(index + 1, ALL.stop), down=False, reads_entries=True)
    entries: list[Entry] = []
    while len(entries) < limit and not looking.is_finished:
        look = yield from looking.look(limit - len(entries), limit)
        entries += look.entries
    return entries


def entry_of(key: int | UUID, scope: Query) -> Steps[Entry | None]:
    """Finds one event by its index or id."""
    if isinstance(key, UUID):
        page = yield from page_of(Query((Term("id", (str(key),)),)) & scope, NEWEST, LARGEST_PAGE)
        return page.entries[-1] if page.entries else None
    looking = yield from start_search(scope, range(key, key + 1), down=True, reads_entries=True)
    looks, _ = yield from search_bounded(looking, 1)
    return next((entry for look in looks for entry in look.entries), None)


def start_of_newest(query: Query, span: range, wanted: int) -> Steps[int]:
    """Finds the index of the oldest among the ``wanted`` newest events of a query."""
    looking = yield from start_search(query, span, down=True)
    found = 0
    while found < wanted and not looking.is_finished:
        look = yield from looking.look(min(wanted - found, MOST_EXAMINED), MOST_EXAMINED)
        if found + len(look.found) >= wanted:
            return look.found[wanted - found - 1]
        found += len(look.found)
    return span.start if wanted else span.stop
