"""Views of the schema as typed rows; ``pgaudit.jobs`` lists jobs. Ages and lags are in seconds, sizes in bytes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, TypeVar

from psycopg.rows import class_row

from pgaudit._driver import fetch, reading

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Jobs by state. ``completed`` counts the events in the log."""

    queue_name: str
    waiting: int
    active: int
    delayed: int
    failed: int
    completed: int
    stalled: int
    oldest_waiting_seconds: float | None


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """A worker that runs, or that vanished within the last day."""

    worker_id: int
    last_heartbeat: datetime
    heartbeat_age_seconds: float
    alive: bool
    active_jobs: int


@dataclass(frozen=True, slots=True)
class WorkerThroughput:
    """What a worker has persisted lately."""

    worker_id: int
    events: int
    batches: int
    last_persisted_at: datetime


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job whose attempts are used up."""

    job_id: int
    queue_name: str
    task_name: str
    event_id: str | None
    action: str | None
    attempts: int
    failed_at: datetime | None
    error_class: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Throughput:
    """One minute of the last 24 hours."""

    minute: datetime
    events: int
    batches: int
    avg_lag_seconds: float
    max_lag_seconds: float


@dataclass(frozen=True, slots=True)
class StorageStats:
    """Size and bloat of a table or partition; rows are estimated."""

    table_name: str
    estimated_rows: int
    total_bytes: int
    dead_rows: int | None
    last_autovacuum: datetime | None


@dataclass(frozen=True, slots=True)
class SealingStats:
    """How far the log is signed and verified, as the database says. ``found`` has the findings that stand."""

    size: int
    checkpoint_size: int | None
    signed_at: datetime | None
    unsigned_events: int
    unsigned_seconds: float
    refused: str | None
    refused_since: datetime | None
    verifying: bool
    verified_end: int | None
    verified_at: datetime | None
    fully_verified_first: int | None
    fully_verified_end: int | None
    fully_verified_at: datetime | None
    level: str | None
    failed_at: datetime | None
    findings: int | None
    found: list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True)
class AnchorStats:
    """An anchor in use, and the age of the oldest checkpoint that it does not have."""

    name: str
    size: int
    anchored_at: datetime | None
    lag_seconds: float
    attempts: int
    failed_at: datetime | None
    error: str | None


QUEUE_STATS: Final = """
    SELECT queue_name, waiting, active, delayed, failed, completed, stalled, oldest_waiting_seconds
      FROM pgaudit.queue_stats
"""
WORKER_STATS: Final = """
    SELECT worker_id, last_heartbeat, heartbeat_age_seconds, alive, active_jobs
      FROM pgaudit.worker_stats ORDER BY worker_id
"""
WORKER_THROUGHPUT: Final = """
    SELECT worker_id, sum(count)::bigint AS events, sum(batches)::bigint AS batches,
           max(persisted_at) AS last_persisted_at
      FROM pgaudit.batch
     WHERE persisted_at > clock_timestamp() - %s * interval '1 minute' AND worker_id IS NOT NULL
     GROUP BY worker_id ORDER BY worker_id
"""
FAILED_JOBS: Final = """
    SELECT job_id, queue_name, task_name, event_id, action, attempts, failed_at, error_class, error_message
      FROM pgaudit.failed_jobs ORDER BY job_id LIMIT %s
"""
THROUGHPUT: Final = """
    SELECT minute, events, batches, avg_lag_seconds, max_lag_seconds
      FROM pgaudit.throughput ORDER BY minute DESC LIMIT %s
"""
STORAGE_STATS: Final = """
    SELECT table_name, estimated_rows, total_bytes, dead_rows, last_autovacuum
      FROM pgaudit.storage_stats ORDER BY total_bytes DESC
"""

SEALING_STATS: Final = """
    SELECT size, checkpoint_size, signed_at, unsigned_events, unsigned_seconds, refused, refused_since, verifying,
           verified_end, verified_at, fully_verified_first, fully_verified_end, fully_verified_at, level, failed_at,
           findings, found
      FROM pgaudit.sealing_stats
"""
ANCHOR_STATS: Final = """
    SELECT name, size, anchored_at, lag_seconds, attempts, failed_at, error FROM pgaudit.anchor_stats ORDER BY name
"""


def queue_stats(conn: object) -> list[QueueStats]:
    """Returns the queue in one row."""
    return _rows(conn, QueueStats, QUEUE_STATS)


def worker_stats(conn: object) -> list[WorkerStats]:
    """Returns a row for each worker; it is alive while its heartbeat is younger than its own ``stalled_after``."""
    return _rows(conn, WorkerStats, WORKER_STATS)


def worker_throughput(conn: object, minutes: int = 15) -> list[WorkerThroughput]:
    """Returns a row for each worker that has persisted something in the last minutes."""
    return _rows(conn, WorkerThroughput, WORKER_THROUGHPUT, minutes)


def failed_jobs(conn: object, limit: int = 100) -> list[FailedJob]:
    """Returns the jobs that have failed, the oldest first."""
    return _rows(conn, FailedJob, FAILED_JOBS, limit)


def throughput(conn: object, minutes: int = 60) -> list[Throughput]:
    """Returns the latest minutes in which something was persisted, the newest first."""
    return _rows(conn, Throughput, THROUGHPUT, minutes)


def storage_stats(conn: object) -> list[StorageStats]:
    """Returns a row for each table and partition, the largest first."""
    return _rows(conn, StorageStats, STORAGE_STATS)


def sealing_stats(conn: object) -> list[SealingStats]:
    """Returns how far the log is signed and verified, in one row."""
    return _rows(conn, SealingStats, SEALING_STATS)


def anchor_stats(conn: object) -> list[AnchorStats]:
    """Returns a row for each anchor in use."""
    return _rows(conn, AnchorStats, ANCHOR_STATS)


def _rows(conn: object, kind: type[_Row], query: LiteralString, *parameters: object) -> list[_Row]:
    """Returns the rows of a query as objects of that class."""
    return fetch(reading(conn), class_row(kind), query, parameters)
