"""The days and years of the index of targets: those that are closed, and the one that is due next."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.rows import class_row, scalar_row, tuple_row

from pgaudit._driver import fetch

Connection = psycopg.Connection[Any]

LAST: Final = """
    SELECT period, first_index, end_index FROM pgaudit.target_period
     WHERE length(period) = 10 ORDER BY period DESC LIMIT 1
"""
YEAR: Final = """
    SELECT min(first_index), EXISTS (SELECT FROM pgaudit.target_period WHERE period = %(year)s)
      FROM pgaudit.target_period WHERE length(period) = 10 AND left(period, 4) = %(year)s
"""
FIRST_CHECKPOINT: Final = "SELECT signed_at FROM pgaudit.checkpoint ORDER BY size LIMIT 1"
CLOSING: Final = """
    SELECT size FROM pgaudit.checkpoint WHERE signed_at >= %(midnight)s AND size >= %(first)s ORDER BY size LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Period:
    """A day or a year, and the indexes of its events: [first_index, end_index)."""

    period: str
    first_index: int
    end_index: int


def due(conn: Connection, now: datetime) -> Period | None:
    """Returns the period to be closed next; None if there is none.

    A day is over at midnight UTC, and ends in the log with the first checkpoint that was signed after that.
    """
    closed = fetch(conn, class_row(Period), LAST)
    if not closed:
        signed: list[datetime] = fetch(conn, scalar_row, FIRST_CHECKPOINT)
        return closing(conn, signed[0].astimezone(UTC).date(), 0, now) if signed else None
    last = closed[0]
    day = date.fromisoformat(last.period)
    return due_year(conn, day, last.end_index) or closing(conn, day + timedelta(days=1), last.end_index, now)


def due_year(conn: Connection, last: date, end: int) -> Period | None:
    """Returns the year that has ended with the last closed day; None if it has not, or is closed."""
    if (last.month, last.day) != (12, 31):
        return None
    year = f"{last.year:04}"
    ((first, is_closed),) = fetch(conn, tuple_row, YEAR, {"year": year})
    return None if is_closed else Period(year, first, end)


def closing(conn: Connection, day: date, first: int, now: datetime) -> Period | None:
    """Returns a day that begins at an index; None if it is not over, or nothing was signed since then."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    if now < midnight:
        return None
    ends: list[int] = fetch(conn, scalar_row, CLOSING, {"midnight": midnight, "first": first})
    return Period(str(day), first, ends[0]) if ends else None
