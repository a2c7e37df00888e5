"""The event that every benchmark records, events in bulk, and a writer process that commits at a given rate."""

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

from benchmarks.support.server import RUN, Bench
from pgaudit import Actor, AuditContext, AuditEvent, Change, Settings, Target, migrate
from pgaudit.recording.connections.psycopg_ import RECORD
from pgaudit.recording.document import to_portions

Connection = psycopg.Connection[Any]
Recorder = Callable[[Connection, AuditEvent], None]
Result = TypeVar("Result")

# The server makes the events from one template and a number, in calls of a thousand like an import.
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
# Events a second that one connection commits with ease. A writer opens as many connections as its rate needs.
RATE_PER_CONNECTION: Final = 250.0
SETTINGS: Final = Settings()


def event(number: int = 0) -> AuditEvent:
    """Returns an event with its own id and time: a claim is approved. It has 430 bytes of JSON."""
    return AuditEvent(
        action="claim.approved",
        actor=Actor(type="user", id=str(number % 500), name="Ada"),
        target=Target(type="claim", id=f"c-{number * 7_919 % 10_007}"),
        changes=[Change(path="status", before="open", after="approved")],
        context=AuditContext(request_id=f"req-{number:06}", trace_id="4bf92f3577b34da6a3ce929d0e0e4736"),
        data={"approval_amount": "1000.00"},
    )


def create(bench: Bench, name: str = RUN) -> str:
    """Creates a fresh database with pgaudit's schema."""
    bench.create(name)
    migrate.upgrade(bench.conninfo(name))
    return name


def record(conn: Connection, count: int, first: int = 1) -> None:
    """Records copies of one event whose ids count up from ``first``."""
    conn.execute(COPIES, {"first": first, "last": first + count - 1, "event": event().to_json()})


def by_pgaudit(conn: Connection, made: AuditEvent) -> None:
    """Records one event as ``AuditLog.record`` does."""
    conn.execute(RECORD, [to_portions([made], SETTINGS.max_event_bytes)[0].document])


def commits(dsn: str, recorder: Recorder, rate: float, seconds: float) -> Iterator[tuple[UUID, float]]:
    """Commits events at random moments, ``rate`` a second on average; after a delay it catches up.

    Yields the id of each event and the time at which its commit returned, by the monotonic clock of the machine.
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


def commit_times(dsn: str, recorder: Recorder, rate: float, seconds: float) -> dict[UUID, float]:
    """Returns when the commit of each event returned, with as many connections as the rate needs."""
    found: dict[UUID, float] = {}
    for part in run_in_threads(lambda share: dict(commits(dsn, recorder, share, seconds)), rate):
        found |= part
    return found


def count_commits(dsn: str, recorder: Recorder, rate: float, seconds: float) -> int:
    """Returns how many events were committed, with as many connections as the rate needs."""
    return sum(run_in_threads(lambda share: sum(1 for _ in commits(dsn, recorder, share, seconds)), rate))


def run_in_threads(work: Callable[[float], Result], rate: float) -> list[Result]:
    """Divides the rate equally among threads, and returns their results."""
    threads = math.ceil(rate / RATE_PER_CONNECTION)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, [rate / threads] * threads))


@contextmanager
def process(work: Callable[..., Result], *arguments: object) -> Generator[Future[Result]]:
    """Runs ``work`` in another process, and waits for it at the end of the block."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool.submit(work, *arguments)


def verify(conn: Connection, recorded: int) -> None:
    """Checks that the log has each recorded event once and that the queue is empty.

    :raises RuntimeError: events were lost, stored twice, or are still queued.
    """
    row = conn.execute(COUNTS).fetchone()
    if row != (recorded, recorded, recorded, 0):
        raise RuntimeError(
            f"{recorded:,} events recorded, but rows, distinct events, size of the log and queued are {row}"
        )
