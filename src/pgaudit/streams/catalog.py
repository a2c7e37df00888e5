"""The streams of a database: adding, listing, pausing, setting back and removing them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from pgaudit._driver import fetch, reading, undone_on_error
from pgaudit.errors import InvalidStream, StreamNotFound
from pgaudit.streams.forms import form_of
from pgaudit.streams.urls import StreamURL
from pgaudit.trail.fields import TIMES
from pgaudit.trail.query import Query, parse

REFUSED: Final = "PA003"
NAMES: Final = ": pgaudit stream list names them all"
ADD: Final = """
    SELECT pgaudit.add_stream(%(name)s, 'destination', %(url)s, %(query)s, %(form)s, %(ordered)s, %(allow_private)s,
                              %(start)s)
"""
NOTE: Final = "SELECT pgaudit.record_about_stream(%(action)s, %(name)s, %(data)s)"
REMOVE: Final = "SELECT pgaudit.remove_stream(%(name)s)"
PAUSE: Final = "SELECT pgaudit.pause_stream(%(name)s, 'asked', %(reason)s)"
RESUME: Final = "SELECT pgaudit.resume_stream(%(name)s)"
REPLAY: Final = "SELECT pgaudit.replay_stream(%(name)s, %(first)s, %(last)s)"
STOP_REPLAY: Final = "SELECT pgaudit.stop_replay(%(name)s)"
REWIND: Final = "SELECT pgaudit.rewind_stream(%(name)s, %(index)s)"
RETRY: Final = "SELECT pgaudit.retry_parked(%(name)s, %(index)s)"
DISCARD: Final = "SELECT pgaudit.discard_parked(%(name)s, %(index)s, %(reason)s)"
COLUMNS: Final = """
    SELECT name, kind, url, query, form, ordered, allow_private, state, paused_at, paused_by, pause_kind, pause_reason,
           next_index, lag_events, lag_seconds, delivered, delivered_at, attempts, failing_since, next_attempt_at,
           error, events_per_second, failures_last_day, parked, added_at, added_by, replay_from, replay_to, replay_next,
           replay_error
      FROM pgaudit.stream_stats
"""
DELIVERIES: Final = """
    SELECT id, status, from_index, to_index, events, parked, bytes, attempts, error, started_at, ended_at
      FROM pgaudit.delivery WHERE stream = %(name)s ORDER BY id DESC LIMIT %(count)s
"""
PARKED: Final = """
    SELECT index, target, behind, attempts, error, parked_at, retry_at
      FROM pgaudit.parked WHERE stream = %(name)s AND index > %(after)s ORDER BY index LIMIT %(count)s
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


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was sent, or could not be: a chunk of a stream, and one attempt to send it."""

    id: int
    status: str
    from_index: int
    to_index: int
    events: int
    parked: int
    bytes: int
    attempts: int
    error: str | None
    started_at: datetime
    ended_at: datetime


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
    return found(conn, name)


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


def listed(conn: object) -> list[Stream]:
    """Returns the streams to destinations, by name."""
    return fetch(reading(conn), class_row(Stream), COLUMNS + " WHERE kind = 'destination' ORDER BY name")


def found(conn: object, name: str) -> Stream:
    """Returns one stream.

    :raises StreamNotFound: there is none of that name.
    """
    rows = fetch(reading(conn), class_row(Stream), COLUMNS + " WHERE name = %(name)s", {"name": name})
    if not rows:
        raise StreamNotFound(f"there is no stream {name}{NAMES}")
    return rows[0]


def deliveries(conn: object, name: str, count: int = 50) -> list[Delivery]:
    """Returns the newest deliveries of a stream, the newest first."""
    return fetch(reading(conn), class_row(Delivery), DELIVERIES, {"name": name, "count": count})


def parked(conn: object, name: str, after: int = -1, count: int = 100) -> list[ParkedEvent]:
    """Returns parked events of a stream with an index above ``after``, in the order of the log."""
    return fetch(reading(conn), class_row(ParkedEvent), PARKED, {"name": name, "after": after, "count": count})


def pause(conn: object, name: str, reason: str | None = None) -> None:
    """Pauses a stream. Nothing is lost meanwhile: it goes on where it was.

    :raises StreamNotFound: there is none of that name.
    """
    change(conn, PAUSE, {"name": name, "reason": reason})


def resume(conn: object, name: str) -> None:
    """Ends the pause of a stream, and lets workers try at once.

    :raises StreamNotFound: there is none of that name.
    """
    change(conn, RESUME, {"name": name})


def rewind(conn: object, name: str, index: int) -> None:
    """Lets a stream go on with the event of that index: to send a range again, or to leave one out.

    :raises StreamNotFound: there is none of that name.
    :raises InvalidStream: the log has no such index.
    """
    change(conn, REWIND, {"name": name, "index": index})


def replay(conn: object, name: str, first: int, last: int) -> None:
    """Lets workers send a range again, both ends included, while there is nothing newer to send.

    :raises StreamNotFound: there is none of that name.
    :raises InvalidStream: the stream has not come past these events, or another replay of it is under way.
    """
    change(conn, REPLAY, {"name": name, "first": first, "last": last})


def stop_replay(conn: object, name: str) -> bool:
    """Ends a replay where it is. Returns whether there was one.

    :raises StreamNotFound: there is none of that name.
    """
    return bool(change(conn, STOP_REPLAY, {"name": name}))


def retry(conn: object, name: str, index: int | None = None) -> int:
    """Lets workers send parked events again: that one, or all. Returns how many; those behind them follow.

    :raises StreamNotFound: there is none of that name.
    """
    return int(change(conn, RETRY, {"name": name, "index": index}))


def discard(conn: object, name: str, index: int, reason: str) -> bool:
    """Gives up a parked event; the history of deliveries keeps the reason. Returns whether there was one.

    :raises StreamNotFound: there is none of that name.
    """
    return bool(change(conn, DISCARD, {"name": name, "index": index, "reason": reason}))


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


def change(conn: object, statement: LiteralString, given: dict[str, object]) -> Any:
    """Calls a function that changes a stream, and returns what it returns.

    :raises StreamNotFound: there is none of that name.
    :raises InvalidStream: the change was refused.
    """
    try:
        with undone_on_error(conn) as driver:
            (result,) = fetch(driver, scalar_row, statement, given)
    except psycopg.errors.CheckViolation:
        raise InvalidStream(
            "the name of a stream has 1 to 63 small letters, digits, dots, hyphens and underscores, and begins with a "
            "letter or digit"
        ) from None
    except psycopg.Error as error:
        if error.sqlstate != REFUSED:
            raise
        raise refusal(error.diag.message_primary or "") from None
    return result


def refusal(message: str) -> InvalidStream | StreamNotFound:
    """Returns the error for what the database has refused, with what to do about it."""
    if message.startswith("there is no stream"):
        return StreamNotFound(message + NAMES)
    if message.endswith("already"):
        message += ": choose another name, or remove that one first"
    return InvalidStream(message)
