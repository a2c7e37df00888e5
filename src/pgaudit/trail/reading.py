"""Reading the log without a search: its newest events, those after an index, those of one target or actor."""

from pgaudit._reading import run
from pgaudit.trail.entry import Entry
from pgaudit.trail.finding import entries_after, pages
from pgaudit.trail.query import Query, Term


def last(conn: object, count: int) -> list[Entry]:
    """Returns the newest entries, the oldest of them first."""
    return _all_of(conn, Query(), count)


def after(conn: object, index: int, limit: int = 1_000) -> list[Entry]:
    """Returns the entries after that index, at most ``limit``. Index order is commit order: no entry is missed.

    :param index: the last index seen; -1 for the beginning of the log.
    """
    return run(conn, entries_after(index, limit))


def of_target(conn: object, kind: str, identity: str | int, limit: int | None = None) -> list[Entry]:
    """Returns the events that have this target, such as ("claim", "7"), first or further, in the order of the log.

    :param identity: its id; a number stands for its digits.
    :param limit: the most entries to return; the newest are kept.
    """
    return _all_of(conn, Query((Term("target", (f"{kind}:{identity}",)),)), limit)


def of_actor(conn: object, kind: str, identity: str | int, limit: int | None = None) -> list[Entry]:
    """Returns the events of an actor, such as ("user", "42"), in the order of the log.

    :param identity: their id; a number stands for its digits.
    :param limit: the most entries to return; the newest are kept.
    """
    return _all_of(conn, Query((Term("actor", (f"{kind}:{identity}",)),)), limit)


def _all_of(conn: object, query: Query, limit: int | None) -> list[Entry]:
    """Returns the entries that a query finds."""
    return [entry for page in pages(conn, query, newest=limit) for entry in page]
