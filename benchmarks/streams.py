"""What do streams cost the worker that drains the queue, and how fast do they deliver?

Variants: a worker without streams; with five streams to files; with five of which one answers after a second, and one
not at all.
Measured: events a second that the worker drains, by turns; then, on a log that is complete, events a second that one
and five streams to files deliver; ms from the commit of an event until it is in a file.
Duration: about 5 minutes.
"""

import argparse
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Final

import psycopg

from benchmarks.support import contenders, databases, workers
from benchmarks.support.contenders import drain
from benchmarks.support.load import event
from benchmarks.support.report import Measurement, Report, ratio
from benchmarks.support.server import RUN, Bench
from pgaudit import AuditLog, Settings, streams

LOGGED: Final = "pgaudit_benchmark_logged"
STREAMS: Final = 5
DRAIN_RATIO: Final = 0.95
ANSWER_SECONDS: Final = 1.0
PROBES: Final = 20
SECRET: Final = "STREAM_BENCHMARK_SECRET"
NOBODY: Final = f"http://127.0.0.1:9/?secret=env:{SECRET}"  # the port of the discard protocol, where nobody listens
LEFT: Final = "SELECT max(lag_events) = 0 FROM pgaudit.stream_stats"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--events", type=int, default=100_000, help="events that are drained (100,000)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Measures the cost to the drain by turns, then what streams deliver."""
    os.environ[SECRET] = "whsec_" + "QUJD" * 11
    databases.create_queued(bench, options.events)
    with TemporaryDirectory() as directory, slow_endpoint() as slow:
        files = [f"file:{directory}/{number}" for number in range(STREAMS)]
        measure_drain(bench, report, options, {"files": files, "faults": [*files[:-2], slow, NOBODY]})
        measure_delivery(bench, report, options, files)
    bench.drop(RUN, databases.QUEUED, databases.BUSINESS)


def measure_drain(bench: Bench, report: Report, options: argparse.Namespace, urls: dict[str, list[str]]) -> None:
    """Drains the same queue by turns without streams, with five, and with five of which two are no good."""
    measured = {
        "without": Measurement("without streams", "without", "events/s"),
        "files": Measurement("five streams to files", "files", "events/s", ours=True),
        "faults": Measurement("three to files, a slow one, a dead one", "faults", "events/s", ours=True),
    }
    for turn in range(options.rounds):
        for variant, measurement in measured.items():
            create(bench, databases.QUEUED, urls.get(variant, []))
            measurement.values.append(drain(bench, contenders.pgaudit(), options.events).rate)
        report.progress(f"round {turn + 1} of {options.rounds}")
    without = measured["without"]
    report.table(f"Draining {options.events:,} events", list(measured.values()), without)
    for variant in urls:
        report.target(
            f"draining with {measured[variant].name}, of without", ratio(measured[variant], without), DRAIN_RATIO
        )


def measure_delivery(bench: Bench, report: Report, options: argparse.Namespace, files: list[str]) -> None:
    """Measures how fast a complete log is delivered, and how soon a new event is."""
    rates = {
        1: Measurement("one stream", "one", "events/s", ours=True),
        STREAMS: Measurement("five streams, all together", "five", "events/s", ours=True),
    }
    lag = Measurement("from the commit until it is in a file", "lag", "ms", ours=True)
    create(bench, databases.QUEUED, [])
    drain(bench, contenders.pgaudit(), options.events)
    bench.create(LOGGED, RUN)
    for _ in range(options.rounds):
        for count, measurement in rates.items():
            create(bench, LOGGED, files[:count])
            with bench.connect(RUN) as conn, workers.worker(bench.conninfo(RUN), *workers.PGAUDIT) as process:
                start = wait_for_first(conn, process)
                end = workers.wait_for(conn, LEFT, process)
                measurement.values.append(options.events * count / (end - start))
                if count == 1:
                    lag.values += probe(conn, process)
    report.table("Delivering a log that is complete", list(rates.values()))
    report.table("A new event", [lag])
    bench.drop(LOGGED)


def create(bench: Bench, template: str, urls: list[str]) -> None:
    """Creates the database of a run, with streams from the beginning of the log."""
    bench.create(RUN, template)
    with bench.connect(RUN) as conn:
        for number, url in enumerate(urls):
            name = f"stream-{number}"
            to = f"{url}/{time.monotonic_ns()}" if url.startswith("file:") else url
            streams.add(conn, name, to=to, start=0, allow_private=True)


def wait_for_first(conn: psycopg.Connection[Any], process: workers.Process) -> float:
    """Waits until the worker delivers, and returns that time."""
    return workers.wait_for(conn, "SELECT EXISTS (SELECT FROM pgaudit.delivery)", process, pause=0.002)


def probe(conn: psycopg.Connection[Any], process: workers.Process) -> list[float]:
    """Returns how many ms each of a few events takes from its commit until it is delivered."""
    audit = AuditLog(Settings())
    taken: list[float] = []
    for number in range(PROBES):
        time.sleep(1.1 * number / PROBES + 0.2)  # at all times between two looks of the worker
        with conn.transaction():
            audit.record(conn, event(number))
        start = time.perf_counter()
        delivered = "SELECT delivered >= %s FROM pgaudit.stream_stats"
        (before,) = conn.execute("SELECT delivered FROM pgaudit.stream_stats").fetchone() or (0,)
        taken.append(1_000 * (workers.wait_for(conn, delivered, process, before + 1, pause=0.002) - start))
    return taken


@contextmanager
def slow_endpoint() -> Generator[str]:
    """Serves a receiver that takes everything, after a second; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            time.sleep(ANSWER_SECONDS)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Prints nothing between the measurements."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/?secret=env:{SECRET}"
    finally:
        server.shutdown()
