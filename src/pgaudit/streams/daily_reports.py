"""Sends the report of one day, and moves the position behind it: once the destination has accepted it."""

from datetime import UTC, datetime

from pgaudit import signals
from pgaudit.settings import Settings
from pgaudit.streams import daily_counts, positions
from pgaudit.streams.destinations.report_summary import Reporter, Summary
from pgaudit.streams.failures import note_failure
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused, Receipt
from pgaudit.streams.positions import Connection, Due, Move
from pgaudit.trail.chunks import Chunk


def send_report(conn: Connection, settings: Settings, reporter: Reporter, due: Due) -> bool:
    """Sends the report of the next day that is over. Returns whether there may be another one."""
    if due.mismatch is not None:
        signals.stream_paused.send(stream=due.name, kind="mismatch", reason=due.mismatch)
        return False
    if due.next_index >= due.log_size or reporter.is_waiting(due.log_size, datetime.now(UTC)):
        return False
    summary = next_summary(conn, reporter, due)
    return summary is not None and deliver(conn, settings, reporter, due, summary)


def next_summary(conn: Connection, reporter: Reporter, due: Due) -> Summary | None:
    """Counts the events of the next day; None if it is not over, or policies hide some of them.

    A day that the clock has left again, because it was set back, is over.

    This reads the log, and so happens before the position is locked.
    """
    first = daily_counts.persisted_at(conn, due.next_index)
    if first is None:
        return None
    day = reporter.day_of(first)
    stop = daily_counts.end_of(conn, due.next_index, day, due.log_size)
    after = daily_counts.persisted_at(conn, stop) if stop < due.log_size else None
    is_left = after is not None and after < day.start
    if datetime.now(UTC) < day.due and not is_left:
        reporter.wait(day.due)
        return None
    if positions.pause_if_hidden(conn, due, stop):
        return None
    return daily_counts.summarize(conn, due.name, due.query, day, range(due.next_index, stop))


def deliver(conn: Connection, settings: Settings, reporter: Reporter, due: Due, summary: Summary) -> bool:
    """Sends a report while no other worker can. Returns whether it was accepted."""
    stop = summary.indexes.stop
    last_hash = daily_counts.hash_at(conn, stop - 1)
    with conn.transaction():
        if not positions.lock(conn, due):
            return False
        try:
            receipt = reporter.report(summary)
        except EventsRefused as error:  # a report cannot be divided, nor be put aside
            failure: DeliveryFailed = DestinationRefused(str(error))
        except DeliveryFailed as error:
            failure = error
        else:
            move(conn, due, summary, receipt, last_hash)
            return True
        note_failure(conn, settings, due, failure, Chunk((), stop, is_full=True))
        return False


def move(conn: Connection, due: Due, summary: Summary, receipt: Receipt, last_hash: bytes | None) -> None:
    """Lets the stream go on behind the day."""
    moved = Move(
        next_index=summary.indexes.stop,
        last_index=summary.indexes.stop - 1 if last_hash else None,
        last_hash=last_hash,
        events=summary.events,
        bytes=receipt.bytes,
        parked=(),
        skipped={},
    )
    positions.move(conn, due.name, moved)
