"""Recording and draining while another session keeps a transaction open, so that vacuum removes nothing.

The transaction has only read, and keeps its snapshot; or it has written, and has an xid; or it has recorded an event,
and commits it at the end. The queue turns over completely, again and again, and all its dead rows stay. Each step
records its events in calls of 1,000, then lets a fresh worker drain them; after the last step events are recorded and
persisted one by one.

Steps under the snapshot and steps without a transaction take turns, each kind in its own database. The other two kinds
run afterwards, one at a time: an open xid holds back the watermarks of all databases of a server.
"""

import argparse
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
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
REGISTER: Final = "SELECT token FROM pgaudit.register_worker()"
UNREGISTER: Final = "SELECT pgaudit.unregister_worker(%s)"
PERSIST: Final = "SELECT taken FROM pgaudit.persist(NULL, NULL, 1000)"
FETCH: Final = "SELECT job_id FROM pgaudit.fetch_job(%s)"
SINGLES: Final = 200
UNDER, WITHOUT = "an old snapshot", "no transaction"
WRITTEN, RECORDED = "an open write", "an open record"
# Kinds that do not disturb each other; their steps take turns.
TOGETHER: Final = ((UNDER, WITHOUT), (WRITTEN,), (RECORDED,))
DATABASES: Final = {UNDER: RUN, WITHOUT: f"{RUN}_free", WRITTEN: f"{RUN}_written", RECORDED: f"{RUN}_recorded"}
Singles = dict[str, list[float]]
# Seconds after which fewer single events are enough.
PATIENCE: Final = 30.0
# Seconds: a step that takes longer is the last one of its kind.
LONGEST: Final = 120.0


