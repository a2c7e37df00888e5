"""The workers that are compared: those of pgaudit, stock Procrastinate and PgQueuer."""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

import psycopg

from benchmarks.support import plain_log, workers
from benchmarks.support.server import RUN, Bench
from benchmarks.support.stock_procrastinate import stock_conninfo
from benchmarks.support.workers import Process

STORED: Final = f"SELECT count(*) FROM {plain_log.LOG}"
STORED_PLAIN: Final = f"SELECT count(*) FROM {plain_log.PLAIN_LOG}"


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """How a worker is started, and how its progress is read from the database."""

    name: str
    short: str
    command: list[str]
    # Whether %s of its workers have registered, and the number of events that they have stored.
    ready: LiteralString
    progress: LiteralString
    environment: dict[str, str] = field(default_factory=dict)
    processes: int = 1
    pause: float = 0.02

    @property
    def ours(self) -> bool:
        """Whether this is pgaudit's worker."""
        return self.command == workers.PGAUDIT


def pgaudit(batch_size: int = 1_000, processes: int = 1, concurrency: int = 2) -> Contender:
    """Returns pgaudit's workers with these settings."""
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
    """Returns a worker of Procrastinate as it comes."""
    command = [sys.executable, "-c", "from benchmarks.support import stock_procrastinate; stock_procrastinate.main()"]
    kept = " that keeps its jobs" if delete == "never" else ""
    return Contender(
        f"stock Procrastinate{kept}, concurrency {concurrency}",
        f"stock {concurrency}" if delete == "successful" else "stock, kept",
        [*command, stock_conninfo(bench, RUN), str(concurrency), delete],
        "SELECT count(*) >= %s FROM stock.procrastinate_workers",
        f"SELECT ({STORED_PLAIN}) - (SELECT count(*) FROM stock.procrastinate_jobs WHERE status = 'doing')",
        pause=0.05,
    )


def pgqueuer(bench: Bench, batch_size: int) -> Contender:
    """Returns a worker of PgQueuer, which registers nowhere: it counts as ready once it has stored an event."""
    command = [sys.executable, "-c", "from benchmarks.support import pgqueuer; pgqueuer.main()"]
    return Contender(
        f"PgQueuer, batches of {batch_size:,}",
        f"pgqueuer {batch_size}",
        [*command, bench.conninfo(RUN), str(batch_size)],
        f"SELECT count(*) > 0 AND %s > 0 FROM {plain_log.PLAIN_LOG}",
        f"SELECT ({STORED_PLAIN}) - (SELECT count(*) FROM pgqueuer WHERE status = 'picked')",
        pause=0.05,
    )


@dataclass(frozen=True, slots=True)
class Drained:
    """Events a second; the first worker's peak memory, and its share of a core when idle, in percent."""

    rate: float
    megabytes: float
    idle: float


def drain(bench: Bench, contender: Contender, events: int, idle: float = 0.0) -> Drained:
    """Drains the queue of this run's database, and times it from the last worker's start to the last event stored.

    With ``idle`` it then watches the idle worker for that many seconds.

    :raises RuntimeError: the log does not have each event once.
    """
    with ExitStack() as stack:
        conn = stack.enter_context(bench.connect(RUN))
        started = [
            stack.enter_context(workers.worker(bench.conninfo(RUN), *contender.command, **contender.environment))
            for _ in range(contender.processes)
        ]
        start = workers.wait_for(conn, contender.ready, started[0], contender.processes, pause=0.002)
        before = fetch_number(conn, contender.progress)
        end = wait_until_stored(conn, contender, started[0], events)
        if (stored := fetch_number(conn, STORED if contender.ours else STORED_PLAIN)) != events:
            raise RuntimeError(f"{stored} events in the log, expected {events}: the measurement does not count")
        share = 0.0
        if idle:
            time.sleep(1)  # the task polls quickly for a while after its last batch
            share = workers.cpu_share(started[0], idle)
        return Drained((events - before) / (end - start), workers.peak_megabytes(started[0]), share)


def wait_until_stored(conn: psycopg.Connection[Any], contender: Contender, process: Process, events: int) -> float:
    """Polls until all events are stored, and returns that time.

    :raises RuntimeError: the worker has ended, or ten minutes have passed.
    """
    end = time.perf_counter() + workers.TIMEOUT_SECONDS
    while fetch_number(conn, contender.progress) < events:
        if process.poll() is not None or time.perf_counter() > end:
            raise RuntimeError(f"{contender.name} ended or took ten minutes before all events were stored")
        time.sleep(contender.pause)
    return time.perf_counter()


def fetch_number(conn: psycopg.Connection[Any], query: LiteralString) -> int:
    """Returns the number that a query selects."""
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0
