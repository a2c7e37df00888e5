"""Recording and draining while another session holds an old snapshot, so that vacuum removes nothing.

The queue turns over completely, again and again, and all its dead rows stay. Each step records its events in calls
of 1,000, then lets a fresh worker drain them; after the last step events are recorded and persisted one by one.
"""

import argparse
import time
from collections.abc import Generator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any, Final

import psycopg

from benchmarks import load, workers
from benchmarks.events import event
from benchmarks.figures import Curves, Figure
from benchmarks.report import Report
from benchmarks.server import RUN, Bench

REGISTERED: Final = "SELECT EXISTS (SELECT FROM pgaudit.procrastinate_workers)"
DEAD: Final = """
    SELECT coalesce(sum(dead_rows), 0)::bigint, sum(total_bytes)::bigint
      FROM pgaudit.storage_stats WHERE table_name NOT LIKE 'audit_log%'
"""
PERSIST: Final = "SELECT claimed FROM pgaudit.persist(NULL, NULL, 1000)"
FETCH: Final = "SELECT id FROM pgaudit.fetch_lead(NULL)"
SINGLES: Final = 200
# Seconds after which fewer have to do.
PATIENCE: Final = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much passes through."""
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events pass through (1,000,000)")
    parser.add_argument("--step", type=int, default=100_000, help="how many of them at a time (100,000)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Single events before, the steps under the snapshot, single events after."""
    load.create(bench)
    with bench.connect(RUN) as conn:
        before = singles(conn)
        with snapshot(bench):
            steps = [
                step(bench, conn, number, options.step, report) for number in range(options.events // options.step)
            ]
            after = singles(conn)
        load.reckon(conn, options.step * len(steps) + len(before["persist"]) + len(after["persist"]))
    show_steps(report, steps, options.step)
    show_singles(report, before, after)
    bench.drop(RUN)


@contextmanager
def snapshot(bench: Bench) -> Generator[None]:
    """A session that has looked once, and stays in its transaction."""
    with psycopg.connect(bench.conninfo(RUN)) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("SELECT count(*) FROM pgaudit.audit_log")
        yield
        conn.rollback()


def step(bench: Bench, conn: load.Connection, number: int, events: int, report: Report) -> dict[str, float]:
    """Events a second of recording and of draining, and what is dead afterwards: rows, and megabytes in all."""
    size = single(conn, "SELECT size FROM pgaudit.log_head")
    start = time.perf_counter()
    load.record(conn, events, size + 1)
    recorded = time.perf_counter() - start
    with workers.worker(bench.conninfo(RUN), *workers.PGAUDIT) as process:
        start = workers.wait_for(conn, REGISTERED, process, pause=0.005)
        drained = workers.wait_for(conn, load.DRAINED, process, size + events) - start
    conn.execute("DELETE FROM pgaudit.procrastinate_workers")
    dead, size = conn.execute(DEAD).fetchone() or (0, 0)
    done = {"recorded": events / recorded, "drained": events / drained, "dead": dead, "size": size / 2**20}
    report.progress(f"step {number + 1}: {', '.join(f'{name} {value:,.0f}' for name, value in done.items())}")
    return done


def singles(conn: load.Connection) -> dict[str, list[float]]:
    """Milliseconds of looking for one event, rolled back, and of persisting it, its commit included."""
    taken: dict[str, list[float]] = {"fetch": [], "persist": []}
    end = time.perf_counter() + PATIENCE
    for number in range(SINGLES):
        if time.perf_counter() > end:
            break
        load.by_pgaudit(conn, event(number))
        with conn.transaction(force_rollback=True):
            taken["fetch"].append(timed(conn, FETCH))
        taken["persist"].append(timed(conn, PERSIST))
    return taken


def timed(conn: load.Connection, query: Any) -> float:
    """Milliseconds of one statement that finds something.

    :raises RuntimeError: it does not.
    """
    start = time.perf_counter()
    found = conn.execute(query).fetchone()
    taken = (time.perf_counter() - start) * 1_000
    if not found or not found[0]:
        raise RuntimeError(f"found nothing: {query}")
    return taken


def single(conn: load.Connection, query: Any) -> int:
    """The one number that a query returns."""
    return int((conn.execute(query).fetchone() or (0,))[0])


def show_steps(report: Report, steps: list[dict[str, float]], events: int) -> None:
    """Rates and bloat by events so far, and what the last step keeps of the first."""
    titles = {"recorded": "recording", "drained": "a worker"}
    rates: Curves = {title: [] for title in titles.values()}
    dead: Curves = {"the queue": []}
    for number, step in enumerate(steps):
        sofar = float((number + 1) * events)
        dead["the queue"].append((sofar, step["dead"]))
        for name, title in titles.items():
            rates[title].append((sofar, step[name]))
    report.curve("Under an old snapshot", ("events so far", "events/s"), rates, "a worker")
    report.curve("Rows that vacuum cannot remove", ("events so far", "dead rows"), dead, "the queue")
    for name, title in titles.items():
        report.target(f"old snapshot: {title}, last step of first", steps[-1][name] / steps[0][name], 0.8)


def show_singles(report: Report, *taken: dict[str, list[float]]) -> None:
    """One event at a time, before the snapshot and under it."""
    figures: list[Figure] = []
    for when, times in zip(("before", "under the old snapshot"), taken, strict=True):
        for name, values in times.items():
            figures.append(Figure(f"{name}, {when}", name, "ms", values, ours=True))
            figures.append(Figure(f"{name}, {when}, p99", name, "ms", [quantiles(values, n=100)[98]], ours=True))
    report.table(f"One event at a time, up to {SINGLES} of them", figures)
    report.target("old snapshot: persisting one event, median in ms", median(taken[1]["persist"]), 5, limit=True)
    report.target("old snapshot: looking for one event, median in ms", median(taken[1]["fetch"]), 5, limit=True)
