"""Those who drain: pgaudit's worker, and those of stock Procrastinate and PgQueuer."""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

import psycopg

from benchmarks import peers, store, workers
from benchmarks.server import RUN, Bench
from benchmarks.workers import Process

STORED: Final = f"SELECT count(*) FROM {store.LOG}"
STORED_PLAIN: Final = f"SELECT count(*) FROM {store.PLAIN_LOG}"


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """How a worker is started, and how it shows in the database that it works."""

    name: str
    short: str
    command: list[str]
    # Whether that number (%s) of its workers have registered, and how many events they have stored.
    ready: LiteralString
    progress: LiteralString
    environment: dict[str, str] = field(default_factory=dict)
    processes: int = 1
    pause: float = 0.02

    @property
    def ours(self) -> bool:
        """Whether it is pgaudit."""
        return self.command == workers.PGAUDIT


def pgaudit(batch_size: int = 1_000, processes: int = 1, concurrency: int = 2) -> Contender:
    """Workers with settings."""
    environment = {"PGAUDIT_BATCH_SIZE": str(batch_size), "PGAUDIT_WORKER_CONCURRENCY": str(concurrency)}
    many = f"{processes} workers" if processes > 1 else "a worker"
    more = f", concurrency {concurrency}" if concurrency != 2 else ""  # noqa: PLR2004 - the default
    return Contender(
        f"{many}, batches of {batch_size:,}{more}",
        f"{processes}x{batch_size}x{concurrency}",
        workers.PGAUDIT,
        "SELECT count(*) >= %s FROM pgaudit.procrastinate_workers",
        "SELECT size FROM pgaudit.log_head",
        environment,
        processes,
    )


def stock(bench: Bench, concurrency: int, delete: str = "successful") -> Contender:
    """A worker of stock Procrastinate."""
    command = [sys.executable, "-c", "from benchmarks import stock; stock.main()"]
    kept = " that keeps its jobs" if delete == "never" else ""
    return Contender(
        f"stock Procrastinate{kept}, concurrency {concurrency}",
        f"stock {concurrency}" if delete == "successful" else "stock, kept",
        [*command, peers.stock_conninfo(bench, RUN), str(concurrency), delete],
        "SELECT count(*) >= %s FROM stock.procrastinate_workers",
        f"SELECT ({STORED_PLAIN}) - (SELECT count(*) FROM stock.procrastinate_jobs WHERE status = 'doing')",
        pause=0.05,
    )


def pgqueuer(bench: Bench, batch_size: int) -> Contender:
    """A worker of PgQueuer. It registers nowhere: it is there when it has stored an event."""
    command = [sys.executable, "-c", "from benchmarks import pgqueuer; pgqueuer.main()"]
    return Contender(
        f"PgQueuer, batches of {batch_size:,}",
        f"pgqueuer {batch_size}",
        [*command, bench.conninfo(RUN), str(batch_size)],
        f"SELECT count(*) > 0 AND %s > 0 FROM {store.PLAIN_LOG}",
        f"SELECT ({STORED_PLAIN}) - (SELECT count(*) FROM pgqueuer WHERE status = 'picked')",
        pause=0.05,
    )


@dataclass(frozen=True, slots=True)
class Drained:
    """How fast it went, and what the first worker used at most."""

    rate: float
    megabytes: float
    idle: float


def drain(bench: Bench, contender: Contender, events: int, idle: float = 0.0) -> Drained:
    """Empties the queue of a database that is there: from when the last worker has come to the last event stored."""
    with ExitStack() as stack:
        conn = stack.enter_context(bench.connect(RUN))
        started = [
            stack.enter_context(workers.worker(bench.conninfo(RUN), *contender.command, **contender.environment))
            for _ in range(contender.processes)
        ]
        start = workers.wait_for(conn, contender.ready, started[0], contender.processes, pause=0.002)
        before = number(conn, contender.progress)
        end = end_of(conn, contender, started[0], events)
        if (stored := number(conn, STORED if contender.ours else STORED_PLAIN)) != events:
            raise RuntimeError(f"{stored} events in the log, expected {events}: no figure is won by losing events")
        share = 0.0
        if idle:
            time.sleep(1)  # the last run of the task lingers
            share = workers.cpu_share(started[0], idle)
        return Drained((events - before) / (end - start), workers.peak_megabytes(started[0]), share)


def end_of(conn: psycopg.Connection[Any], contender: Contender, process: Process, events: int) -> float:
    """The time at which all are stored."""
    end = time.perf_counter() + workers.AT_MOST
    while number(conn, contender.progress) < events:
        if process.poll() is not None or time.perf_counter() > end:
            raise RuntimeError(f"{contender.name} did not get there")
        time.sleep(contender.pause)
    return time.perf_counter()


def number(conn: psycopg.Connection[Any], query: LiteralString) -> int:
    """The number that a query says."""
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0
