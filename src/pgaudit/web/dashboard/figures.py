"""Observations for the overview and the page of the workers, shared by all viewers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg.errors import LockNotAvailable

from pgaudit import health, stats
from pgaudit.health import Check, HealthReport, Status
from pgaudit.jobs import pages as job_pages
from pgaudit.jobs.pages import QueuedJob
from pgaudit.settings import Settings
from pgaudit.stats import QueueStats, SealingStats, StorageStats, Throughput, WorkerStats, WorkerThroughput

MINUTES: Final = 1_440  # the longest range of a plot
LARGEST: Final = 5
LATELY_MINUTES: Final = 15

# Groups of tables, by how their names begin.
GROUPS: Final = (
    ("Log", ("audit_log_",)),
    ("Ids, targets and conflicts of its events", ("event_",)),
    ("Queue, errors and acknowledged jobs", ("audit_jobs", "job_error", "acknowledged_", "queue_", "procrastinate_")),
    ("Other", ("",)),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """One observation of the whole trail."""

    observed_at: datetime
    queue: QueueStats
    workers: list[WorkerStats]
    throughput: list[Throughput]
    storage: list[StorageStats] | None
    """None while a table is locked."""
    failed: list[QueuedJob]
    health: HealthReport
    sealing: SealingStats


@dataclass(frozen=True, slots=True)
class WorkersSeen:
    """The workers, each with what it has persisted lately, and the jobs that wait for them or run."""

    observed_at: datetime
    workers: list[tuple[WorkerStats, WorkerThroughput | None]]
    open_jobs: int
    minutes: int = LATELY_MINUTES


@dataclass(frozen=True, slots=True)
class StorageGroup:
    """Tables of one purpose, and their part of the whole in percent."""

    name: str
    tables: int
    total_bytes: int
    share: float


def look(conn: psycopg.Connection[Any], settings: Settings) -> Figures:
    """Observes the trail in the caller's transaction."""
    (queue,) = stats.queue_stats(conn)
    return Figures(
        datetime.now(UTC),
        queue,
        stats.worker_stats(conn),
        stats.throughput(conn, MINUTES),
        measure_storage(conn),
        job_pages.newest_failed(conn),
        health.check(conn, settings),
        *stats.sealing_stats(conn),
    )


def look_at_workers(conn: psycopg.Connection[Any]) -> WorkersSeen:
    """Observes the workers in the caller's transaction."""
    lately = {one.worker_id: one for one in stats.worker_throughput(conn, LATELY_MINUTES)}
    seen = [(worker, lately.get(worker.worker_id)) for worker in stats.worker_stats(conn)]
    (queue,) = stats.queue_stats(conn)
    return WorkersSeen(datetime.now(UTC), seen, queue.waiting + queue.active)


def measure_storage(conn: psycopg.Connection[Any]) -> list[StorageStats] | None:
    """Returns the sizes of the tables; None after waiting 0.1 s for a locked one (VACUUM FULL)."""
    try:
        with conn.transaction(force_rollback=True):  # the rollback restores the limit
            conn.execute("SET LOCAL lock_timeout = '100ms'")
            return stats.storage_stats(conn)
    except LockNotAvailable:
        return None


def storage_groups(tables: Sequence[StorageStats]) -> list[StorageGroup]:
    """Returns the sizes by purpose, those that have a table."""
    grouped: dict[str, list[int]] = {name: [] for name, _ in GROUPS}
    for table in tables:
        grouped[next(name for name, prefixes in GROUPS if table.table_name.startswith(prefixes))].append(
            table.total_bytes
        )
    whole = sum(table.total_bytes for table in tables) or 1
    return [
        StorageGroup(name, len(sizes), sum(sizes), round(100 * sum(sizes) / whole, 1))
        for name, sizes in grouped.items()
        if sizes
    ]


def by_status(checks: Sequence[Check]) -> dict[str, list[Check]]:
    """Returns the checks that are not good, the worst first, and those that are."""
    order = list(Status)
    bad = sorted(
        (check for check in checks if check.status is not Status.HEALTHY), key=lambda check: -order.index(check.status)
    )
    return {"bad": bad, "good": [check for check in checks if check.status is Status.HEALTHY]}
