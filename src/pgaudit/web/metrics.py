"""The metrics of the trail as OpenMetrics. They come from the database, so every process reports the same counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest
from itertools import accumulate
from operator import attrgetter
from typing import Final, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics

import pgaudit
from pgaudit.health import HealthReport, Status
from pgaudit.settings import Mode
from pgaudit.stats import QueueStats, WorkerStats
from pgaudit.web.processor_metrics import processor_families
from pgaudit.web.scrape import Lag, Scrape, Storage
from pgaudit.web.stream_metrics import stream_families

MEDIA_TYPE: Final = openmetrics.CONTENT_TYPE_LATEST
# Each restart of a worker creates a new id, and Prometheus keeps a series for each id.
MAX_WORKER_SERIES: Final = 50


@dataclass(frozen=True, slots=True, eq=False)  # a registry knows its collectors by identity
class Collector:
    """The metrics of one observation, as a collector of prometheus-client."""

    scrape: Scrape

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics; prometheus-client calls it."""
        yield from queue_families(self.scrape.queues)
        yield from worker_families(self.scrape.workers)
        yield lag_family(self.scrape.lag)
        if self.scrape.storage:
            yield from storage_families(self.scrape.storage)
        yield from stream_families(self.scrape.streams)
        yield from processor_families(self.scrape.processors)
        yield from health_families(self.scrape.health)
        yield info_family(self.scrape.mode)


def exposition(scrape: Scrape) -> bytes:
    """Returns the metrics as OpenMetrics text."""
    registry = CollectorRegistry()
    registry.register(Collector(scrape))
    return cast("bytes", openmetrics.generate_latest(registry))  # type: ignore[no-untyped-call]  # it has no types


def queue_families(queues: list[QueueStats]) -> Iterator[Metric]:
    """Yields depths, ages and counts of the queue."""
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
    """Yields the number of workers that are alive, and the age of each heartbeat."""
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


def lag_family(lag: Lag | None) -> Metric:
    """Returns the histogram of lags; without a sample when the log is empty."""
    family = HistogramMetricFamily("pgaudit_lag", "Time from recorded to persisted.", unit="seconds")
    if lag:
        ends = [*map(str, lag.bounds), "+Inf"]
        family.add_metric([], list(zip(ends, accumulate(lag.events), strict=True)), lag.seconds)
    return family


def storage_families(storage: Storage) -> Iterator[Metric]:
    """Yields the sizes of the queue and of the log."""
    size = GaugeMetricFamily(
        "pgaudit_storage",
        "Bytes on disk with indexes: of the queue (`queue`), and of the log with its ids and further targets (`log`).",
        labels=["part"],
        unit="bytes",
    )
    size.add_metric(["queue"], storage.queue_bytes)
    size.add_metric(["log"], storage.log_bytes)
    yield size
    yield GaugeMetricFamily(
        "pgaudit_queue_dead_rows", "Rows of finished jobs that vacuum has not removed yet.", storage.queue_dead_rows
    )
    yield GaugeMetricFamily("pgaudit_log_partitions", "Partitions of the log.", storage.log_partitions)


def health_families(report: HealthReport) -> Iterator[Metric]:
    """Yields the verdicts of health, the age of the oldest transaction, the spooled events, the unrecorded changes.

    What is unknown is left out.
    """
    verdict = GaugeMetricFamily(
        "pgaudit_health_check",
        "Verdict of each health check: 0 is healthy, 1 degraded, 2 unhealthy.",
        labels=["check"],
    )
    for check in report.checks:
        verdict.add_metric([check.name], list(Status).index(check.status))
    yield verdict
    observed = {check.name: check.observed for check in report.checks}
    age, spooled = observed.get("long_transactions"), observed.get("spooled")
    unrecorded = observed.get("unrecorded_changes")
    if isinstance(age, int | float):
        yield GaugeMetricFamily(
            "pgaudit_oldest_transaction",
            "Age of the oldest open transaction of the server; left out without `pg_read_all_stats`.",
            age,
            unit="seconds",
        )
    if isinstance(spooled, int):
        yield GaugeMetricFamily("pgaudit_spooled_events", "Events that wait in files on this machine.", spooled)
    if isinstance(unrecorded, int):
        yield GaugeMetricFamily(
            "pgaudit_unrecorded_changes",
            "Rows of guarded tables changed without an event in the last day, of the latest 10,000 findings.",
            unrecorded,
        )


def info_family(mode: Mode) -> Metric:
    """Returns an info metric: its labels are the version and mode of this process, its value is 1."""
    return InfoMetricFamily(
        "pgaudit",
        "Version and `PGAUDIT_MODE` of the process that answers, as labels; always 1.",
        value={"version": pgaudit.__version__, "mode": str(mode)},
    )
