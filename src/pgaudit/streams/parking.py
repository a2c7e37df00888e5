"""Parked events: those that a destination has refused for good, and those that wait for one of the same target."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.rows import class_row

from pgaudit._driver import fetch, reading
from pgaudit.streams.changes import change

PARKED: Final = """
    SELECT index, target, behind, attempts, error, parked_at, retry_at
      FROM pgaudit.parked WHERE stream = %(name)s AND index > %(after)s ORDER BY index LIMIT %(count)s
"""
RETRY: Final = "SELECT pgaudit.retry_parked(%(name)s, %(index)s)"
DISCARD: Final = "SELECT pgaudit.discard_parked(%(name)s, %(index)s, %(reason)s)"


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event that a destination has refused for good, or that waits ``behind`` one of the same target."""

    index: int
    target: str | None
    behind: int | None
    attempts: int
    error: str | None
    parked_at: datetime
    retry_at: datetime | None


def parked(conn: object, name: str, after: int = -1, count: int = 100) -> list[ParkedEvent]:
    """Returns parked events of a stream with an index above ``after``, in the order of the log."""
    return fetch(reading(conn), class_row(ParkedEvent), PARKED, {"name": name, "after": after, "count": count})


def retry(conn: object, name: str, index: int | None = None) -> int:
    """Lets workers send parked events again: that one, or all. Returns how many; events that wait for them follow.

    :raises StreamNotFound: there is none of that name.
    """
    return int(change(conn, RETRY, {"name": name, "index": index}))


def discard(conn: object, name: str, index: int, reason: str) -> bool:
    """Discards a parked event; the history of deliveries keeps the reason. Returns whether there was one.

    :raises StreamNotFound: there is none of that name.
    """
    return bool(change(conn, DISCARD, {"name": name, "index": index, "reason": reason}))
