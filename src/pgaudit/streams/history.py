"""What streams have sent lately: each delivery, and for charts the sums of intervals such as an hour."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from psycopg.rows import class_row

from pgaudit._driver import fetch, reading

DELIVERIES: Final = """
    SELECT id, status, from_index, to_index, events, parked, bytes, chunks, seconds, attempts, error,
           started_at, ended_at
      FROM pgaudit.delivery WHERE stream = %(name)s ORDER BY id DESC LIMIT %(count)s
"""
RECENT: Final = """
    SELECT stream, date_bin(%(width)s, started_at, 'epoch') AS start,
           coalesce(sum(events) FILTER (WHERE status = ANY ('{delivered,replayed}')), 0)::bigint AS events,
           count(*) FILTER (WHERE status = 'failed') AS failures
      FROM pgaudit.delivery
     WHERE started_at > statement_timestamp() - %(period)s::interval
       AND (%(stream)s::text IS NULL OR stream = %(stream)s)
     GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was sent within a minute, or could not be: one row of the table ``pgaudit.delivery``.

    :ivar seconds: that its chunks took together.
    """

    id: int
    status: str
    from_index: int
    to_index: int
    events: int
    parked: int
    bytes: int
    chunks: int
    seconds: float
    attempts: int
    error: str | None
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Interval:
    """What a stream has sent from ``start`` on, and how many attempts have failed."""

    stream: str
    start: datetime
    events: int
    failures: int


def deliveries(conn: object, name: str, count: int = 50) -> list[Delivery]:
    """Returns the newest deliveries of a stream, the newest first."""
    return fetch(reading(conn), class_row(Delivery), DELIVERIES, {"name": name, "count": count})


def recent(conn: object, width: timedelta, period: timedelta, stream: str | None = None) -> list[Interval]:
    """Returns the intervals of that width within the period in which streams, or one of them, did something."""
    given: dict[str, object] = {"width": width, "period": period, "stream": stream}
    return fetch(reading(conn), class_row(Interval), RECENT, given)
