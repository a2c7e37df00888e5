"""Reads the log for a processor, and adds a job for each event that it wants.

The jobs are added in the transaction that moves the position, so each event gets exactly one, whatever is killed.
"""

from collections.abc import Sequence
from typing import Final

from psycopg.rows import scalar_row

from pgaudit import signals
from pgaudit._driver import fetch
from pgaudit._reading import run
from pgaudit.processors.declaration import Processor
from pgaudit.streams import positions
from pgaudit.streams.positions import Connection
from pgaudit.trail.chunks import Chunk, read_chunk
from pgaudit.trail.entry import Entry

DISPATCH: Final = """
    SELECT pgaudit.dispatch_events(%(name)s, %(next_index)s, %(moved_to)s, %(indexes)s, %(unchecked)s, %(last_index)s,
                                   %(last_hash)s)
"""
DISPATCH_BACKFILL: Final = """
    SELECT pgaudit.dispatch_backfill(%(backfill)s, %(next_index)s, %(moved_to)s, %(indexes)s, %(unchecked)s)
"""
MOST_EVENTS: Final = 1_000  # of a chunk
MOST_BYTES: Final = 4_000_000


def dispatch_log(conn: Connection, processor: Processor) -> bool:
    """Dispatches the next chunk of the log. Returns False if there was none, or another worker has dispatched it."""
    due = positions.look(conn, processor.name)
    if due is None:
        return False
    if due.mismatch is not None:
        signals.stream_paused.send(stream=due.name, kind="mismatch", reason=due.mismatch)
        return False
    chunk = run(conn, read_chunk(processor.query, due.next_index, MOST_EVENTS, MOST_BYTES))
    if chunk.next_index <= due.next_index or positions.pause_if_hidden(conn, due, chunk.next_index):
        return False
    last = chunk.entries[-1] if chunk.entries else None
    given: dict[str, object] = select_events(processor, chunk.entries) | {
        "name": due.name, "next_index": due.next_index, "moved_to": chunk.next_index,
        "last_index": last and last.index, "last_hash": last and last.leaf_hash,
    }  # fmt: skip
    return fetch(conn, scalar_row, DISPATCH, given) == [True]


def dispatch_backfill(conn: Connection, processor: Processor, backfill: int, start: int, end: int) -> bool:
    """Dispatches the next chunk of a backfill, which ends before the index ``end``."""
    chunk = run(conn, read_chunk(processor.query, start, MOST_EVENTS, MOST_BYTES))
    entries = [entry for entry in chunk.entries if entry.index < end]
    given: dict[str, object] = select_events(processor, entries) | {
        "backfill": backfill, "next_index": start, "moved_to": moved_to(chunk, end)
    }  # fmt: skip
    return fetch(conn, scalar_row, DISPATCH_BACKFILL, given) == [True]


def moved_to(chunk: Chunk, end: int) -> int:
    """Returns the next position of a backfill: its end, if the chunk has reached the end of the log."""
    return min(chunk.next_index, end) if chunk.is_full else end


def select_events(processor: Processor, entries: Sequence[Entry]) -> dict[str, object]:
    """Returns the indexes of the events that a processor wants.

    One for which ``when`` raises is among them, and among those that are unchecked: its job asks again, and fails. So
    it is neither lost nor in the way of others.
    """
    indexes: list[int] = []
    unchecked: list[int] = []
    for entry in entries:
        try:
            if processor.wants(entry):
                indexes.append(entry.index)
        except Exception:  # noqa: BLE001 - see above
            indexes.append(entry.index)
            unchecked.append(entry.index)
    return {"indexes": indexes, "unchecked": unchecked}
