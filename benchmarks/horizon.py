"""Do recording and draining become slower while a transaction stays open, so that vacuum removes nothing?

Variants: no transaction; one with an old snapshot; one that has written elsewhere; one that has recorded an event.
Measured: events a second of recording and draining, and dead rows, after each step; ms of fetching and persisting one
event, before the first and after the last step.
Duration: about 15 minutes.

Each step records its events in calls of 1,000, then a fresh worker drains them, so that the whole queue turns over and
all its dead rows stay. Steps with the old snapshot and without a transaction take turns, each in its own database. The
other variants run afterwards, one at a time, because an open xid holds back the watermarks of all databases.
"""

import argparse
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Final

import psycopg

from benchmarks.support import load, workers
from benchmarks.support.load import event
from benchmarks.support.report import Curves, Measurement, Report
from benchmarks.support.server import RUN, Bench

REGISTERED: Final = "SELECT EXISTS (SELECT FROM pgaudit.procrastinate_workers)"
DEAD: Final = """
    SELECT coalesce(sum(dead_rows), 0)::bigint, sum(total_bytes)::bigint
      FROM pgaudit.storage_stats WHERE table_name NOT LIKE 'audit_log%'
"""
REGISTER: Final = "SELECT token FROM pgaudit.register_worker()"
UNREGISTER: Final = "SELECT pgaudit.unregister_worker(%s)"
PERSIST: Final = "SELECT taken FROM pgaudit.persist(NULL, NULL, 1000)"
FETCH: Final = "SELECT job_id FROM pgaudit.fetch_job(%s)"
SINGLES: Final = 200
MAX_SINGLE_MS: Final = 5.0
SNAPSHOT, WITHOUT = "an old snapshot", "no transaction"
WRITTEN, RECORDED = "an open write", "an open record"
# Variants that do not disturb each other; their steps take turns.
TOGETHER: Final = ((SNAPSHOT, WITHOUT), (WRITTEN,), (RECORDED,))
DATABASES: Final = {SNAPSHOT: RUN, WITHOUT: f"{RUN}_free", WRITTEN: f"{RUN}_written", RECORDED: f"{RUN}_recorded"}
Singles = dict[str, list[float]]
# Single events end after this time, even if there are fewer.
SINGLES_SECONDS: Final = 30.0
# A step that takes longer is the last one of its variant.
MAX_STEP_SECONDS: Final = 120.0


