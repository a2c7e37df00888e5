"""Sends one chunk of a stream, and moves its position: once the destination has accepted it, and not before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pgaudit import signals
from pgaudit._reading import run
from pgaudit.settings import Settings
from pgaudit.streams import positions
from pgaudit.streams.destinations.destination import Destination
from pgaudit.streams.failures import backoff, note_failure
from pgaudit.streams.outcomes import DestinationRefused
from pgaudit.streams.positions import Connection, Due, Move, Parked
from pgaudit.streams.sending import SendResult, send, send_ordered
from pgaudit.trail.chunks import Chunk, read_chunk
from pgaudit.trail.entry import Entry, at
from pgaudit.trail.query import parse

MOST_RETRIED: Final = 100  # parked events that are sent again between two chunks
MOST_REFUSED: Final = 100  # in one chunk, with none accepted: then it is the destination's fault, and not the events'


@dataclass(frozen=True, slots=True)
class Shipper:
    """Sends the chunks of one stream to its destination.

    :ivar conn: in autocommit mode; nobody else uses it.
    """

    conn: Connection
    destination: Destination
    settings: Settings

    def ship(self, due: Due) -> bool:
        """Sends parked events that are retried, and the next chunk. Returns whether there may be more to send now."""
        if due.mismatch is not None:
            signals.stream_paused.send(stream=due.name, kind="mismatch", reason=due.mismatch)
            return False
        if not self.retry_parked(due):
            return False
        if self.destination.is_waiting(due.log_size, datetime.now(UTC)):
            return False
        limits = self.destination.limits
        chunk = run(self.conn, read_chunk(parse(due.query), due.next_index, limits.events, limits.bytes))
        if chunk.entries:
            now = datetime.now(UTC)
            chunk = chunk.first(self.destination.ready(chunk.entries, now, is_full=chunk.is_full))
        if chunk.next_index == due.next_index or positions.pause_if_hidden(self.conn, due, chunk.next_index):
            return False
        return self.deliver(due, chunk)

    def retry_parked(self, due: Due) -> bool:
        """Sends parked events that are due, one by one. Returns False if the destination has failed."""
        attempts = positions.due_parked(self.conn, due.name, MOST_RETRIED)
        entries = run(self.conn, at(list(attempts)))
        for index in attempts.keys() - {entry.index for entry in entries}:
            positions.refuse_again(self.conn, due.name, index, "it is no longer in the log", None)
        return all(self.retry(due, entry, attempts[entry.index]) for entry in entries)

    def retry(self, due: Due, entry: Entry, attempts: int) -> bool:
        """Sends a parked event while no other worker can. Returns False if the destination has failed."""
        with self.conn.transaction():
            if not positions.lock(self.conn, due):
                return False
            sent = send(self.destination, [entry])
            if sent.failure is not None:
                again = backoff(attempts, self.settings)
                positions.refuse_again(self.conn, due.name, entry.index, str(sent.failure), again)
            elif sent.refused:
                positions.refuse_again(self.conn, due.name, entry.index, sent.refused[entry.index], None)
            else:
                positions.settle(self.conn, due.name, entry.index)
        return sent.failure is None

    def deliver(self, due: Due, chunk: Chunk) -> bool:
        """Sends a chunk while no other worker can. Returns whether all of it is done."""
        with self.conn.transaction():
            if not positions.lock(self.conn, due):
                return False
            sent = self.send(due, chunk.entries)
            moved = move_of(sent, chunk, due)
            if moved.next_index > due.next_index:
                positions.move(self.conn, due.name, moved)
            if sent.failure is not None:
                note_failure(self.conn, self.settings, due, sent.failure, chunk)
        tell_parked(due, moved.parked)
        return sent.failure is None

    def send(self, due: Due, entries: Sequence[Entry]) -> SendResult:
        """Sends the events, in order of their targets if the stream asks for that."""
        if due.ordered and not self.destination.takes_all:
            targets = sorted({entry.target for entry in entries if entry.target})
            sent = send_ordered(self.destination, entries, positions.blocked(self.conn, due.name, targets))
        else:
            sent = send(self.destination, entries)
        return sent if sent.accepted or len(sent.refused) < MOST_REFUSED else all_refused(sent, entries)


def all_refused(sent: SendResult, entries: Sequence[Entry]) -> SendResult:
    """Returns a failure of the destination in place of refused events, so that none of them is parked."""
    reason = next(iter(sent.refused.values()))
    error = DestinationRefused(f"it has refused {len(sent.refused)} events and accepted none: {reason}")
    return SendResult(failure=error, stopped_at=entries[0].index)


def move_of(sent: SendResult, chunk: Chunk, due: Due) -> Move:
    """Returns how the position moves: behind the chunk, or to the first event that was not sent."""
    stopped = chunk.next_index if sent.stopped_at is None else max(sent.stopped_at, due.next_index)
    last = max(sent.accepted, key=lambda entry: entry.index, default=None)
    by_index = {entry.index: entry for entry in chunk.entries}
    parked = [Parked(index, by_index[index].target, error) for index, error in sent.refused.items()]
    parked += [Parked(index, by_index[index].target, None, head) for index, head in sent.behind.items()]
    return Move(
        next_index=stopped,
        last_index=last.index if last else None,
        last_hash=last.leaf_hash if last else None,
        events=len(sent.accepted),
        bytes=sent.bytes,
        parked=parked,
        skipped=sent.skipped,
    )


def tell_parked(due: Due, parked: Sequence[Parked]) -> None:
    """Sends a signal if a destination has refused events."""
    refused = [one for one in parked if one.behind is None]
    if refused:
        signals.events_parked.send(stream=due.name, count=len(refused), index=refused[0].index)
