"""The parts of the log that may hold what is searched for: few partitions at a time, from one end."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pgaudit._reading import Statement, Steps
from pgaudit.trail.fields import moment
from pgaudit.trail.query import Query

ALL: Final = range(2**62)  # the database allows no index beyond
MOST_TOGETHER: Final = 4  # partitions: a statement locks those that it looks at until the transaction ends

# Bounds of the partitions, from the catalogs, which is faster than pgaudit.log_partitions(); and the size of the log.
PARTITIONS: Final = """
    SELECT pg_get_expr(c.relpartbound, c.oid), size
      FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid, pgaudit.log_head
     WHERE i.inhparent = 'pgaudit.audit_log'::regclass AND NOT i.inhdetachpending
"""
BOUNDS: Final = re.compile(r"FROM \('?(\d+|MINVALUE)'?\) TO \('?(\d+|MAXVALUE)'?\)")
# The ranges that hold all events recorded in a period, and few others.
RANGES: Final = """
    SELECT first_index, end_index
      FROM pgaudit.index_ranges(coalesce(%(since)s, '-infinity'::timestamptz),
                                coalesce(%(until)s, 'infinity'::timestamptz))
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Indexes to look at, and the range of the partitions in which they are."""

    indexes: range
    partitions: range


def spans_of(query: Query, within: range, *, down: bool) -> Steps[list[Span]]:
    """Finds the spans of the log to look at one after the other, in that direction; each has few partitions."""
    partitions = [partition_of(bounds, size) for bounds, size in (yield Statement(PARTITIONS))]
    ranges = (yield from ranges_of(query)) if has_period(query) else [ALL]
    spans = [Span(common(partition, part, within), partition) for partition in partitions for part in ranges]
    return merged(sorted((span for span in spans if span.indexes), key=lambda span: span.indexes.start, reverse=down))


def partition_of(bounds: str, size: int) -> range:
    """Returns the indexes of a partition that the log has by now; none for the one ahead.

    >>> partition_of("FOR VALUES FROM ('256') TO ('512')", 300)
    range(256, 300)
    """
    found = BOUNDS.search(bounds)
    first, end = found.groups() if found else ("0", "0")
    return range(0 if first == "MINVALUE" else int(first), size if end == "MAXVALUE" else min(int(end), size))


def has_period(query: Query) -> bool:
    """Returns whether the query says when events were recorded."""
    return any(term.field in ("after", "before") for term in query.terms)


def ranges_of(query: Query) -> Steps[list[range]]:
    """Finds the ranges of indexes of the query's period."""
    since = [moment(term.values[0]) for term in query.terms if term.field == "after"]
    until = [moment(term.values[0]) for term in query.terms if term.field == "before"]
    parameters = {"since": max(since, default=None), "until": min(until, default=None)}
    return [range(first, end) for first, end in (yield Statement(RANGES, parameters))]


def common(*ranges: range) -> range:
    """Returns what the ranges have in common."""
    return range(max(one.start for one in ranges), min(one.stop for one in ranges))


def merged(spans: list[Span]) -> list[Span]:
    """Returns the spans with neighbours put together; the first one stays alone, because it usually fills the page."""
    groups: list[list[Span]] = []
    for span in spans:
        if len(groups) > 1 and len(groups[-1]) < MOST_TOGETHER and are_adjacent(groups[-1][-1].indexes, span.indexes):
            groups[-1].append(span)
        else:
            groups.append([span])
    return [Span(hull(span.indexes for span in group), hull(span.partitions for span in group)) for group in groups]


def are_adjacent(one: range, other: range) -> bool:
    """Returns whether one range begins where the other ends."""
    return one.start == other.stop or other.start == one.stop


def hull(ranges: Iterable[range]) -> range:
    """Returns the range from the first index of the ranges to their last."""
    starts, stops = zip(*((one.start, one.stop) for one in ranges), strict=True)
    return range(min(starts), max(stops))
