"""Does fetching and persisting a batch cost more while the queue is long?

Variants: queues of several lengths, and one with retries that are not due in front of a batch.
Measured: ms of fetching a job, and of fetching and persisting its whole batch.
Duration: about 3 minutes; 5,000,000 events take 5 GB and some minutes to fill.

Each queue has its own database, is filled by the server and vacuumed. They take turns, batch by batch. Every batch is
rolled back, so that the next one finds the same queue; the shortest queue therefore holds one batch.
"""

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Final
from uuid import UUID

from benchmarks.support import load, options
from benchmarks.support.report import Curves, Measurement, Report, ratio
from benchmarks.support.server import Bench

REGISTER: Final = "SELECT token FROM pgaudit.register_worker()"
FETCH: Final = "SELECT job_id FROM pgaudit.fetch_job(%s)"
PERSIST: Final = "SELECT taken FROM pgaudit.persist(%s, %s, %s)"
# Turns the jobs into retries that are not due.
DELAY: Final = "UPDATE pgaudit.audit_jobs SET scheduled_at = now() + interval '1 day', attempts = 1"
FACTOR: Final = 1.5
# Batches that are persisted beforehand, so that the watermark has advanced.
WARM_UP_BATCHES: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument(
        "--queued",
        type=options.numbers,
        default=[0, 100_000, 1_000_000],
        help="lengths of the queue (0,100_000,1_000_000)",
    )
    parser.add_argument("--waiting", type=int, default=100_000, help="retries in front of a batch (100,000)")
    parser.add_argument("--batch-size", type=int, default=1_000, help="events in a batch (1,000)")
    parser.add_argument("--batches", type=int, default=20, help="batches in each round (20)")


@dataclass
class Queue:
    """A database with a queue, and its median milliseconds in each round."""

    name: str
    queued: int
    waiting: int = 0
    fetch: list[float] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)

    @property
    def database(self) -> str:
        """The name of the database."""
        return f"pgaudit_benchmark_backlog_{self.queued}_{self.waiting}"


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Fills the queues, then takes batches from each by turns."""
    queues = [Queue(f"{queued:,} queued", queued) for queued in options.queued]
    queues.append(Queue(f"{options.waiting:,} retries wait in front", 0, options.waiting))
    for queue in queues:
        fill(bench, queue, options.batch_size)
        report.progress(f"filled: {queue.name}")
    for number in range(options.rounds):
        take_turns(bench, queues, options.batch_size, options.batches)
        shown = ", ".join(f"{queue.fetch[-1]:.2f} and {queue.batch[-1]:,.1f} ms" for queue in queues)
        report.progress(f"round {number + 1}/{options.rounds}, fetch and batch: {shown}")
    report_queues(report, queues, options.batch_size)
    bench.drop(*(queue.database for queue in queues))


def fill(bench: Bench, queue: Queue, batch_size: int) -> None:
    """Fills a queue with retries, if any, and at least one batch of fresh events, and persists the first batches."""
    load.create(bench, queue.database)
    with bench.connect(queue.database) as conn:
        if queue.waiting:
            load.record(conn, queue.waiting)
            conn.execute(DELAY)
        load.record(conn, max(queue.queued, batch_size) + WARM_UP_BATCHES * batch_size, queue.waiting + 1)
        for _ in range(WARM_UP_BATCHES):
            conn.execute(PERSIST, [None, None, batch_size])
        conn.execute("VACUUM ANALYZE")


def take_turns(bench: Bench, queues: list[Queue], batch_size: int, batches: int) -> None:
    """Adds each queue's medians of that many batches; the first one, which meets cold caches, does not count."""
    with ExitStack() as stack:
        conns = [stack.enter_context(bench.connect(queue.database)) for queue in queues]
        workers = [(conn, token) for conn in conns for (token,) in conn.execute(REGISTER)]
        turns = [[take_batch(conn, token, batch_size) for conn, token in workers] for _ in range(batches + 1)][1:]
        for conn in conns:
            conn.execute("VACUUM pgaudit.audit_log, pgaudit.batch, pgaudit.audit_jobs")
    for queue, taken in zip(queues, zip(*turns, strict=True), strict=True):
        queue.fetch.append(median(fetch for fetch, _ in taken))
        queue.batch.append(median(batch for _, batch in taken))


def take_batch(conn: load.Connection, token: UUID, batch_size: int) -> tuple[float, float]:
    """Returns the milliseconds of fetching a job and of the whole batch, which is rolled back.

    :raises RuntimeError: the batch was not full.
    """
    with conn.transaction(force_rollback=True):
        start = time.perf_counter()
        job = conn.execute(FETCH, [token]).fetchone() or (None,)
        fetched = time.perf_counter()
        row = conn.execute(PERSIST, [token, job[0], batch_size]).fetchone()
        persisted = time.perf_counter()
    if row != (batch_size,):
        raise RuntimeError(f"persisted {row}, expected {batch_size}")
    return (fetched - start) * 1_000, (persisted - start) * 1_000


def report_queues(report: Report, queues: list[Queue], batch_size: int) -> None:
    """Reports each queue beside the shortest."""
    for title, name in (("Fetching a job", "fetch"), (f"Fetching and persisting {batch_size:,} events", "batch")):
        measured = [Measurement(queue.name, "the shortest", "ms", getattr(queue, name), ours=True) for queue in queues]
        report.table(title, measured, measured[0])
        ratios = [ratio(measurement, measured[0]) for measurement in measured]
        report.target(f"{title}: slowest queue of fastest", max(ratios) / min(ratios), FACTOR, limit=True)
    curves: Curves = {
        name: [(queue.queued, median(getattr(queue, name))) for queue in queues if not queue.waiting]
        for name in ("fetch", "batch")
    }
    report.curve("Fetching and persisting, by the length of the queue", ("queued events", "ms"), curves, "batch")
