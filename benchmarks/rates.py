"""One rate of events, tried for some seconds in a fresh database: whether the worker keeps up with the writers."""

import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from subprocess import Popen
from typing import Any, Final, LiteralString

from psycopg import sql
from psycopg.rows import class_row

from benchmarks import stream, workers
from benchmarks.contenders import Contender
from benchmarks.load import Connection
from benchmarks.server import RUN, Bench

# Seconds: the lag that is too long, the time before lags count, and the time between two looks.
LIMIT: Final = 1.0
WARM: Final = 2.0
PAUSE: Final = 0.25
# Seconds after LIMIT in which the last events must be in the log: they have to be committed, and to be looked for.
SLACK: Final = 0.5

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
    """One trial: a way to record, its worker if it has one, the number of connections and the seconds."""

    bench: Bench
    way: str
    worker: Contender | None
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rate led to: events a second recorded and logged, lags in milliseconds, and whether the rate held."""

    recorded: float
    logged: float
    median: float
    slowest: float
    held: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How many events were recorded and logged at a time, in seconds of the server's clock."""

    at: float
    recorded: int
    logged: int


def attempt(trial: Trial, rate: float | None = None) -> Outcome:
    """Writers at a rate, or flat out, beside a worker that has stored its first event.

    The outcome is that of the time after warming up, or, if the worker fell behind, of all the time until then.

    :raises RuntimeError: the worker or pgbench has ended.
    """
    stream.create(trial.bench)
    with ExitStack() as stack:
        conn = stack.enter_context(trial.bench.connect(RUN))
        processes = [stack.enter_context(ready(trial, conn, worker))] if (worker := trial.worker) else []
        begin = counts(conn, trial)
        bound = WARM + trial.seconds + LIMIT  # pgbench ends by itself even if this process is killed
        with stream.writers(trial.bench, trial.way, trial.connections, bound, rate) as writing:
            time.sleep(WARM)
            warmed = counts(conn, trial)
            in_time = stays_in_time(trial, conn, [*processes, writing], time.monotonic() + trial.seconds)
            end = counts(conn, trial)
        in_time = in_time and all_arrive(trial, conn)
        median, slowest = lags(conn, trial, warmed.at)
    start = warmed if in_time else begin
    recorded, logged = end.recorded - start.recorded, end.logged - start.logged
    duration = end.at - start.at
    return Outcome(recorded / duration, logged / duration, median, slowest, in_time and slowest < LIMIT * 1_000)


@contextmanager
def ready(trial: Trial, conn: Connection, contender: Contender) -> Generator[workers.Process]:
    """The worker, once it has stored an event."""
    stream.once(trial.bench, trial.way)
    with workers.worker(trial.bench.conninfo(RUN), *contender.command, **contender.environment) as process:
        workers.wait_for(conn, query(ARRIVED, trial), process)
        yield process


def stays_in_time(trial: Trial, conn: Connection, processes: Sequence[Popen[Any]], end: float) -> bool:
    """Whether the lag stays below the limit until the end; if not, returns at once.

    :raises RuntimeError: one of the processes has ended.
    """
    while time.monotonic() < end:
        if any(process.poll() is not None for process in processes):
            raise RuntimeError(f"{trial.way}: a worker or pgbench has ended")
        row = conn.execute(query(AGE, trial)).fetchone()
        if row and row[0] >= LIMIT:
            return False
        time.sleep(PAUSE)
    return True


def all_arrive(trial: Trial, conn: Connection) -> bool:
    """Whether all recorded events reach the log in time, now that the writers have ended."""
    end = time.monotonic() + LIMIT + SLACK
    while time.monotonic() < end:
        now = counts(conn, trial)
        if now.logged == now.recorded:
            return True
        time.sleep(PAUSE / 5)
    return False


def counts(conn: Connection, trial: Trial) -> Counts:
    """How many events there are now."""
    with conn.cursor(row_factory=class_row(Counts)) as cursor:
        return cursor.execute(query(COUNTS, trial)).fetchone() or Counts(0, 0, 0)


def lags(conn: Connection, trial: Trial, since: float) -> tuple[float, float]:
    """The lag of the median event and of the slowest event recorded since that time, of those in the log."""
    median, slowest = conn.execute(query(LAGS, trial), [since]).fetchone() or (0.0, 0.0)
    return median, slowest


def query(text: LiteralString, trial: Trial) -> sql.Composed:
    """A query of the log of a way."""
    return sql.SQL(text).format(log=sql.Identifier(*stream.LOGS[trial.way].split(".")))
