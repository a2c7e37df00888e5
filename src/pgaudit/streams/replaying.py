"""Sends a range of the log again, chunk by chunk. The position of the stream stays where it is."""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg.rows import class_row, tuple_row
from psycopg.types.json import Jsonb

from pgaudit._driver import fetch
from pgaudit._reading import run
from pgaudit.settings import Settings
from pgaudit.streams import positions
from pgaudit.streams.failures import backoff
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.positions import Connection, Due, Move
from pgaudit.streams.shipping import Shipper, move_of, tell_parked
from pgaudit.trail.chunks import Chunk, read_chunk
from pgaudit.trail.query import parse

LOOK: Final = "SELECT next_index, to_index, attempts, asked_at FROM pgaudit.look_at_replay(%(name)s)"
MOVE: Final = "SELECT pgaudit.move_replay(%(name)s, %(next_index)s, %(events)s, %(bytes)s, %(parked)s)"
FAIL: Final = "SELECT pgaudit.note_replay_failure(%(name)s, %(error)s, %(retry_in)s)"


@dataclass(frozen=True, slots=True)
class Replay:
    """The rest of a range that is sent again: from ``next_index`` to ``to_index``, both included."""

    next_index: int
    to_index: int
    attempts: int
    asked_at: datetime


def look(conn: Connection, name: str) -> Replay | None:
    """Returns the replay of a stream, if there is one that is due."""
    return next(iter(fetch(conn, class_row(Replay), LOOK, {"name": name})), None)


def replay_chunk(shipper: Shipper, due: Due, replay: Replay) -> bool:
    """Sends the next chunk of a range while no other worker can. Returns whether all of the chunk is done."""
    limits, conn = shipper.destination.limits, shipper.conn
    query, end = parse(due.query), replay.to_index + 1
    chunk = run(conn, read_chunk(query, replay.next_index, limits.events, limits.bytes, end))
    if not chunk.is_full:
        chunk = Chunk(chunk.entries, end, is_full=False)
    if chunk.entries:  # nothing is waited for: the range has an end
        chunk = chunk.first(shipper.destination.ready(chunk.entries, datetime.now(UTC), is_full=True))
    return chunk.next_index > replay.next_index and deliver(shipper, due, replay, chunk)


def deliver(shipper: Shipper, due: Due, replay: Replay, chunk: Chunk) -> bool:
    """Sends a chunk. Returns whether all of it is done."""
    conn = shipper.conn
    with conn.transaction():
        if not positions.lock(conn, due):
            return False
        sent = shipper.send(replace(due, ordered=False), chunk.entries)  # what waits came later
        stopped = chunk.next_index if sent.stopped_at is None else max(sent.stopped_at, replay.next_index)
        moved = move_of(sent, Chunk(chunk.entries, stopped, is_full=True), due)
        if stopped > replay.next_index:
            move(conn, due.name, stopped, moved)
        if sent.failure is not None:
            put_off(conn, shipper.settings, due, replay, sent.failure)
    tell_parked(due, moved.parked)
    return sent.failure is None


def move(conn: Connection, name: str, next_index: int, moved: Move) -> None:
    """Notes what was sent again."""
    parked = Jsonb([asdict(one) for one in moved.parked])
    given: dict[str, object] = {
        "name": name, "next_index": next_index, "events": moved.events, "bytes": moved.bytes, "parked": parked,
    }  # fmt: skip
    fetch(conn, tuple_row, MOVE, given)


def put_off(conn: Connection, settings: Settings, due: Due, replay: Replay, failure: DeliveryFailed) -> None:
    """Schedules the next attempt. A destination that will not take the range ends the replay, and not the stream."""
    delay = max(backoff(replay.attempts + 1, settings), failure.retry_after or 0.0)
    again = None if isinstance(failure, DestinationRefused) else timedelta(seconds=delay)
    note_failure(conn, due.name, str(failure), again)


def end(conn: Connection, name: str, reason: str) -> None:
    """Ends the replay of a stream, and notes why in the history of deliveries."""
    note_failure(conn, name, reason, None)


def note_failure(conn: Connection, name: str, error: str, again: timedelta | None) -> None:
    """Notes why a chunk was not accepted, and when it is sent again: never with None, which ends the replay."""
    given: dict[str, object] = {"name": name, "error": error, "retry_in": again}
    fetch(conn, tuple_row, FAIL, given)