@dataclass(slots=True)
class Kind:
    """What a kind of open transaction led to: the quantities of each step, and milliseconds of single events."""

    steps: list[dict[str, float]] = field(default_factory=list)
    before: Singles = field(default_factory=dict)
    after: Singles = field(default_factory=dict)

    @property
    def patient(self) -> bool:
        """Whether its last step was short enough for another one."""
        return not self.steps or self.steps[-1]["seconds"] < LONGEST


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much passes through."""
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events pass through (1,000,000)")
    parser.add_argument("--step", type=int, default=100_000, help="how many of them at a time (100,000)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """All kinds, each from an empty queue in a fresh database; then the tables."""
    kinds = {name: Kind() for name in DATABASES}
    for names in TOGETHER:
        take_turns(bench, report, options, {name: kinds[name] for name in names})
    show_steps(report, kinds, options.step)
    show_singles(report, kinds)


def take_turns(bench: Bench, report: Report, options: argparse.Namespace, kinds: dict[str, Kind]) -> None:
    """Single events before, the steps of the kinds by turns, single events after; then every event is accounted for."""
    for name in kinds:
        load.create(bench, DATABASES[name])
    with ExitStack() as stack:
        conns = {name: stack.enter_context(bench.connect(DATABASES[name])) for name in kinds}
        for name, kind in kinds.items():
            kind.before = singles(conns[name])
            stack.enter_context(transaction(bench, name))
        for number in range(options.events // options.step):
            for name, kind in kinds.items():
                if kind.patient:
                    kind.steps.append(step(bench, DATABASES[name], options.step))
                    shown = ", ".join(f"{each} {value:,.0f}" for each, value in kind.steps[-1].items())
                    report.progress(f"step {number + 1}, {name}: {shown}")
        for name, kind in kinds.items():
            kind.after = singles(conns[name])
    for name, kind in kinds.items():
        account(bench, name, len(kind.steps) * options.step + len(kind.before["persist"]) + len(kind.after["persist"]))
    bench.drop(*(DATABASES[name] for name in kinds))


def account(bench: Bench, name: str, recorded: int) -> None:
    """Refuses the figures of a kind unless the log has each event once, including that of the open transaction."""
    recorded += name == RECORDED
    dsn = bench.conninfo(DATABASES[name])
    with bench.connect(DATABASES[name]) as conn:
        with workers.worker(dsn, *workers.PGAUDIT) as process:
            workers.wait_for(conn, load.DRAINED, process, recorded)
        load.reckon(conn, recorded)


@contextmanager
def transaction(bench: Bench, name: str) -> Generator[None]:
    """A session whose transaction of that kind stays open until the end of the block, and is committed."""
    with psycopg.connect(bench.conninfo(DATABASES[name])) as conn:
        if name == UNDER:
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            conn.execute("SELECT count(*) FROM pgaudit.audit_log")
        elif name == WRITTEN:
            conn.execute("SELECT pg_current_xact_id()")
        elif name == RECORDED:
            load.by_pgaudit(conn, event(SINGLES))
        yield


def step(bench: Bench, database: str, events: int) -> dict[str, float]:
    """Events a second of recording and of draining; dead rows and megabytes afterwards; seconds of the whole step."""
    with bench.connect(database) as conn:
        size = single(conn, "SELECT size FROM pgaudit.log_head")
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


def singles(conn: load.Connection) -> Singles:
    """Milliseconds of looking for one event, rolled back, and of persisting it, its commit included."""
    taken: Singles = {"fetch": [], "persist": []}
    token = conn.execute(REGISTER).fetchone() or ()
    end = time.perf_counter() + PATIENCE
    for number in range(SINGLES):
        if time.perf_counter() > end:
            break
        load.by_pgaudit(conn, event(number))
        with conn.transaction(force_rollback=True):
            taken["fetch"].append(timed(conn, FETCH, token))
        taken["persist"].append(timed(conn, PERSIST))
    conn.execute(UNREGISTER, token)
    return taken


def timed(conn: load.Connection, query: Any, parameters: Sequence[Any] = ()) -> float:
    """Milliseconds of one statement that finds something.

    :raises RuntimeError: it does not.
    """
    start = time.perf_counter()
    found = conn.execute(query, parameters).fetchone()
    taken = (time.perf_counter() - start) * 1_000
    if not found or not found[0]:
        raise RuntimeError(f"found nothing: {query}")
    return taken


def single(conn: load.Connection, query: Any) -> int:
    """The one number that a query returns."""
    return int((conn.execute(query).fetchone() or (0,))[0])


def show_steps(report: Report, kinds: dict[str, Kind], events: int) -> None:
    """Rates and bloat by events so far; what the last step keeps of the first, and of the one without a transaction."""
    for quantity, title in {"recorded": "Recording", "drained": "A worker"}.items():
        report.curve(title, ("events so far", "events/s"), points(kinds, quantity, events), UNDER)
        free = kinds[WITHOUT].steps
        for name, kind in kinds.items():
            last, first = kind.steps[-1][quantity], kind.steps[0][quantity]
            if name != WITHOUT:
                report.target(f"{title}, {name}: last step of first", last / first, 0.8)
                same = free[min(len(kind.steps), len(free)) - 1][quantity]
                report.target(f"{title}, {name}: last step of {WITHOUT}", last / same, 0.8)
    report.curve(
        "Rows that vacuum could not remove", ("events so far", "dead rows"), points(kinds, "dead", events), UNDER
    )


def points(kinds: dict[str, Kind], quantity: str, events: int) -> Curves:
    """A quantity of each step of each kind, by the events so far."""
    return {
        name: [(float((number + 1) * events), step[quantity]) for number, step in enumerate(kind.steps)]
        for name, kind in kinds.items()
    }


def show_singles(report: Report, kinds: dict[str, Kind]) -> None:
    """One event at a time, before a transaction was open and after the steps."""
    before = {name: [each for kind in kinds.values() for each in kind.before[name]] for name in ("fetch", "persist")}
    times = {"before": before} | {f"after the steps, {name}": kind.after for name, kind in kinds.items()}
    figures: list[Figure] = []
    for when, quantities in times.items():
        for name, values in quantities.items():
            figures.append(Figure(f"{name}, {when}", name, "ms", values, ours=True))
            figures.append(Figure(f"{name}, {when}, p99", name, "ms", [quantiles(values, n=100)[98]], ours=True))
    report.table(f"One event at a time, up to {SINGLES} of them", figures)
    for kind, taken in kinds.items():
        if kind != WITHOUT:
            report.target(f"{kind}: persisting one event, median in ms", median(taken.after["persist"]), 5, limit=True)
            report.target(f"{kind}: looking for one event, median in ms", median(taken.after["fetch"]), 5, limit=True)
