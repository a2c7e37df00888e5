"""What do the views, the health check and ``/metrics`` cost while the log and the queue are long?

Variants: each view, ``health.check``, ``/metrics``.
Measured: ms of one query, as the median and the slowest of ten.
Duration: about 3 minutes; 10,000,000 events take 8 GB and some minutes to fill.

All events count as logged within the last 24 hours, in batches of ``--batch``, because ``throughput`` reads the batches
of a day.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, Final

from psycopg import sql

from benchmarks.support import databases, load, plain_log
from benchmarks.support.load import event
from benchmarks.support.report import Measurement, Report
from benchmarks.support.server import RUN, Bench
from pgaudit import health
from pgaudit.web import metrics, scrape

VIEWS: Final = (
    "queue_stats", "worker_stats", "failed_jobs", "stalled_jobs", "delayed_jobs", "throughput", "storage_stats",
)  # fmt: skip
HEALTH, METRICS = "health.check", "/metrics"
# Copies of a persisted batch, with all its columns, spread over a day.
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
FAILURES: Final = """
    SELECT pgaudit.record_failure(job_id, token, 0, true, CASE WHEN number > 100 THEN 3600 END,
                                  'RaiseException', 'P0001', 'no', 'Traceback')
      FROM (SELECT worker_id, token FROM pgaudit.register_worker()) worker, generate_series(1, 200) number,
           LATERAL (SELECT job_id FROM pgaudit.fetch_job(token, number * 0)) fetched
"""
MAX_MS: Final = 20.0
REPEATS: Final = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--logged", type=int, default=1_000_000, help="events in the log (1,000,000)")
    parser.add_argument("--queued", type=int, default=100_000, help="events in the queue (100,000)")
    parser.add_argument("--batch", type=int, default=10, help="events of each logged batch (10)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Fills the log and the queue, then measures all queries by turns."""
    fill(bench, report, options)
    middle = {each: Measurement(each, each, "ms", ours=True) for each in (*VIEWS, HEALTH, METRICS)}
    slowest = {each: Measurement(each, each, "ms", ours=True) for each in middle}
    with bench.connect(RUN) as conn:
        queries = make_queries(conn)
        for number in range(options.rounds):
            for each, query in queries.items():
                times = [time_call(query) for _ in range(REPEATS)]
                middle[each].values.append(median(times))
                slowest[each].values.append(max(times))
            shown = ", ".join(f"{each} {measurement.values[-1]:,.1f}" for each, measurement in middle.items())
            report.progress(f"round {number + 1}/{options.rounds}: {shown} ms")
    report_times(report, middle, slowest, f"{options.logged:,} logged, {options.queued:,} queued")
    bench.drop(RUN)


def fill(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Fills the log and its batches, and a queue with some failed and delayed jobs; then vacuums and analyzes."""
    databases.create_business(bench, RUN)
    with bench.connect(RUN) as conn:
        load.by_pgaudit(conn, event())
        conn.execute("SELECT pgaudit.persist(NULL, NULL, 1)")
        conn.execute(plain_log.UNGUARD)
    plain_log.fill(bench, RUN, plain_log.LOG, options.logged, report.progress)
    with bench.connect(RUN) as conn:
        conn.execute(BATCHES, {"events": options.logged, "batch": options.batch})
        load.record(conn, options.queued)
        conn.execute(FAILURES)
        conn.execute("VACUUM ANALYZE")
    report.progress(f"filled the queue with {options.queued:,} events")


def make_queries(conn: load.Connection) -> dict[str, Callable[[], object]]:
    """Returns the queries of a DBA, the health route and a scraper."""

    def rows(view: str) -> list[Any]:
        statement = sql.SQL("SELECT * FROM pgaudit.{}").format(sql.Identifier(view))
        return conn.execute(statement, prepare=False).fetchall()

    queries: dict[str, Callable[[], object]] = {view: partial(rows, view) for view in VIEWS}
    queries[HEALTH] = lambda: health.check(conn, load.SETTINGS)
    queries[METRICS] = lambda: metrics.exposition(scrape.look(conn, load.SETTINGS))
    return queries


def time_call(query: Callable[[], object]) -> float:
    """Returns the milliseconds of one call."""
    start = time.perf_counter()
    query()
    return (time.perf_counter() - start) * 1_000


def report_times(report: Report, middle: dict[str, Measurement], slowest: dict[str, Measurement], size: str) -> None:
    """Reports the median and the slowest of each round, and the targets."""
    report.table(f"One query, {size}: median of {REPEATS}", list(middle.values()))
    report.table(f"One query, {size}: slowest of {REPEATS}", list(slowest.values()))
    for each in ("queue_stats", HEALTH):
        report.target(f"{each} in ms", middle[each].median, MAX_MS, limit=True)
