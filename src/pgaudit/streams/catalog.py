"""The streams of a database: adds, lists, finds and removes them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pgaudit._driver import fetch, reading
from pgaudit.errors import InvalidStream, StreamNotFound
from pgaudit.streams.changes import NAMES, change
from pgaudit.streams.forms import form_of
from pgaudit.streams.urls import StreamURL
from pgaudit.trail.fields import TIMES
from pgaudit.trail.query import Query, parse

ADD: Final = """
    SELECT pgaudit.add_stream(%(name)s, 'destination', %(url)s, %(query)s, %(form)s, %(ordered)s, %(allow_private)s,
                              %(start)s)
"""
NOTE: Final = "SELECT pgaudit.record_about_stream(%(action)s, %(name)s, %(data)s)"
REMOVE: Final = "SELECT pgaudit.remove_stream(%(name)s)"
COLUMNS: Final = """
    SELECT name, kind, url, query, form, ordered, allow_private, state, paused_at, paused_by, pause_kind, pause_reason,
           next_index, lag_events, lag_seconds, delivered, delivered_at, attempts, failing_since, next_attempt_at,
           error, events_per_second, failures_last_day, parked, added_at, added_by, replay_from, replay_to, replay_next,
           replay_error
      FROM pgaudit.stream_stats
"""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream, how far it is, and how it does: a row of the view ``pgaudit.stream_stats``."""

    name: str
    kind: str
    url: str | None
    query: str
    form: str
    ordered: bool
    allow_private: bool
    state: str
    paused_at: datetime | None
    paused_by: str | None
    pause_kind: str | None
    pause_reason: str | None
    next_index: int
    lag_events: int
    lag_seconds: float
    delivered: int
    delivered_at: datetime | None
    attempts: int
    failing_since: datetime | None
    next_attempt_at: datetime | None
    error: str | None
    events_per_second: float
    failures_last_day: int
    parked: int
    added_at: datetime
    added_by: str
    replay_from: int | None
    replay_to: int | None
    replay_next: int | None
    replay_error: str | None


def add(  # noqa: PLR0913 - each is a property of the stream, by name
    conn: object,
    name: str,
    *,
    to: str,
    query: str = "",
    start: int | None = None,
    form: str = "native",
    ordered: bool = False,
    allow_private: bool = False,
) -> Stream:
    """Adds a stream, as the owner of the schema, in the caller's transaction. Workers begin to send at once.

    >>> add(conn, "siem", to="https://siem.example.com/audit?secret=env:SIEM_SECRET", query="outcome:denied")

    :param to: the URL of the destination; it never holds a secret, but refers to one.
    :param query: which events: a search without ``after`` and ``before``. All of them when empty.
    :param start: the index of the first event; the next one that is appended when it is None.
    :param ordered: let later events of a target wait behind one that was refused.
    :raises InvalidStream: name, URL, form or start cannot be used, or there is one of that name.
    :raises InvalidQuery: the query cannot be understood.
    """
    url = StreamURL.parse(to)
    form_of(form)
    url.check_form(form)
    url.check_private(allow_private=allow_private)
    if url.whole_log and (query or start != 0):
        raise InvalidStream(f"{url.kind} takes the whole log: leave out the query, and begin with index 0")
    given: dict[str, object] = {
        "name": name, "url": url.text, "query": str(timeless(query)), "form": form, "ordered": ordered,
        "allow_private": allow_private, "start": start,
    }  # fmt: skip
    change(conn, ADD, given)
    return get_stream(conn, name)


def timeless(query: str) -> Query:
    """Returns the query of a stream.

    :raises InvalidStream: it asks for a time. The log is followed by index: an age would mean another moment with each
        look, and events of another time would never come.
    :raises InvalidQuery: it cannot be understood.
    """
    parsed = parse(query)
    times = [term.field for term in parsed.terms if term.field in TIMES]
    if times:
        raise InvalidStream(
            f"a stream follows the log by index, so leave {times[0]}: out of its query: --from says where it begins, "
            "and `pgaudit export` has the events of a period"
        )
    return parsed


def list_streams(conn: object) -> list[Stream]:
    """Returns the streams to destinations, by name."""
    return fetch(reading(conn), class_row(Stream), COLUMNS + " WHERE kind = 'destination' ORDER BY name")


def get_stream(conn: object, name: str) -> Stream:
    """Returns one stream.

    :raises StreamNotFound: there is none of that name.
    """
    rows = fetch(reading(conn), class_row(Stream), COLUMNS + " WHERE name = %(name)s", {"name": name})
    if not rows:
        raise StreamNotFound(f"there is no stream {name}{NAMES}")
    return rows[0]


def remove(conn: object, name: str) -> None:
    """Removes a stream with its position, history and parked events, as the owner of the schema.

    :raises StreamNotFound: there is none of that name.
    """
    change(conn, REMOVE, {"name": name})


def note_added(conn: object, stream: Stream) -> None:
    """Records as an event that a stream was added, as the owner of the schema. For people: code adds cursors, too."""
    data: dict[str, object] = {
        "to": stream.url, "match": stream.query or None, "form": stream.form, "first": stream.next_index,
        "ordered": stream.ordered, "allow_private": stream.allow_private,
    }  # fmt: skip
    change(conn, NOTE, {"action": "audit.stream_added", "name": stream.name, "data": Jsonb(data)})


def note_removed(conn: object, stream: Stream) -> None:
    """Records as an event that a stream was removed, as the owner of the schema."""
    data: dict[str, object] = {"to": stream.url, "next": stream.next_index, "parked": stream.parked}
    change(conn, NOTE, {"action": "audit.stream_removed", "name": stream.name, "data": Jsonb(data)})
