"""The processors of a database: how they do, pausing them, and giving them events of the past."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.rows import class_row

from pgaudit._driver import fetch, reading
from pgaudit.errors import InvalidProcessor, StreamNotFound
from pgaudit.streams.changes import change

COLUMNS: Final = """
    SELECT name, query, state, paused_at, paused_by, pause_kind, pause_reason, next_index, lag_events, lag_seconds,
           waiting, delayed, running, failed, oldest_waiting_seconds, longest_running_seconds, succeeded, discarded,
           jobs_per_second, failures_in_a_row, last_error, last_ended_at, backfill_events, concurrency, rate,
           break_after, added_at, known_at
      FROM pgaudit.processor_stats
"""
BACKFILLS: Final = """
    SELECT id, from_index, to_index, next_index, jobs, added_at, added_by, ended_at
      FROM pgaudit.processor_backfill WHERE processor = %(name)s ORDER BY id DESC LIMIT %(count)s
"""
PAUSE: Final = "SELECT pgaudit.pause_stream(%(name)s, 'asked', %(reason)s)"
RESUME: Final = "SELECT pgaudit.resume_stream(%(name)s)"
BACKFILL: Final = "SELECT pgaudit.backfill_processor(%(name)s, %(from_index)s, %(to_index)s)"
REMOVE: Final = "SELECT pgaudit.remove_processor(%(name)s)"


@dataclass(frozen=True, slots=True)
class ProcessorStats:
    """A processor, how far it is, and what its jobs do: a row of the view ``pgaudit.processor_stats``."""

    name: str
    query: str
    state: str
    paused_at: datetime | None
    paused_by: str | None
    pause_kind: str | None
    pause_reason: str | None
    next_index: int
    lag_events: int
    lag_seconds: float
    waiting: int
    delayed: int
    running: int
    failed: int
    oldest_waiting_seconds: float | None
    longest_running_seconds: float | None
    succeeded: int
    discarded: int
    jobs_per_second: float
    failures_in_a_row: int
    last_error: str | None
    last_ended_at: datetime | None
    backfill_events: int
    concurrency: int | None
    rate: float | None
    break_after: int | None
    added_at: datetime
    known_at: datetime


@dataclass(frozen=True, slots=True)
class Backfill:
    """Events of the past that a processor gets: from ``from_index`` to ``to_index``, and how far that is."""

    id: int
    from_index: int
    to_index: int
    next_index: int
    jobs: int
    added_at: datetime
    added_by: str
    ended_at: datetime | None

    @property
    def progress(self) -> float:
        """The part of the range that was looked at: 0.0 to 1.0."""
        return (self.next_index - self.from_index) / (self.to_index + 1 - self.from_index)


def list_processors(conn: object) -> list[ProcessorStats]:
    """Returns the processors that workers have registered, by name."""
    return fetch(reading(conn), class_row(ProcessorStats), COLUMNS + " ORDER BY name")


def get_processor(conn: object, name: str) -> ProcessorStats:
    """Returns one processor.

    :raises StreamNotFound: no worker has registered one of that name.
    """
    rows = fetch(reading(conn), class_row(ProcessorStats), COLUMNS + " WHERE name = %(name)s", {"name": name})
    if not rows:
        raise StreamNotFound(
            f"there is no processor {name}: `pgaudit processors list` lists those that workers have registered"
        )
    return rows[0]


def backfills(conn: object, name: str, count: int = 20) -> list[Backfill]:
    """Returns the newest backfills of a processor, the newest first."""
    return fetch(reading(conn), class_row(Backfill), BACKFILLS, {"name": name, "count": count})


def pause(conn: object, name: str, reason: str | None = None) -> None:
    """Pauses a processor: it gets no jobs, and those it has wait. Nothing is lost.

    :raises StreamNotFound: there is none of that name.
    """
    get_processor(conn, name)
    change(conn, PAUSE, {"name": name, "reason": reason}, processor_refusal)


def resume(conn: object, name: str) -> None:
    """Resumes a processor.

    :raises StreamNotFound: there is none of that name.
    """
    get_processor(conn, name)
    change(conn, RESUME, {"name": name}, processor_refusal)


def backfill(conn: object, name: str, from_index: int, to_index: int | None = None) -> int:
    """Runs a processor for the events of a range, both ends included; up to its position if ``to_index`` is None.

    Events that it has had already come again. An event whose job waits, runs or has failed gets no second job.

    :returns: the number of the backfill.
    :raises StreamNotFound: there is no processor of that name.
    :raises InvalidProcessor: the range does not lie behind its position, or ends before it begins.
    """
    if to_index is not None and to_index < from_index:
        raise InvalidProcessor(f"a backfill from {from_index} to {to_index} has no events: the first index comes first")
    return int(
        change(conn, BACKFILL, {"name": name, "from_index": from_index, "to_index": to_index}, processor_refusal)
    )


def remove(conn: object, name: str) -> None:
    """Removes a processor that is no longer in the code, with its jobs. This needs the owner of the schema.

    A worker whose code still declares it registers it again.

    :raises StreamNotFound: there is none of that name.
    """
    change(conn, REMOVE, {"name": name}, processor_refusal)


def processor_refusal(message: str) -> InvalidProcessor | StreamNotFound:
    """Returns the error for what the database has refused."""
    return (StreamNotFound if message.startswith("there is no") else InvalidProcessor)(message)
