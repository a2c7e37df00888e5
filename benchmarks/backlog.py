"""What claiming a batch costs while the queue is long: looking for a job, and persisting it with the rest of its batch.

Each length has a database of its own, filled by the server itself and vacuumed; they take turns, claim by claim. Every
claim is rolled back, so that the next one finds the same queue. With an empty queue there is nothing to claim: the
shortest holds one batch. 5,000,000 events take 5 GB and some minutes to fill.
"""

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Final
from uuid import UUID

from benchmarks import load, options
from benchmarks.figures import Curves, Figure, ratio
from benchmarks.report import Report
from benchmarks.server import Bench

REGISTER: Final = "SELECT token FROM pgaudit.register_worker()"
FETCH: Final = "SELECT job_id FROM pgaudit.fetch_job(%s)"
PERSIST: Final = "SELECT taken FROM pgaudit.persist(%s, %s, %s)"
# What a failed attempt leaves behind: retries that are not due.
DELAY: Final = "UPDATE pgaudit.audit_jobs SET scheduled_at = now() + interval '1 day', attempts = 1"
FACTOR: Final = 1.5
# Batches after which a worker knows what it need not look at again.
BEGUN: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long the queue is."""
    parser.add_argument(
        "--queued", type=options.numbers, default=[0, 100_000, 1_000_000], help="events (0,100_000,1_000_000)"
    )
    parser.add_argument("--waiting", type=int, default=100_000, help="retries in front of a batch (100,000)")
    parser.add_argument("--batch-size", type=int, default=1_000, help="events in a batch (1,000)")
    parser.add_argument("--claims", type=int, default=20, help="how often a batch is claimed in each round (20)")


@dataclass
class Queue:
    """A database with a queue, and the milliseconds that each round took in it."""

    name: str
    queued: int
    waiting: int = 0
    fetch: list[float] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)

    @property
    def database(self) -> str:
        """Where it is."""
        return f"pgaudit_benchmark_backlog_{self.queued}_{self.waiting}"


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Fills the queues, then claims from each by turns."""
    queues = [Queue(f"{queued:,} queued", queued) for queued in options.queued]
    queues.append(Queue(f"{options.waiting:,} retries wait in front", 0, options.waiting))
    for queue in queues:
        fill(bench, queue, options.batch_size)
        report.progress(f"filled: {queue.name}")
    for number in range(options.rounds):
        take_turns(bench, queues, options.batch_size, options.claims)
        shown = ", ".join(f"{queue.fetch[-1]:.2f} and {queue.batch[-1]:,.1f} ms" for queue in queues)
        report.progress(f"round {number + 1}/{options.rounds}, fetch and batch: {shown}")
    tell(report, queues, options.batch_size)
    bench.drop(*(queue.database for queue in queues))


def fill(bench: Bench, queue: Queue, batch_size: int) -> None:
    """Retries that wait, if any, then fresh events, one batch at least; a worker has begun on them."""
    load.create(bench, queue.database)
    with bench.connect(queue.database) as conn:
        if queue.waiting:
            load.record(conn, queue.waiting)
            conn.execute(DELAY)
        load.record(conn, max(queue.queued, batch_size) + BEGUN * batch_size, queue.waiting + 1)
        for _ in range(BEGUN):
            conn.execute(PERSIST, [None, None, batch_size])
        conn.execute("VACUUM ANALYZE")


def take_turns(bench: Bench, queues: list[Queue], batch_size: int, claims: int) -> None:
    """Notes each queue's medians of that many claims; the first one, which finds nothing in memory, does not count."""
    with ExitStack() as stack:
        conns = [stack.enter_context(bench.connect(queue.database)) for queue in queues]
        workers = [(conn, token) for conn in conns for (token,) in conn.execute(REGISTER)]
        turns = [[claimed(conn, token, batch_size) for conn, token in workers] for _ in range(claims + 1)][1:]
        for conn in conns:
            conn.execute("VACUUM pgaudit.audit_log, pgaudit.batch, pgaudit.audit_jobs")
    for queue, taken in zip(queues, zip(*turns, strict=True), strict=True):
        queue.fetch.append(median(fetch for fetch, _ in taken))
        queue.batch.append(median(batch for _, batch in taken))


def claimed(conn: load.Connection, token: UUID, batch_size: int) -> tuple[float, float]:
    """Milliseconds of looking for a job, and of the whole batch; rolled back.

    :raises RuntimeError: the batch was not full.
    """
    with conn.transaction(force_rollback=True):
        start = time.perf_counter()
        lead = conn.execute(FETCH, [token]).fetchone() or (None,)
        fetched = time.perf_counter()
        row = conn.execute(PERSIST, [token, lead[0], batch_size]).fetchone()
        persisted = time.perf_counter()
    if row != (batch_size,):
        raise RuntimeError(f"claimed {row}, expected {batch_size}")
    return (fetched - start) * 1_000, (persisted - start) * 1_000


def tell(report: Report, queues: list[Queue], batch_size: int) -> None:
    """The longest against the shortest."""
    for title, name in (("Looking for a job", "fetch"), (f"Claiming and persisting {batch_size:,} events", "batch")):
        figures = [Figure(queue.name, "the shortest", "ms", getattr(queue, name), ours=True) for queue in queues]
        report.table(title, figures, figures[0])
        ratios = [ratio(figure, figures[0]) for figure in figures]
        report.target(f"{title}: slowest queue of fastest", max(ratios) / min(ratios), FACTOR, limit=True)
    curves: Curves = {
        name: [(queue.queued, median(getattr(queue, name))) for queue in queues if not queue.waiting]
        for name in ("fetch", "batch")
    }
    report.curve("Claiming, by the length of the queue", ("queued", "ms"), curves, "batch")
