"""What streams have sent lately, by intervals such as an hour: for charts."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from psycopg.rows import class_row

from pgaudit._driver import fetch, reading

RECENT: Final = """
    SELECT stream, date_bin(%(width)s, ended_at, 'epoch') AS start,
           coalesce(sum(events) FILTER (WHERE status = ANY ('{delivered,replayed}')), 0)::bigint AS events,
           count(*) FILTER (WHERE status = 'failed') AS failures
      FROM pgaudit.delivery
     WHERE ended_at > statement_timestamp() - %(period)s::interval AND (%(stream)s::text IS NULL OR stream = %(stream)s)
     GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """What a stream has sent from ``start`` on, and how many attempts have failed."""

    stream: str
    start: datetime
    events: int
    failures: int


def recent(conn: object, width: timedelta, period: timedelta, stream: str | None = None) -> list[Interval]:
    """Returns the intervals of that width within the period in which streams, or one of them, did something."""
    given: dict[str, object] = {"width": width, "period": period, "stream": stream}
    return fetch(reading(conn), class_row(Interval), RECENT, given)
