"""How fast does the log get into each engine that is larger than one Postgres?

Variants: streams to files, to NATS JetStream (a server of its own, replicas=1) and to Kafka (librdkafka's mock cluster,
which keeps everything in memory: it shows what the sending side can do); an archive Postgres.
Measured: events a second that one worker delivers from a log that is complete; that the archive's first copy takes, and
that it applies while a worker drains the queue of the primary.
Duration: about 3 minutes.
"""

import argparse
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg

from benchmarks.support import contenders, databases, workers
from benchmarks.support.contenders import drain
from benchmarks.support.report import Measurement, Report
from benchmarks.support.server import RUN, Bench
from pgaudit import archive, migrate, streams
from pgaudit.testing.server import TemporaryServer
from tests.support.kafka import kafka_brokers
from tests.support.nats import nats_server

LOGGED: Final = "pgaudit_benchmark_logged"
LEFT: Final = "SELECT max(lag_events) = 0 FROM pgaudit.stream_stats"
BEGUN: Final = "SELECT EXISTS (SELECT FROM pgaudit.delivery)"
SIZE: Final = "SELECT size >= %s FROM pgaudit.log_head"
SERVER: Final[dict[str, str | int]] = {"fsync": "on", "wal_level": "logical", "max_wal_size": "8GB"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--events", type=int, default=100_000, help="events that are delivered (100,000)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Measures streams by turns, then the archive."""
    databases.create_queued(bench, options.events)
    bench.create(RUN, databases.QUEUED)
    drain(bench, contenders.pgaudit(), options.events)
    bench.create(LOGGED, RUN)
    measured = {
        name: Measurement(f"a stream to {name}", name, "events/s", ours=True) for name in ("files", "NATS", "Kafka")
    }
    for turn in range(options.rounds):
        with receivers() as urls:
            for name, url in urls.items():
                measured[name].values.append(delivered(bench, url, options.events))
        report.progress(f"round {turn + 1} of {options.rounds}")
    report.table("Delivering a log that is complete", list(measured.values()))
    copied = Measurement("its first copy", "copied", "events/s", ours=True)
    applied = Measurement("while a worker drains the queue", "applied", "events/s", ours=True)
    for _ in range(options.rounds):
        measure_archive(options.events, copied, applied)
    report.table("An archive Postgres", [copied, applied])
    bench.drop(RUN, LOGGED, databases.QUEUED, databases.BUSINESS)


@contextmanager
def receivers() -> Generator[dict[str, str]]:
    """Yields the URL of each engine, which is empty."""
    with TemporaryDirectory() as directory, nats_server(Path(directory, "nats")) as nats, kafka_brokers() as kafka:
        yield {
            "files": f"file:{directory}/files",
            "NATS": f"nats://{nats.place}?stream=AUDIT",
            "Kafka": f"kafka://{kafka.place}/audit",
        }


def delivered(bench: Bench, url: str, events: int) -> float:
    """Returns how many events a second one worker delivers."""
    bench.create(RUN, LOGGED)
    with bench.connect(RUN) as conn:
        streams.add(conn, "engine", to=url, start=0, allow_private=True)
        with workers.worker(bench.conninfo(RUN), *workers.PGAUDIT) as process:
            start = workers.wait_for(conn, BEGUN, process, pause=0.002)
            return events / (workers.wait_for(conn, LEFT, process) - start)


def measure_archive(events: int, copied: Measurement, applied: Measurement) -> None:
    """Adds how many events a second an archive takes."""
    with running() as primary, running() as second:
        migrate.upgrade(primary.conninfo)
        with (
            psycopg.connect(primary.conninfo, autocommit=True) as here,
            psycopg.connect(second.conninfo, autocommit=True) as there,
        ):
            fill(here, there=None, conninfo=primary.conninfo, events=events, end=events)
            start = time.perf_counter()
            archive.setup(here, there, second.conninfo, primary.conninfo)
            copied.values.append(events / (time.perf_counter() - start))
            seconds = fill(here, there=there, conninfo=primary.conninfo, events=events, end=2 * events)
            applied.values.append(events / seconds)
            there.execute("DROP SUBSCRIPTION pgaudit_archive")


def fill(
    here: psycopg.Connection[Any], *, there: psycopg.Connection[Any] | None, conninfo: str, events: int, end: int
) -> float:
    """Queues events and lets a worker drain them. Returns the seconds until the primary has them, or the archive."""
    databases.queue_events(here, events)
    with workers.worker(conninfo, *workers.PGAUDIT) as process:
        start = workers.wait_for(here, SIZE, process, end - events + 1, pause=0.002)
        return workers.wait_for(there or here, SIZE, process, end) - start


@contextmanager
def running() -> Generator[TemporaryServer]:
    """Runs a server of its own, which flushes to disk as usual."""
    server = TemporaryServer(None, **SERVER)
    try:
        yield server
    finally:
        server.stop()
