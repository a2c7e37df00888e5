"""The position of a stream: workers read and move it by functions of the database."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.rows import class_row, scalar_row, tuple_row
from psycopg.types.json import Jsonb

from pgaudit import signals
from pgaudit._driver import fetch
from pgaudit.trail.chunks import Chunk

Connection = psycopg.Connection[Any]

LOOK: Final = """
    SELECT %(name)s AS name, kind, url, query, form, ordered, allow_private, continued, next_index, log_size, attempts,
           failing_since, started_at, mismatch
      FROM pgaudit.look_at_stream(%(name)s)
"""
LOCK: Final = "SELECT pgaudit.lock_stream(%(name)s, %(next_index)s)"
MOVE: Final = """
    SELECT pgaudit.move_stream(%(name)s, %(next_index)s, %(last_index)s, %(last_hash)s, %(events)s, %(bytes)s,
                               %(parked)s, %(skipped)s)
"""
FAIL: Final = "SELECT pgaudit.note_stream_failure(%(name)s, %(to_index)s, %(events)s, %(error)s, %(retry_in)s)"
PAUSE: Final = "SELECT pgaudit.pause_stream(%(name)s, %(kind)s, %(reason)s)"
# Nothing is counted unless policies may hide rows from this role.
HIDDEN: Final = """
    SELECT CASE WHEN row_security_active('pgaudit.audit_log')
                THEN %(stop)s - %(start)s - (SELECT count(*) FROM pgaudit.audit_log
                                              WHERE index >= %(start)s AND index < %(stop)s) ELSE 0 END,
           current_user
"""
BLOCKED: Final = "SELECT target, index FROM pgaudit.blocked_targets(%(name)s, %(targets)s)"
DUE_PARKED: Final = "SELECT index, attempts FROM pgaudit.due_parked(%(name)s, %(most)s)"
SETTLE: Final = "SELECT pgaudit.settle_parked(%(name)s, %(indexes)s)"
REFUSED_AGAIN: Final = "SELECT pgaudit.note_parked_failure(%(name)s, %(index)s, %(error)s, %(retry_in)s)"


@dataclass(frozen=True, slots=True)
class Due:
    """A stream that has something to send, as a worker has read it.

    :ivar attempts: how many attempts in a row have failed.
    :ivar mismatch: why the stream does not fit the log, in which case it was paused; None if it does.
    """

    name: str
    kind: str
    url: str | None
    query: str
    form: str
    ordered: bool
    allow_private: bool
    continued: bool
    next_index: int
    log_size: int
    attempts: int
    failing_since: datetime | None
    started_at: datetime
    mismatch: str | None


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that is parked: it was refused, or waits for another one of its target.

    :ivar behind: the index of the event that it waits for; None if it was refused itself.
    """

    index: int
    target: str | None
    error: str | None
    behind: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """The result of a chunk, and the position behind it."""

    next_index: int
    last_index: int | None
    last_hash: bytes | None
    events: int
    bytes: int
    parked: Sequence[Parked]
    skipped: Mapping[int, str]


def look(conn: Connection, name: str) -> Due | None:
    """Returns a stream that is due and not locked by another worker, or None."""
    return next(iter(fetch(conn, class_row(Due), LOOK, {"name": name})), None)


def lock(conn: Connection, due: Due) -> bool:
    """Locks the stream until the transaction ends. Returns False if another worker has it, or has moved it."""
    return fetch(conn, scalar_row, LOCK, {"name": due.name, "next_index": due.next_index}) == [True]


def move(conn: Connection, name: str, moved: Move) -> None:
    """Notes what was sent, and moves the position."""
    parked = Jsonb([asdict(one) for one in moved.parked])
    reasons = sorted(set(moved.skipped.values()))
    skipped = Jsonb({"events": len(moved.skipped), "reason": "; ".join(reasons)}) if moved.skipped else None
    given: dict[str, object] = {
        "name": name, "next_index": moved.next_index, "last_index": moved.last_index, "last_hash": moved.last_hash,
        "events": moved.events, "bytes": moved.bytes, "parked": parked, "skipped": skipped,
    }  # fmt: skip
    fetch(conn, tuple_row, MOVE, given)


def fail(conn: Connection, due: Due, chunk: Chunk | None, error: str, retry_in: float) -> timedelta:
    """Notes that a chunk was not accepted, and after how many seconds it is sent again.

    :param chunk: None if the destination could not be opened.
    :returns: for how long the stream has been failing.
    """
    to_index, events = (chunk.next_index - 1, len(chunk.entries)) if chunk else (due.next_index, 0)
    given: dict[str, object] = {
        "name": due.name, "to_index": to_index, "events": events, "error": error,
        "retry_in": timedelta(seconds=retry_in),
    }  # fmt: skip
    (failing,) = fetch(conn, scalar_row, FAIL, given)
    return failing or timedelta()


def pause(conn: Connection, name: str, kind: str, reason: str) -> None:
    """Pauses a stream: ``refused``, ``failing`` or ``mismatch``."""
    fetch(conn, tuple_row, PAUSE, {"name": name, "kind": kind, "reason": reason})


def pause_if_hidden(conn: Connection, due: Due, stop: int) -> bool:
    """Pauses a stream if policies hide events before the index ``stop`` from this role, which would skip them silently.

    Returns whether they do.
    """
    ((hidden, role),) = fetch(conn, tuple_row, HIDDEN, {"start": due.next_index, "stop": stop})
    if hidden:
        reason = f"row level security hides {hidden} event(s) of the log from {role}: ALTER ROLE {role} BYPASSRLS"
        pause(conn, due.name, "mismatch", reason)
        signals.stream_paused.send(stream=due.name, kind="mismatch", reason=reason)
    return bool(hidden)


def blocked(conn: Connection, name: str, targets: Sequence[str]) -> dict[str, int]:
    """Returns the targets, of those given, that have a parked event, with the index of the first one."""
    return dict(fetch(conn, tuple_row, BLOCKED, {"name": name, "targets": list(targets)}))


def due_parked(conn: Connection, name: str, most: int) -> dict[int, int]:
    """Returns the parked events that are to be sent again, and how often each was sent."""
    return dict(fetch(conn, tuple_row, DUE_PARKED, {"name": name, "most": most}))


def settle(conn: Connection, name: str, index: int) -> None:
    """Notes that a parked event was accepted."""
    fetch(conn, tuple_row, SETTLE, {"name": name, "indexes": [index]})


def refuse_again(conn: Connection, name: str, index: int, error: str, retry_in: float | None) -> None:
    """Notes that a parked event was refused again; None: it waits until someone retries it."""
    again = None if retry_in is None else timedelta(seconds=retry_in)
    fetch(conn, tuple_row, REFUSED_AGAIN, {"name": name, "index": index, "error": error, "retry_in": again})
