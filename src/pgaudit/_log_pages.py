"""Finds the entries of the log that a filter selects, page by page, each with an index of the database."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import scalar_row, tuple_row

from pgaudit import _driver

PAGE: Final = 1_000
ALL: Final = range(2**62)  # the database allows no index beyond

# The ranges that hold all events recorded in a period, and few others.
RANGES: Final = """
    SELECT first_index, end_index
      FROM pgaudit.index_ranges(coalesce(%(since)s, '-infinity'::timestamptz),
                                coalesce(%(until)s, 'infinity'::timestamptz)) ORDER BY first_index
"""
LOG: Final = "SELECT index FROM pgaudit.audit_log WHERE index >= %(first)s AND index < %(end)s"
# The first target is in the log, the others in event_target.
FIRST_TARGET: Final = LOG + " AND target_type = %(target_type)s AND target_id = %(target_id)s"
FURTHER_TARGET: Final = """
    SELECT index FROM pgaudit.event_target
     WHERE type = %(target_type)s AND id = %(target_id)s AND index >= %(first)s AND index < %(end)s
"""
AMONG: Final = "SELECT index FROM pgaudit.audit_log WHERE index = ANY(%(indexes)s)"
CONDITIONS: Final[dict[str, LiteralString]] = {
    "actor": " AND actor_type = %(actor_type)s AND actor_id = %(actor_id)s",
    "action": " AND action = %(action)s",
    "tenant": " AND tenant = %(tenant)s",
    "since": " AND recorded_at >= %(since)s",
    "until": " AND recorded_at < %(until)s",
}
UP: Final = " ORDER BY index LIMIT %(limit)s"
DOWN: Final = " ORDER BY index DESC LIMIT %(limit)s"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are wanted: those for which all that is given is true. The period is that of ``recorded_at``."""

    actor: tuple[str, str] | None = None
    target: tuple[str, str] | None = None
    action: str | None = None
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def conditions(wanted: Filter) -> LiteralString:
    """Returns the conditions on the columns of the log, the target's excepted."""
    return "".join([condition for name, condition in CONDITIONS.items() if getattr(wanted, name) is not None])


def parameters(wanted: Filter) -> dict[str, object]:
    """Returns the values of the conditions."""
    actor_type, actor_id = wanted.actor or (None, None)
    target_type, target_id = wanted.target or (None, None)
    return {
        "actor_type": actor_type,
        "actor_id": actor_id,
        "target_type": target_type,
        "target_id": target_id,
        "action": wanted.action,
        "tenant": wanted.tenant,
        "since": wanted.since,
        "until": wanted.until,
    }


def index_pages(conn: psycopg.Connection[Any], wanted: Filter, span: range, newest: int | None) -> Iterator[list[int]]:
    """Yields the indexes of the entries that a filter selects, in order, up to ``PAGE`` at a time."""
    spans = spans_of(conn, wanted, span)
    if newest is not None:
        start = start_of_newest(conn, wanted, spans, newest)
        spans = [range(max(part.start, start), part.stop) for part in spans]
    for part in spans:
        yield from pages_up(conn, wanted, part)


def spans_of(conn: psycopg.Connection[Any], wanted: Filter, span: range) -> list[range]:
    """Returns the parts of a range of the log that may hold entries of the period; the range itself without one."""
    if wanted.since is None and wanted.until is None:
        return [span]
    rows = _driver.fetch(conn, tuple_row, RANGES, parameters(wanted))
    return [range(max(first, span.start), min(end, span.stop)) for first, end in rows]


def start_of_newest(conn: psycopg.Connection[Any], wanted: Filter, spans: list[range], count: int) -> int:
    """Returns the index at which the newest ``count`` entries begin, reading pages of indexes from the end."""
    if count == 0:
        return ALL.stop
    for part in reversed(spans):
        end = part.stop
        while end > part.start and (found := candidates(conn, wanted, range(part.start, end), DOWN)):
            matching = sorted(matching_among(conn, wanted, found), reverse=True)
            if len(matching) >= count:
                return matching[count - 1]
            count -= len(matching)
            end = found[-1]
    return 0


def pages_up(conn: psycopg.Connection[Any], wanted: Filter, span: range) -> Iterator[list[int]]:
    """Yields the indexes in one range."""
    start = span.start
    while start < span.stop and (found := candidates(conn, wanted, range(start, span.stop), UP)):
        if matching := matching_among(conn, wanted, found):
            yield matching
        start = found[-1] + 1


def candidates(conn: psycopg.Connection[Any], wanted: Filter, span: range, order: LiteralString) -> list[int]:
    """Returns a page of indexes from one end of a range: by target if there is one, or else by all conditions."""
    if wanted.target:
        query: LiteralString = "(" + FIRST_TARGET + order + ") UNION (" + FURTHER_TARGET + order + ")" + order
    else:
        query = LOG + conditions(wanted) + order
    return fetch(conn, query, wanted, first=span.start, end=span.stop, limit=PAGE)


def matching_among(conn: psycopg.Connection[Any], wanted: Filter, indexes: list[int]) -> list[int]:
    """Returns those of a page of candidates that meet all conditions, in order."""
    if not wanted.target or not conditions(wanted):
        return indexes
    return fetch(conn, AMONG + conditions(wanted) + " ORDER BY index", wanted, indexes=indexes)


def fetch(conn: psycopg.Connection[Any], query: LiteralString, wanted: Filter, **more: object) -> list[int]:
    """Returns the indexes that a query finds."""
    return _driver.fetch(conn, scalar_row, query, parameters(wanted) | more)
