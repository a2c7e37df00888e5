"""Reads what ``/metrics`` reports, in the caller's transaction."""

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row

from pgaudit import health, processors, stats, streams
from pgaudit.health import HealthReport
from pgaudit.processors import ProcessorStats
from pgaudit.settings import Mode, Settings
from pgaudit.stats import QueueStats, WorkerStats
from pgaudit.streams import Stream

# Each batch adds its events to the totals of the batch before, so the last one has those of the whole log.
LAG: Final = """
    SELECT array(SELECT extract(epoch FROM bound)::double precision
                   FROM unnest(pgaudit.lag_bucket_bounds()) bound) AS bounds,
           lag_buckets AS events, extract(epoch FROM lag_total)::double precision AS seconds
      FROM pgaudit.batch ORDER BY first_index DESC LIMIT 1
"""
# pg_total_relation_size needs no right to a table. The log includes the tables of event ids and of further targets.
STORAGE: Final = """
    SELECT pg_total_relation_size('pgaudit.audit_jobs') AS queue_bytes,
           pg_stat_get_dead_tuples('pgaudit.audit_jobs'::regclass) AS queue_dead_rows,
           (SELECT sum(pg_total_relation_size(relid))::bigint
              FROM (SELECT relid FROM pg_partition_tree('pgaudit.audit_log') WHERE isleaf
                    UNION ALL VALUES ('pgaudit.event_key'::regclass), ('pgaudit.event_target')) stored) AS log_bytes,
           (SELECT count(*) FROM pg_partition_tree('pgaudit.audit_log') WHERE isleaf) AS log_partitions
"""


@dataclass(frozen=True, slots=True)
class Lag:
    """Histogram of the time from recording to persisting."""

    bounds: list[float]
    """Upper bounds of the buckets, in seconds; the last bucket has none."""
    events: list[int]
    """Events in each bucket, not cumulative."""
    seconds: float
    """Sum of all lags."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Sizes of the queue and of the log, indexes included."""

    queue_bytes: int
    queue_dead_rows: int
    log_bytes: int
    log_partitions: int


@dataclass(frozen=True, slots=True)
class Scrape:
    """One observation of the trail, and the mode of the process that makes it."""

    queues: list[QueueStats]
    workers: list[WorkerStats]
    lag: Lag | None
    storage: Storage | None
    streams: list[Stream]
    processors: list[ProcessorStats]
    health: HealthReport
    mode: Mode


def look(conn: psycopg.Connection[Any], settings: Settings) -> Scrape:
    """Observes the trail in the caller's transaction."""
    with conn.cursor(row_factory=class_row(Lag)) as cursor:
        lag = cursor.execute(LAG).fetchone()
    queues, workers, storage = stats.queue_stats(conn), stats.worker_stats(conn), measure_storage(conn)
    sent, called = streams.list_streams(conn), processors.list_processors(conn)
    # Last, because it turns an error of the database, which ends the transaction, into a verdict.
    return Scrape(queues, workers, lag, storage, sent, called, health.check(conn, settings), settings.mode)


def measure_storage(conn: psycopg.Connection[Any]) -> Storage | None:
    """Returns the sizes; None after waiting 0.1 s for a locked table (VACUUM FULL): other metrics must not wait."""
    try:
        # The rollback restores the caller's limit.
        with conn.transaction(force_rollback=True), conn.cursor(row_factory=class_row(Storage)) as cursor:
            cursor.execute("SET LOCAL lock_timeout = '100ms'")
            return cursor.execute(STORAGE).fetchone()
    except LockNotAvailable:
        return None
