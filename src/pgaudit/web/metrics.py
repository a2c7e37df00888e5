"""The trail as OpenMetrics, from one look at the database: whichever process is asked, it counts the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final, cast

import psycopg
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from psycopg.rows import class_row

from pgaudit import stats
from pgaudit.recording import spool
from pgaudit.settings import Settings
from pgaudit.stats import QueueStats, WorkerStats

MEDIA_TYPE: Final = openmetrics.CONTENT_TYPE_LATEST
# Each restart of a worker makes a new id, and each id a series for good in the memory of Prometheus.
MAX_WORKER_SERIES: Final = 50
# The last batch has counted the whole log.
LAG: Final = """
    SELECT array(SELECT extract(epoch FROM bound)::double precision
                   FROM unnest(pgaudit.lag_bucket_bounds()) bound) AS bounds,
           lag_buckets AS events, extract(epoch FROM lag_total)::double precision AS seconds
      FROM pgaudit.batch ORDER BY first_index DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Lag:
    """Events by class of lag, from recorded to persisted, each counted once; the last class is above every bound.

    Bounds, and the sum of all lags, are in seconds.
    """

    bounds: list[float]
    events: list[int]
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)  # a registry knows its collectors by identity
class Scrape:
    """One observation, as a collector of prometheus-client. It is a snapshot: make a new one for each scrape."""

    queues: list[QueueStats]
    workers: list[WorkerStats]
    lag: Lag | None
    spooled: int

    def collect(self) -> Iterator[Metric]:
        """Returns the metrics."""
        yield from queue_families(self.queues)
        yield from worker_families(self.workers)
        yield from lag_family(self.lag)
        yield GaugeMetricFamily("pgaudit_spooled_events", "Events that wait in files on this machine.", self.spooled)


def look(conn: psycopg.Connection[Any], settings: Settings) -> Scrape:
    """Observes the trail in the caller's transaction."""
    with conn.cursor(row_factory=class_row(Lag)) as cursor:
        lag = cursor.execute(LAG).fetchone()
    queues = stats.queue_stats(conn)
    workers = stats.worker_stats(conn)
    return Scrape(queues, workers, lag, spool.count(settings.spool_dir))


def exposition(scrape: Scrape) -> bytes:
    """Returns the metrics as OpenMetrics text."""
    registry = CollectorRegistry()
    registry.register(scrape)
    # It carries no types.
    return cast("bytes", openmetrics.generate_latest(registry))  # type: ignore[no-untyped-call]


def queue_families(queues: list[QueueStats]) -> Iterator[Metric]:
    """Returns depths, ages and counts of the queue."""
    depth = GaugeMetricFamily("pgaudit_jobs", "Jobs in the queue, by state.", labels=["queue", "state"])
    stalled = GaugeMetricFamily("pgaudit_stalled_jobs", "Active jobs whose worker is gone or silent.", labels=["queue"])
    oldest = GaugeMetricFamily(
        "pgaudit_oldest_waiting", "Age of the oldest waiting job; 0 when none waits.", labels=["queue"], unit="seconds"
    )
    persisted = CounterMetricFamily("pgaudit_events_persisted", "Events in the log.", labels=["queue"])
    for queue in queues:
        for state in ("waiting", "active", "delayed", "failed"):
            depth.add_metric([queue.queue_name, state], getattr(queue, state))
        stalled.add_metric([queue.queue_name], queue.stalled)
        oldest.add_metric([queue.queue_name], max(queue.oldest_waiting_seconds or 0.0, 0.0))
        persisted.add_metric([queue.queue_name], queue.completed)
    yield from (depth, stalled, oldest, persisted)


def worker_families(workers: list[WorkerStats]) -> Iterator[Metric]:
    """Returns which workers are alive, and the age of each heartbeat."""
    yield GaugeMetricFamily(
        "pgaudit_workers_alive", "Workers with a recent heartbeat.", sum(worker.alive for worker in workers)
    )
    age = GaugeMetricFamily(
        "pgaudit_worker_heartbeat_age",
        "Time since a worker's last heartbeat, for the latest 50 workers of the last day.",
        labels=["worker"],
        unit="seconds",
    )
    for worker in nsmallest(MAX_WORKER_SERIES, workers, key=attrgetter("heartbeat_age_seconds")):
        age.add_metric([str(worker.worker_id)], worker.heartbeat_age_seconds)
    yield age


def lag_family(lag: Lag | None) -> Iterator[Metric]:
    """Returns the histogram of lags; without a sample when the log is empty."""
    family = HistogramMetricFamily("pgaudit_lag", "Time from recorded to persisted.", unit="seconds")
    if lag:
        ends = [*map(str, lag.bounds), "+Inf"]
        family.add_metric([], list(zip(ends, accumulate(lag.events), strict=True)), lag.seconds)
    yield family
