"""Failed attempts to send: schedules the next one, or pauses the stream."""

from datetime import timedelta

from pgaudit import signals
from pgaudit._backoff import backoff_delay
from pgaudit.settings import Settings
from pgaudit.streams import positions
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.positions import Connection, Due
from pgaudit.trail.chunks import Chunk


def note_failure(
    conn: Connection, settings: Settings, due: Due, failure: DeliveryFailed, chunk: Chunk | None = None
) -> None:
    """Schedules the next attempt; pauses the stream if the destination refuses it, or fails for ``stream_patience``.

    :param chunk: what was sent; None if the destination could not be opened.
    """
    delay = max(backoff(due.attempts + 1, settings), failure.retry_after or 0.0)
    failing = positions.fail(conn, due, chunk, str(failure), delay)
    if isinstance(failure, DestinationRefused) or failing > timedelta(seconds=settings.stream_patience):
        kind = "refused" if isinstance(failure, DestinationRefused) else "failing"
        positions.pause(conn, due.name, kind, str(failure))
        signals.stream_paused.send(stream=due.name, kind=kind, reason=str(failure))
    elif due.attempts == 0:
        signals.stream_failing.send(stream=due.name, reason=str(failure), retry_in=delay)


def backoff(attempts: int, settings: Settings) -> float:
    """Returns the seconds until the next attempt: doubled with each one, as for jobs, with jitter of a fifth."""
    return backoff_delay(attempts, settings.job_backoff_delay, settings.job_backoff_max) / 1_000
