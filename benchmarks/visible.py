"""When events become visible: a database with its worker, a writer process, and a session that looks every millisecond.

A writer notes when each commit returned, this process when it first saw the event, both by the one monotonic clock of
the machine. That it looks every millisecond adds half of one.
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

from benchmarks import load, peers, store, workers
from benchmarks.events import event
from benchmarks.server import Bench
from pgaudit import AuditEvent

OURS, STOCK = "pgaudit", "stock"
REGISTERED: Final = {
    OURS: "SELECT EXISTS (SELECT FROM pgaudit.procrastinate_workers)",
    STOCK: "SELECT EXISTS (SELECT FROM stock.procrastinate_workers)",
}
LAST: Final = {
    OURS: f"SELECT coalesce(max(index), 0) FROM {store.LOG}",
    STOCK: f"SELECT coalesce(max(index), 0) FROM {store.PLAIN_LOG}",
}
# A peer's numbers are not in commit order: what comes late is a little lower.
NEW: Final = {
    OURS: f"SELECT index, event_id FROM {store.LOG} WHERE index > %s::bigint - 100",
    STOCK: f"SELECT index, event_id FROM {store.PLAIN_LOG} WHERE index > %s::bigint - 100",
}
DEFER: Final = """
    SELECT procrastinate_defer_jobs_v1(ARRAY[
        ROW ('audit', 'store', 0, NULL, NULL, %s, NULL)::procrastinate_job_to_defer_v1])
"""
PAUSE: Final = 0.001
# Seconds before those that count: the first events of a stretch met an idle worker, which is measured by itself.
WARM: Final = 2.0
AT_MOST: Final = 120.0


@dataclass(frozen=True, slots=True)
class Side:
    """A worker at work, how events are recorded for it, and a session that watches its log."""

    name: str
    dsn: str
    recorder: load.Recorder
    conn: load.Connection
    process: workers.Process


@contextmanager
def side(bench: Bench, name: str) -> Generator[Side]:
    """A fresh database with a worker as it comes, which has registered itself."""
    database = f"pgaudit_benchmark_latency_{name}"
    peers.create_business(bench, database)
    dsn, recorder, command = bench.conninfo(database), load.by_pgaudit, workers.PGAUDIT
    if name == STOCK:
        dsn, recorder = peers.stock_conninfo(bench, database), by_stock
        command = [sys.executable, "-c", "from benchmarks import stock; stock.main()", dsn, "10", "successful"]
    with bench.connect(database) as conn, workers.worker(dsn, *command) as process:
        conn.execute("SET enable_seqscan = off")  # the statistics are those of an empty log
        workers.wait_for(conn, REGISTERED[name], process)
        yield Side(name, dsn, recorder, conn, process)
    bench.drop(database)


def by_stock(conn: load.Connection, made: AuditEvent) -> None:
    """Defers as stock Procrastinate does, which tells its workers by NOTIFY."""
    conn.execute(DEFER, [Jsonb({"event": made.model_dump(mode="json")})])


def latencies(side: Side, rate: float, seconds: float) -> list[float]:
    """Milliseconds from commit to visible, of each event that a writer process commits once it has found its pace."""
    last = last_of(side)
    with load.process(load.times, side.dsn, side.recorder, rate, WARM + seconds) as writing:
        seen = watched(side, writing, last, time.monotonic() + WARM + seconds + AT_MOST)
    commits = writing.result()
    begin = min(commits.values()) + WARM
    return [(seen[each] - committed) * 1_000 for each, committed in commits.items() if committed >= begin]


def watched(side: Side, writing: Future[dict[UUID, float]], last: int, end: float) -> dict[UUID, float]:
    """When each event was first seen.

    :raises RuntimeError: some have not come two minutes after the last was due.
    """
    seen: dict[UUID, float] = {}
    while not (writing.done() and writing.result().keys() <= seen.keys()):
        last = look(side, last, seen)
        if time.monotonic() > end or side.process.poll() is not None:
            raise RuntimeError(f"{len(seen):,} events were seen, and then no more")
        time.sleep(PAUSE)
    return seen


def look(side: Side, last: int, seen: dict[UUID, float]) -> int:
    """One look into the log: notes what is new, returns the highest index."""
    rows = side.conn.execute(NEW[side.name], [last]).fetchall()
    now = time.monotonic()
    for index, identity in rows:
        seen.setdefault(identity, now)
        last = max(last, index)
    return last


def last_of(side: Side) -> int:
    """The highest index so far."""
    return int((side.conn.execute(LAST[side.name]).fetchone() or (0,))[0])


def first(side: Side, idle: float) -> tuple[float, float]:
    """Returns the percent of a core that an idle worker uses, then the milliseconds until its next event is visible.

    :raises RuntimeError: it has not come after two minutes.
    """
    with psycopg.connect(side.dsn) as conn:
        used = workers.cpu_share(side.process, idle)
        time.sleep(random.random())  # the worker looks by the same clock: whole seconds would meet it at one point
        last, made, seen = last_of(side), event(), dict[UUID, float]()
        side.recorder(conn, made)
        conn.commit()
        committed = time.monotonic()
    end = committed + AT_MOST
    while made.id not in seen:
        last = look(side, last, seen)
        if time.monotonic() > end:
            raise RuntimeError("the first event after nothing was not seen")
        time.sleep(PAUSE)
    return used, (seen[made.id] - committed) * 1_000
