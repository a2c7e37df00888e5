"""The load that the longer benchmarks share: events in bulk, and a writer process that keeps a pace."""

import math
import random
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Final, TypeVar
from uuid import UUID

import psycopg

from benchmarks.events import event
from benchmarks.server import RUN, Bench
from pgaudit import AuditEvent, Settings, migrate
from pgaudit.recording.connections.psycopg_ import RECORD
from pgaudit.recording.document import to_document

Connection = psycopg.Connection[Any]
Recorder = Callable[[Connection, AuditEvent], None]
Result = TypeVar("Result")

# Made by the server itself, from one event and a number, in calls of a thousand as an import makes them.
COPIES: Final = """
    SELECT pgaudit.record(events)
      FROM generate_series(%(first)s::bigint, %(last)s::bigint, 1000) start,
           LATERAL (SELECT jsonb_agg(%(event)s::jsonb || jsonb_build_object('id', lpad(to_hex(n), 32, '0')::uuid))
                      FROM generate_series(start, least(start + 999, %(last)s::bigint)) n) made (events)
"""
COUNTS: Final = """
    SELECT (SELECT count(*) FROM pgaudit.audit_log), (SELECT count(DISTINCT event_id) FROM pgaudit.audit_log),
           (SELECT size FROM pgaudit.log_head), (SELECT count(*) FROM pgaudit.procrastinate_jobs)
"""
DRAINED: Final = "SELECT size >= %s FROM pgaudit.log_head"
# What one connection commits at ease; a writer opens as many as its rate takes.
RATE_OF_ONE: Final = 250.0
SETTINGS: Final = Settings()


def create(bench: Bench, name: str = RUN) -> str:
    """A fresh database with pgaudit's schema."""
    bench.create(name)
    migrate.upgrade(bench.conninfo(name))
    return name


def record(conn: Connection, count: int, first: int = 1) -> None:
    """Records copies of one event whose ids count up from ``first``."""
    conn.execute(COPIES, {"first": first, "last": first + count - 1, "event": event().to_json()})


def by_pgaudit(conn: Connection, made: AuditEvent) -> None:
    """Records one event as ``AuditLog.record`` does."""
    conn.execute(RECORD, [to_document([made], SETTINGS.max_event_bytes)])


def commits(dsn: str, recorder: Recorder, rate: float, seconds: float) -> Iterator[tuple[UUID, float]]:
    """Commits one event after the other, at random moments, ``rate`` a second on average.

    What is late is made up for. Yields each event's id, and when its commit returned, by the clock that all
    processes of the machine share.
    """
    with psycopg.connect(dsn) as conn:
        due = time.monotonic()
        end = due + seconds
        while (due := due + random.expovariate(rate)) < end:
            time.sleep(max(due - time.monotonic(), 0))
            made = event(random.randrange(10_000))
            recorder(conn, made)
            conn.commit()
            yield made.id, time.monotonic()


def times(dsn: str, recorder: Recorder, rate: float, seconds: float) -> dict[UUID, float]:
    """When each event's commit returned, of as many connections as the rate takes."""
    found: dict[UUID, float] = {}
    for part in in_threads(lambda share: dict(commits(dsn, recorder, share, seconds)), rate):
        found |= part
    return found


def count(dsn: str, recorder: Recorder, rate: float, seconds: float) -> int:
    """How many events were committed, of as many connections as the rate takes."""
    return sum(in_threads(lambda share: sum(1 for _ in commits(dsn, recorder, share, seconds)), rate))


def in_threads(work: Callable[[float], Result], rate: float) -> list[Result]:
    """Returns the results of that number of threads, each with an equal share of the rate."""
    threads = math.ceil(rate / RATE_OF_ONE)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, [rate / threads] * threads))


@contextmanager
def process(work: Callable[..., Result], *arguments: object) -> Generator[Future[Result]]:
    """Does the work in a process of its own; at the end waits for it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool.submit(work, *arguments)


def reckon(conn: Connection, recorded: int) -> None:
    """Refuses figures that were won by losing or doubling events."""
    row = conn.execute(COUNTS).fetchone()
    if row != (recorded, recorded, recorded, 0):
        raise RuntimeError(f"{recorded:,} events recorded; rows, events, size of the log, and queued are {row}")
