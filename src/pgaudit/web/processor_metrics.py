"""The metrics of the processors: how far each is behind the log, and its jobs."""

from collections.abc import Iterator
from heapq import nlargest
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from pgaudit.processors import ProcessorStats

MOST_SERIES: Final = 50  # those that are furthest behind
STATES: Final = ("waiting", "delayed", "running", "failed")


def processor_families(processors: list[ProcessorStats]) -> Iterator[Metric]:
    """Yields how far each processor is behind, its jobs by state, and whether it is paused."""
    lag_events = GaugeMetricFamily(
        "pgaudit_processor_lag_events", "Events of the log that have not got their jobs yet.", labels=["processor"]
    )
    lag_seconds = GaugeMetricFamily(
        "pgaudit_processor_lag",
        "Age of the oldest of them; 0 when there is none.",
        labels=["processor"],
        unit="seconds",
    )
    jobs = GaugeMetricFamily("pgaudit_processor_jobs", "Jobs of a processor, by state.", labels=["processor", "state"])
    paused = GaugeMetricFamily(
        "pgaudit_processor_paused", "1 while it is paused, by whom or what ever; 0 otherwise.", labels=["processor"]
    )
    for stats in nlargest(MOST_SERIES, processors, key=lambda one: one.lag_events + one.waiting):
        lag_events.add_metric([stats.name], stats.lag_events)
        lag_seconds.add_metric([stats.name], max(stats.lag_seconds, 0.0))
        for state in STATES:
            jobs.add_metric([stats.name, state], getattr(stats, state))
        paused.add_metric([stats.name], stats.state == "paused")
    yield from (lag_events, lag_seconds, jobs, paused)
