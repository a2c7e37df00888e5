"""The metrics of the streams: how far each is behind the log, and what it could not send."""

from collections.abc import Iterator
from heapq import nlargest
from operator import attrgetter
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pgaudit.streams import Stream

MOST_SERIES: Final = 50  # those that are furthest behind


def stream_families(streams: list[Stream]) -> Iterator[Metric]:
    """Yields how far each stream is behind, what it has sent and parked, its failures, and whether it is paused."""
    lag_events = GaugeMetricFamily(
        "pgaudit_stream_lag_events", "Events of the log that a stream has not got to yet.", labels=["stream"]
    )
    lag_seconds = GaugeMetricFamily(
        "pgaudit_stream_lag", "Age of the oldest of them; 0 when there is none.", labels=["stream"], unit="seconds"
    )
    delivered = CounterMetricFamily(
        "pgaudit_stream_events_delivered", "Events that the destination has accepted.", labels=["stream"]
    )
    parked = GaugeMetricFamily(
        "pgaudit_stream_parked_events", "Events that it has refused, and those behind them.", labels=["stream"]
    )
    failures = GaugeMetricFamily(
        "pgaudit_stream_failures", "Failed attempts to send to it within the last day.", labels=["stream"]
    )
    paused = GaugeMetricFamily(
        "pgaudit_stream_paused", "1 while a stream is paused, by whom or what ever; 0 otherwise.", labels=["stream"]
    )
    for stream in nlargest(MOST_SERIES, streams, key=attrgetter("lag_events")):
        lag_events.add_metric([stream.name], stream.lag_events)
        lag_seconds.add_metric([stream.name], max(stream.lag_seconds, 0.0))
        delivered.add_metric([stream.name], stream.delivered)
        parked.add_metric([stream.name], stream.parked)
        failures.add_metric([stream.name], stream.failures_last_day)
        paused.add_metric([stream.name], stream.state == "paused")
    yield from (lag_events, lag_seconds, delivered, parked, failures, paused)
