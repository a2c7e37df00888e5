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
from benchmarks.figures import Figure
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
UNDER, WITHOUT = "an old snapshot", "no snapshot"
FREE: Final = f"{RUN}_free"
Steps = dict[str, list[dict[str, float]]]
# Seconds after which fewer have to do.
PATIENCE: Final = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much passes through."""
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events pass through (1,000,000)")
    parser.add_argument("--step", type=int, default=100_000, help="how many of them at a time (100,000)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Single events before, the steps with and without the snapshot by turns, single events after."""
    # A snapshot holds back the vacuum of its own database alone.
    databases = {UNDER: load.create(bench), WITHOUT: load.create(bench, FREE)}
    steps: Steps = {UNDER: [], WITHOUT: []}
    with bench.connect(RUN) as conn:
        before = singles(conn)
        with snapshot(bench):
            for number in range(options.events // options.step):
                for kind, database in databases.items():
                    steps[kind].append(step(bench, database, options.step))
                    shown = ", ".join(f"{name} {value:,.0f}" for name, value in steps[kind][-1].items())
                    report.progress(f"step {number + 1}, {kind}: {shown}")
            after = singles(conn)
        load.reckon(conn, options.step * len(steps[UNDER]) + len(before["persist"]) + len(after["persist"]))
    show_steps(report, steps, options.step)
    show_singles(report, before, after)
    bench.drop(RUN, FREE)


@contextmanager
def snapshot(bench: Bench) -> Generator[None]:
    """A session that has looked once, and stays in its transaction."""
    with psycopg.connect(bench.conninfo(RUN)) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("SELECT count(*) FROM pgaudit.audit_log")
        yield
        conn.rollback()


def step(bench: Bench, database: str, events: int) -> dict[str, float]:
    """Events a second of recording and of draining, and what is dead afterwards: rows, and megabytes in all."""
    with bench.connect(database) as conn:
        size = single(conn, "SELECT size FROM pgaudit.log_head")
        start = time.perf_counter()
        load.record(conn, events, size + 1)
        recorded = time.perf_counter() - start
        with workers.worker(bench.conninfo(database), *workers.PGAUDIT) as process:
            start = workers.wait_for(conn, REGISTERED, process, pause=0.005)
            drained = workers.wait_for(conn, load.DRAINED, process, size + events) - start
        conn.execute("DELETE FROM pgaudit.procrastinate_workers")
        conn.execute("VACUUM pgaudit.audit_jobs")  # which autovacuum does once a minute, if it can
        dead, size = conn.execute(DEAD).fetchone() or (0, 0)
    return {"recorded": events / recorded, "drained": events / drained, "dead": dead, "size": size / 2**20}


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


def show_steps(report: Report, steps: Steps, events: int) -> None:
    """Rates and bloat by events so far; what the last step keeps of the first, and of the one without a snapshot."""
    for name, title in {"recorded": "Recording", "drained": "A worker"}.items():
        rates = {kind: points(taken, name, events) for kind, taken in steps.items()}
        report.curve(title, ("events so far", "events/s"), rates, UNDER)
        last, first = steps[UNDER][-1][name], steps[UNDER][0][name]
        report.target(f"{title}, {UNDER}: last step of first", last / first, 0.8)
        report.target(f"{title}, {UNDER}: last step of {WITHOUT}", last / steps[WITHOUT][-1][name], 0.8)
    dead = {kind: points(taken, "dead", events) for kind, taken in steps.items()}
    report.curve("Rows that vacuum could not remove", ("events so far", "dead rows"), dead, UNDER)


def points(steps: list[dict[str, float]], name: str, events: int) -> list[tuple[float, float]]:
    """A quantity of each step, by the events so far."""
    return [(float((number + 1) * events), step[name]) for number, step in enumerate(steps)]


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
