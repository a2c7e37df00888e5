"""Tries one rate of events for some seconds in a fresh database: does the worker keep up with the writers?"""

import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from subprocess import Popen
from typing import Any, Final, LiteralString

from psycopg import sql
from psycopg.rows import class_row

from benchmarks.support import databases, plain_log, transactions, workers
from benchmarks.support.contenders import Contender
from benchmarks.support.load import Connection
from benchmarks.support.server import RUN, Bench
from benchmarks.support.transactions import PGAUDIT

MAX_LAG_SECONDS: Final = 1.0
WARM_UP_SECONDS: Final = 2.0
POLL_SECONDS: Final = 0.25
# Time beyond MAX_LAG_SECONDS for the last events, which have to be committed and fetched.
GRACE_SECONDS: Final = 0.5

# Each business transaction increments one version: the sum is the number of committed transactions.
COUNTS: Final = """
    SELECT extract(epoch FROM clock_timestamp())::float8 AS at, (SELECT sum(version) FROM claims) AS recorded,
           (SELECT count(*) FROM {log}) AS logged
"""
# Events enter the log roughly in the order of recording: the oldest waiting event is as old as the newest in the log.
AGE: Final = """
    SELECT extract(epoch FROM clock_timestamp() - recorded_at)::float8 FROM {log} ORDER BY index DESC LIMIT 1
"""
LAGS: Final = """
    SELECT coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY lag), 0)::float8, coalesce(max(lag), 0)::float8
      FROM (SELECT extract(epoch FROM persisted_at - recorded_at) * 1000 AS lag FROM {log}
             WHERE recorded_at >= to_timestamp(%s)) lags
"""
ARRIVED: Final = "SELECT count(*) > 0 FROM {log}"


@dataclass(frozen=True, slots=True)
class Trial:
    """A variant with its worker, if it has one, the number of connections, and the duration."""

    bench: Bench
    variant: str
    worker: Contender | None
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a trial: events a second recorded and logged, lags in milliseconds, and whether the rate held."""

    recorded: float
    logged: float
    median: float
    slowest: float
    held: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of events recorded and logged at a time, which is in seconds of the server's clock."""

    at: float
    recorded: int
    logged: int


def attempt(trial: Trial, rate: float | None = None) -> Outcome:
    """Runs writers at a rate, or flat out, beside a worker that has stored its first event.

    The outcome covers the time after warming up or, if the worker fell behind, all the time until then.

    :raises RuntimeError: the worker or pgbench has ended.
    """
    trial.bench.create(RUN, databases.BUSINESS)
    with ExitStack() as stack:
        conn = stack.enter_context(trial.bench.connect(RUN))
        processes = [stack.enter_context(ready(trial, conn, worker))] if (worker := trial.worker) else []
        begin = counts(conn, trial)
        # pgbench ends by itself even if this process is killed.
        bound = WARM_UP_SECONDS + trial.seconds + MAX_LAG_SECONDS
        with transactions.writers(trial.bench, trial.variant, trial.connections, bound, rate) as writing:
            time.sleep(WARM_UP_SECONDS)
            warmed = counts(conn, trial)
            in_time = stays_in_time(trial, conn, [*processes, writing], time.monotonic() + trial.seconds)
            end = counts(conn, trial)
        in_time = in_time and all_arrive(trial, conn)
        median, slowest = lags(conn, trial, warmed.at)
    start = warmed if in_time else begin
    recorded, logged = end.recorded - start.recorded, end.logged - start.logged
    duration = end.at - start.at
    held = in_time and slowest < MAX_LAG_SECONDS * 1_000
    return Outcome(recorded / duration, logged / duration, median, slowest, held)


@contextmanager
def ready(trial: Trial, conn: Connection, contender: Contender) -> Generator[workers.Process]:
    """Starts a worker, and waits until it has stored an event."""
    transactions.run_once(trial.bench, trial.variant)
    with workers.worker(trial.bench.conninfo(RUN), *contender.command, **contender.environment) as process:
        workers.wait_for(conn, query(ARRIVED, trial), process)
        yield process


def stays_in_time(trial: Trial, conn: Connection, processes: Sequence[Popen[Any]], end: float) -> bool:
    """Returns whether the lag stays below the limit until ``end``; returns at once if it does not.

    :raises RuntimeError: one of the processes has ended.
    """
    while time.monotonic() < end:
        if any(process.poll() is not None for process in processes):
            raise RuntimeError(f"{trial.variant}: a worker or pgbench has ended")
        row = conn.execute(query(AGE, trial)).fetchone()
        if row and row[0] >= MAX_LAG_SECONDS:
            return False
        time.sleep(POLL_SECONDS)
    return True


def all_arrive(trial: Trial, conn: Connection) -> bool:
    """Returns whether all recorded events reach the log in time after the writers have ended."""
    end = time.monotonic() + MAX_LAG_SECONDS + GRACE_SECONDS
    while time.monotonic() < end:
        now = counts(conn, trial)
        if now.logged == now.recorded:
            return True
        time.sleep(POLL_SECONDS / 5)
    return False


def counts(conn: Connection, trial: Trial) -> Counts:
    """Counts the recorded and the logged events."""
    with conn.cursor(row_factory=class_row(Counts)) as cursor:
        return cursor.execute(query(COUNTS, trial)).fetchone() or Counts(0, 0, 0)


def lags(conn: Connection, trial: Trial, since: float) -> tuple[float, float]:
    """Returns the lags of the median and the slowest logged event that was recorded since that time."""
    median, slowest = conn.execute(query(LAGS, trial), [since]).fetchone() or (0.0, 0.0)
    return median, slowest


def query(text: LiteralString, trial: Trial) -> sql.Composed:
    """Returns a query of the log that the variant writes to."""
    log = plain_log.LOG if trial.variant == PGAUDIT else plain_log.PLAIN_LOG
    return sql.SQL(text).format(log=sql.Identifier(*log.split(".")))