@dataclass(slots=True)
class Result:
    """The result of a variant: the quantities of each step, and the milliseconds of single events."""

    steps: list[dict[str, float]] = field(default_factory=list)
    before: Singles = field(default_factory=dict)
    after: Singles = field(default_factory=dict)

    @property
    def continues(self) -> bool:
        """Whether the last step was short enough for another one."""
        return not self.steps or self.steps[-1]["seconds"] < MAX_STEP_SECONDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--events", type=int, default=1_000_000, help="events in all (1,000,000)")
    parser.add_argument("--step", type=int, default=100_000, help="events of each step (100,000)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Measures all variants, each in a fresh database, and reports them."""
    results = {name: Result() for name in DATABASES}
    for names in TOGETHER:
        take_turns(bench, report, options, {name: results[name] for name in names})
    show_steps(report, results, options.step)
    show_singles(report, results)


def take_turns(bench: Bench, report: Report, options: argparse.Namespace, results: dict[str, Result]) -> None:
    """Measures single events, the steps by turns, and single events again; then verifies the log."""
    for name in results:
        load.create(bench, DATABASES[name])
    with ExitStack() as stack:
        conns = {name: stack.enter_context(bench.connect(DATABASES[name])) for name in results}
        for name, result in results.items():
            result.before = measure_singles(conns[name])
            stack.enter_context(open_transaction(bench, name))
        for number in range(options.events // options.step):
            for name, result in results.items():
                if result.continues:
                    result.steps.append(step(bench, DATABASES[name], options.step))
                    shown = ", ".join(f"{each} {value:,.0f}" for each, value in result.steps[-1].items())
                    report.progress(f"step {number + 1}, {name}: {shown}")
        for name, result in results.items():
            result.after = measure_singles(conns[name])
    for name, result in results.items():
        verify_log(
            bench, name, len(result.steps) * options.step + len(result.before["persist"]) + len(result.after["persist"])
        )
    bench.drop(*(DATABASES[name] for name in results))


def verify_log(bench: Bench, name: str, recorded: int) -> None:
    """Checks that the log has each event once, including the one of the open transaction.

    :raises RuntimeError: events were lost or stored twice.
    """
    recorded += name == RECORDED
    dsn = bench.conninfo(DATABASES[name])
    with bench.connect(DATABASES[name]) as conn:
        with workers.worker(dsn, *workers.PGAUDIT) as process:
            workers.wait_for(conn, load.DRAINED, process, recorded)
        load.verify(conn, recorded)


@contextmanager
def open_transaction(bench: Bench, name: str) -> Generator[None]:
    """Opens a transaction of that variant, and commits it at the end of the block."""
    with psycopg.connect(bench.conninfo(DATABASES[name])) as conn:
        if name == SNAPSHOT:
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            conn.execute("SELECT count(*) FROM pgaudit.audit_log")
        elif name == WRITTEN:
            conn.execute("SELECT pg_current_xact_id()")
        elif name == RECORDED:
            load.by_pgaudit(conn, event(SINGLES))
        yield


def step(bench: Bench, database: str, events: int) -> dict[str, float]:
    """Returns events a second of recording and draining, dead rows and MB afterwards, and seconds of the whole step."""
    with bench.connect(database) as conn:
        size = fetch_number(conn, "SELECT size FROM pgaudit.log_head")
        begin = time.perf_counter()
        load.record(conn, events, size + 1)
        recorded = time.perf_counter() - begin
        with workers.worker(bench.conninfo(database), *workers.PGAUDIT) as process:
            start = workers.wait_for(conn, REGISTERED, process, pause=0.005)
            drained = workers.wait_for(conn, load.DRAINED, process, size + events) - start
        conn.execute("DELETE FROM pgaudit.procrastinate_workers")
        conn.execute("VACUUM pgaudit.audit_jobs")  # which autovacuum does once a minute, if it can
        dead, size = conn.execute(DEAD).fetchone() or (0, 0)
    rates = {"recorded": events / recorded, "drained": events / drained}
    return rates | {"dead": dead, "size": size / 2**20, "seconds": time.perf_counter() - begin}


def measure_singles(conn: load.Connection) -> Singles:
    """Returns the milliseconds of fetching one event's job, rolled back, and of persisting it, with its commit."""
    taken: Singles = {"fetch": [], "persist": []}
    token = conn.execute(REGISTER).fetchone() or ()
    end = time.perf_counter() + SINGLES_SECONDS
    for number in range(SINGLES):
        if time.perf_counter() > end:
            break
        load.by_pgaudit(conn, event(number))
        with conn.transaction(force_rollback=True):
            taken["fetch"].append(time_query(conn, FETCH, token))
        taken["persist"].append(time_query(conn, PERSIST))
    conn.execute(UNREGISTER, token)
    return taken


def time_query(conn: load.Connection, query: Any, parameters: Sequence[Any] = ()) -> float:
    """Returns the milliseconds of a statement.

    :raises RuntimeError: the statement returns nothing.
    """
    start = time.perf_counter()
    found = conn.execute(query, parameters).fetchone()
    taken = (time.perf_counter() - start) * 1_000
    if not found or not found[0]:
        raise RuntimeError(f"expected a job or a number of events, got {found}: {query}")
    return taken


def fetch_number(conn: load.Connection, query: Any) -> int:
    """Returns the number that a query selects."""
    return int((conn.execute(query).fetchone() or (0,))[0])


def show_steps(report: Report, results: dict[str, Result], events: int) -> None:
    """Reports rates and dead rows by events so far; the last step as a share of the first, and of no transaction."""
    for quantity, title in {"recorded": "Recording in calls of 1,000", "drained": "Draining by one worker"}.items():
        report.curve(title, ("events so far", "events/s"), points(results, quantity, events), SNAPSHOT)
        free = results[WITHOUT].steps
        for name, result in results.items():
            last, first = result.steps[-1][quantity], result.steps[0][quantity]
            if name != WITHOUT:
                report.target(f"{title}, {name}: last step of first", last / first, 0.8)
                same = free[min(len(result.steps), len(free)) - 1][quantity]
                report.target(f"{title}, {name}: last step of {WITHOUT}", last / same, 0.8)
    report.curve(
        "Rows that vacuum could not remove", ("events so far", "dead rows"), points(results, "dead", events), SNAPSHOT
    )


def points(results: dict[str, Result], quantity: str, events: int) -> Curves:
    """Returns a quantity of each step of each variant, by the events so far."""
    return {
        name: [(float((number + 1) * events), step[quantity]) for number, step in enumerate(result.steps)]
        for name, result in results.items()
    }


def show_singles(report: Report, results: dict[str, Result]) -> None:
    """Reports single events, before a transaction was open and after the steps."""
    titles = {"fetch": "Fetching the job of one event", "persist": "Persisting one event, with its commit"}
    for name, title in titles.items():
        times = {"before the first step": [each for result in results.values() for each in result.before[name]]}
        times |= {f"after the last step, {variant}": result.after[name] for variant, result in results.items()}
        report.table(title, [Measurement(when, name, "ms", taken, ours=True) for when, taken in times.items()])
        slow = {when: [quantiles(taken, n=100)[98]] for when, taken in times.items()}
        measured = [Measurement(when, name, "ms", taken, ours=True) for when, taken in slow.items()]
        report.table(f"{title}, p99", measured, plotted=False)
        for variant, result in results.items():
            if variant != WITHOUT:
                target = f"{title}, {variant}: median in ms"
                report.target(target, median(result.after[name]), MAX_SINGLE_MS, limit=True)
