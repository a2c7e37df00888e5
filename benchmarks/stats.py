"""What it costs to look: each view, the health check and the metrics, while the log and the queue are long.

All events count as logged within the last 24 hours, in batches of ``--batch``, for ``throughput`` reads those of a day.
10,000,000 events take 8 GB and some minutes to fill.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, Final

from psycopg import sql

from benchmarks import filled, load, peers, store
from benchmarks.events import event
from benchmarks.figures import Figure
from benchmarks.report import Report
from benchmarks.server import RUN, Bench
from pgaudit import health
from pgaudit.web import metrics

VIEWS: Final = (
    "queue_stats", "worker_stats", "failed_jobs", "stalled_jobs", "delayed_jobs", "throughput", "storage_stats",
)  # fmt: skip
HEALTH, METRICS = "health.check", "/metrics"
# Copies of a batch that was persisted, whatever its columns, spread over a day.
BATCHES: Final = """
    INSERT INTO pgaudit.batch
    SELECT (jsonb_populate_record(b, jsonb_build_object(
               'first_index', first, 'count', least(%(batch)s, %(events)s - first), 'persisted_at', at,
               'oldest_recorded', at - interval '10 ms', 'newest_recorded', at - interval '3 ms'))).*
      FROM pgaudit.batch b,
           (SELECT first, now() - interval '1 day' * (1 - first::float8 / %(events)s) AS at
              FROM generate_series(1, %(events)s::bigint - 1, %(batch)s::bigint) first) spread
     WHERE first_index = 0
"""
# A hundred jobs that have failed for good, and a hundred that wait for a retry.
TROUBLE: Final = """
    SELECT pgaudit.record_failure(job_id, token, 0, true, CASE WHEN number > 100 THEN 3600 END,
                                  'RaiseException', 'P0001', 'no', 'Traceback')
      FROM (SELECT worker_id, token FROM pgaudit.register_worker()) worker, generate_series(1, 200) number,
           LATERAL (SELECT job_id FROM pgaudit.fetch_job(token, number * 0)) fetched
"""
BOUND: Final = 20.0
LOOKS: Final = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much there is to look at."""
    parser.add_argument("--logged", type=int, default=1_000_000, help="events in the log (1,000,000)")
    parser.add_argument("--queued", type=int, default=100_000, help="events in the queue (100,000)")
    parser.add_argument("--batch", type=int, default=10, help="logged events of each batch (10)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Fills log and queue, then takes all looks by turns."""
    fill(bench, report, options)
    middle = {each: Figure(each, each, "ms", ours=True) for each in (*VIEWS, HEALTH, METRICS)}
    slowest = {each: Figure(each, each, "ms", ours=True) for each in middle}
    with bench.connect(RUN) as conn:
        looks = looks_of(conn)
        for number in range(options.rounds):
            for each, look in looks.items():
                times = [timed(look) for _ in range(LOOKS)]
                middle[each].values.append(median(times))
                slowest[each].values.append(max(times))
            shown = ", ".join(f"{each} {figure.values[-1]:,.1f}" for each, figure in middle.items())
            report.progress(f"round {number + 1}/{options.rounds}: {shown} ms")
    tell(report, middle, slowest, f"{options.logged:,} logged, {options.queued:,} queued")
    bench.drop(RUN)


def fill(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """A log with its batches, and a queue of which a few are in trouble; vacuumed and analyzed."""
    peers.create_business(bench, RUN)
    with bench.connect(RUN) as conn:
        load.by_pgaudit(conn, event())
        conn.execute("SELECT pgaudit.persist(NULL, NULL, 1)")
        conn.execute(filled.UNGUARD)
    filled.fill(bench, RUN, store.LOG, options.logged, report.progress)
    with bench.connect(RUN) as conn:
        conn.execute(BATCHES, {"events": options.logged, "batch": options.batch})
        load.record(conn, options.queued)
        conn.execute(TROUBLE)
        conn.execute("VACUUM ANALYZE")
    report.progress(f"filled the queue with {options.queued:,} events")


def looks_of(conn: load.Connection) -> dict[str, Callable[[], object]]:
    """All that is looked at, as a DBA, the health route and a scraper do."""

    def rows(view: str) -> list[Any]:
        query = sql.SQL("SELECT * FROM pgaudit.{}").format(sql.Identifier(view))
        return conn.execute(query, prepare=False).fetchall()

    looks: dict[str, Callable[[], object]] = {view: partial(rows, view) for view in VIEWS}
    looks[HEALTH] = lambda: health.check(conn, load.SETTINGS)
    looks[METRICS] = lambda: metrics.exposition(metrics.look(conn, load.SETTINGS))
    return looks


def timed(look: Callable[[], object]) -> float:
    """Milliseconds of one look."""
    start = time.perf_counter()
    look()
    return (time.perf_counter() - start) * 1_000


def tell(report: Report, middle: dict[str, Figure], slowest: dict[str, Figure], size: str) -> None:
    """Medians, the slowest of each round, and the targets."""
    report.table(f"A look at {size}: median of {LOOKS}", list(middle.values()))
    report.table(f"A look at {size}: slowest of {LOOKS}", list(slowest.values()))
    for each in ("queue_stats", HEALTH):
        report.target(f"{each} in ms", middle[each].median, BOUND, limit=True)
