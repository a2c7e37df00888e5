"""Notes when events become visible: a database with its worker, a writer process, and a session that polls the log.

The writer notes when each commit returned, and this process when it first saw the event, both by the monotonic clock
of the machine. Polling every millisecond adds half a millisecond on average.
"""

import random
import sys
import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from benchmarks.support import databases, load, plain_log, workers
from benchmarks.support.load import event
from benchmarks.support.server import Bench
from benchmarks.support.stock_procrastinate import stock_conninfo
from pgaudit import AuditEvent

OURS, STOCK = "pgaudit", "stock"
REGISTERED: Final = {
    OURS: "SELECT EXISTS (SELECT FROM pgaudit.procrastinate_workers)",
    STOCK: "SELECT EXISTS (SELECT FROM stock.procrastinate_workers)",
}
LAST: Final = {
    OURS: f"SELECT coalesce(max(index), 0) FROM {plain_log.LOG}",
    STOCK: f"SELECT coalesce(max(index), 0) FROM {plain_log.PLAIN_LOG}",
}
# A peer's indexes are not in commit order, so a late event can have a slightly lower one.
NEW: Final = {
    OURS: f"SELECT index, event_id FROM {plain_log.LOG} WHERE index > %s::bigint - 100",
    STOCK: f"SELECT index, event_id FROM {plain_log.PLAIN_LOG} WHERE index > %s::bigint - 100",
}
DEFER: Final = """
    SELECT procrastinate_defer_jobs_v1(ARRAY[
        ROW ('audit', 'store', 0, NULL, NULL, %s, NULL)::procrastinate_job_to_defer_v1])
"""
POLL_SECONDS: Final = 0.001
# Events of the first seconds do not count: they meet an idle worker, which ``first_event`` measures.
WARM_UP_SECONDS: Final = 2.0
TIMEOUT_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Probe:
    """A running worker, how events are recorded for it, and a session that polls its log."""

    name: str
    dsn: str
    recorder: load.Recorder
    conn: load.Connection
    process: workers.Process


@contextmanager
def start(bench: Bench, name: str) -> Generator[Probe]:
    """Creates a database, starts a worker with its default settings, and waits until it has registered."""
    database = f"pgaudit_benchmark_latency_{name}"
    databases.create_business(bench, database)
    dsn, recorder, command = bench.conninfo(database), load.by_pgaudit, workers.PGAUDIT
    if name == STOCK:
        dsn, recorder = stock_conninfo(bench, database), by_stock
        command = [
            sys.executable,
            "-c",
            "from benchmarks.support import stock_procrastinate; stock_procrastinate.main()",
            dsn,
            "10",
            "successful",
        ]
    with bench.connect(database) as conn, workers.worker(dsn, *command) as process:
        conn.execute("SET enable_seqscan = off")  # the planner's statistics are those of an empty log
        workers.wait_for(conn, REGISTERED[name], process)
        yield Probe(name, dsn, recorder, conn, process)
    bench.drop(database)


def by_stock(conn: load.Connection, made: AuditEvent) -> None:
    """Defers a job as stock Procrastinate does; a trigger sends NOTIFY to its workers."""
    conn.execute(DEFER, [Jsonb({"event": made.model_dump(mode="json")})])


def latencies(probe: Probe, rate: float, seconds: float) -> list[float]:
    """Returns the milliseconds from commit to visible for each event that a writer commits after warming up."""
    last = highest_index(probe)
    with load.process(load.commit_times, probe.dsn, probe.recorder, rate, WARM_UP_SECONDS + seconds) as writing:
        seen = watch(probe, writing, last, time.monotonic() + WARM_UP_SECONDS + seconds + TIMEOUT_SECONDS)
    commits = writing.result()
    begin = min(commits.values()) + WARM_UP_SECONDS
    return [(seen[each] - committed) * 1_000 for each, committed in commits.items() if committed >= begin]


def watch(probe: Probe, writing: Future[dict[UUID, float]], last: int, end: float) -> dict[UUID, float]:
    """Returns when each event was first seen.

    :raises RuntimeError: the worker has ended, or two minutes after the last event some are still missing.
    """
    seen: dict[UUID, float] = {}
    while not (writing.done() and writing.result().keys() <= seen.keys()):
        last = poll(probe, last, seen)
        if time.monotonic() > end or probe.process.poll() is not None:
            raise RuntimeError(
                f"only {len(seen):,} events became visible before the worker ended or two minutes passed"
            )
        time.sleep(POLL_SECONDS)
    return seen


def poll(probe: Probe, last: int, seen: dict[UUID, float]) -> int:
    """Notes the new events of the log, and returns the highest index."""
    rows = probe.conn.execute(NEW[probe.name], [last]).fetchall()
    now = time.monotonic()
    for index, identity in rows:
        seen.setdefault(identity, now)
        last = max(last, index)
    return last


def highest_index(probe: Probe) -> int:
    """Returns the highest index of the log."""
    return int((probe.conn.execute(LAST[probe.name]).fetchone() or (0,))[0])


def first_event(probe: Probe, idle: float) -> tuple[float, float]:
    """Returns an idle worker's share of a core in percent, and the milliseconds until its next event is visible.

    :raises RuntimeError: the event is not visible after two minutes.
    """
    with psycopg.connect(probe.dsn) as conn:
        used = workers.cpu_share(probe.process, idle)
        time.sleep(random.random())  # a whole number of seconds would always meet the poll interval at the same point
        last, made, seen = highest_index(probe), event(), dict[UUID, float]()
        probe.recorder(conn, made)
        conn.commit()
        committed = time.monotonic()
    end = committed + TIMEOUT_SECONDS
    while made.id not in seen:
        last = poll(probe, last, seen)
        if time.monotonic() > end:
            raise RuntimeError("the first event after the idle time was not visible after two minutes")
        time.sleep(POLL_SECONDS)
    return used, (seen[made.id] - committed) * 1_000
