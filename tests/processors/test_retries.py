"""Attempts that do not succeed: when the next one is, what ends them, and what is kept of each."""

import sys
from datetime import timedelta

import psycopg
import pytest

import pgaudit
from pgaudit import Settings
from pgaudit.errors import JobNotFound
from pgaudit.jobs import processed
from pgaudit.processors.backoff import Backoff
from tests.support.processors import JOBS, errors, stat
from tests.support.queries import value_in
from tests.support.streams import append
from tests.support.waiting import wait_until_async
from tests.support.worker import working


def test_delays_double_up_to_the_longest() -> None:
    """Each is longer or shorter by up to a fifth, and there is none after the last attempt."""
    backoff = Backoff(attempts=6, delay=2, max_delay=10)
    for attempt, delay in ((1, 2), (2, 4), (3, 8), (4, 10), (5, 10)):
        drawn = [backoff.delay_after(attempt) or 0 for _ in range(200)]
        assert delay * 0.8 <= min(drawn) < delay < max(drawn) <= delay * 1.2
    assert backoff.delay_after(6) is None


class Hostile(Exception):
    """An exception with what cannot be stored."""

    sqlstate = 5

    def __str__(self) -> str:
        raise RuntimeError


async def test_texts_that_postgres_cannot_store_end_the_attempt_as_others_do(dsn: str, settings: Settings) -> None:
    """NUL, half a character, an sqlstate that is a number, an exception without a text: no attempt is made for ever."""
    attempts: list[int] = []

    @pgaudit.processor("odd", on="*", start="beginning", retry=1)
    def handle(entry: pgaudit.ProcessorEntry) -> None:
        attempts.append(entry.index)
        raise (pgaudit.Discard("a\0b\ud800"), ValueError("a\0b\ud800"), Hostile())[entry.index]

    append(dsn, 3)
    async with working(settings):
        await wait_until_async("one is discarded", lambda: stat(dsn, "odd", "discarded") == 1)
        await wait_until_async("two have failed", lambda: stat(dsn, "odd", "failed") == 2)
    assert sorted(attempts) == [0, 1, 2]
    assert sorted((name, text) for _, name, text in errors(dsn, "odd")) == [
        ("Discard", "ab?"), ("Hostile", "Hostile"), ("ValueError", "ab?"),
    ]  # fmt: skip


async def test_a_failed_attempt_is_retried_after_the_delay(dsn: str, settings: Settings) -> None:
    """The job waits for the time that its backoff says, and keeps the error."""
    pgaudit.processor("fails", on="*", start=0, retry=Backoff(delay=1_000, max_delay=9_999))(raise_value_error)
    append(dsn, 1)
    async with working(settings):
        await wait_until_async("it is delayed", lambda: stat(dsn, "fails", "delayed") == 1)
    waits = "SELECT scheduled_at - failed_at FROM pgaudit.processor_jobs j JOIN pgaudit.job_error e ON e.job_id = j.id"
    assert timedelta(seconds=799) < value_in(dsn, waits) < timedelta(seconds=1_201)
    assert errors(dsn, "fails") == [(1, "ValueError", "no such claim")]


def raise_value_error(_entry: pgaudit.ProcessorEntry) -> None:
    """Fails."""
    raise ValueError("no such claim")


async def test_the_last_attempt_leaves_a_dead_letter_with_the_error_of_each(dsn: str, settings: Settings) -> None:
    """It stays until someone retries it, from its first attempt; then it may succeed."""
    works: list[int] = []

    @pgaudit.processor("fails", on="*", start=0, retry=Backoff(attempts=3, delay=0))
    async def _fail(entry: pgaudit.ProcessorEntry) -> None:
        if works:
            works.append(entry.attempt)
        else:
            raise LookupError(f"attempt {entry.attempt}")

    append(dsn, 1)
    async with working(settings):
        await wait_until_async("it has failed", lambda: stat(dsn, "fails", "failed") == 1)
        with psycopg.connect(dsn, autocommit=True) as conn:
            (job,) = processed.list_jobs(conn, "fails", "failed")
            details = processed.get_job(conn, "fails", job.job_id)
            assert (job.state, job.index, job.action, job.attempts) == ("failed", 0, "claim.approved", 3)
            assert [(error.attempt, error.message) for error in details.errors] == [
                (1, "attempt 1"),
                (2, "attempt 2"),
                (3, "attempt 3"),
            ]
            assert 'raise LookupError(f"attempt {entry.attempt}")' in (details.errors[0].traceback or "")
            works.append(0)
            assert processed.retry_jobs(conn, "fails") == [job.job_id]
        await wait_until_async("it is done", lambda: value_in(dsn, JOBS) == 0)
    assert works == [0, 1]


async def test_retry_asks_for_another_attempt_in_its_own_time(dsn: str, settings: Settings) -> None:
    """It counts as an attempt, so that no job goes on for ever, and not as a failure of the processor."""

    @pgaudit.processor("later", on="*", start=0, retry=Backoff(attempts=2, delay=0), break_after=1)
    async def _later(entry: pgaudit.ProcessorEntry) -> None:
        raise pgaudit.Retry(0.05 if entry.attempt == 1 else 9_999, "the file is not there yet")

    append(dsn, 1)
    async with working(settings):
        await wait_until_async("it has failed", lambda: stat(dsn, "later", "failed") == 1)
    reason = "the file is not there yet"
    assert errors(dsn, "later") == [(1, "Retry", reason), (2, "Retry", reason)]
    gap = "SELECT max(failed_at) - min(failed_at) >= interval '50 ms' FROM pgaudit.job_error"
    assert value_in(dsn, gap) is True
    assert stat(dsn, "later", "failures_in_a_row") == 0
    assert stat(dsn, "later", "state") == "active"


async def test_discard_gives_the_event_up(dsn: str, settings: Settings) -> None:
    """The job leaves the queue at once; its history has the reason."""

    @pgaudit.processor("picky", on="*", start=0)
    def _picky(_entry: pgaudit.ProcessorEntry) -> None:
        raise pgaudit.Discard("this customer is gone")

    append(dsn, 1)
    async with working(settings):
        await wait_until_async("it is discarded", lambda: stat(dsn, "picky", "discarded") == 1)
    assert value_in(dsn, JOBS) == 0
    assert errors(dsn, "picky") == [(1, "Discard", "this customer is gone")]


async def test_an_exit_is_a_failure_and_not_the_end_of_the_worker(dsn: str, settings: Settings) -> None:
    """sys.exit() in a processor, synchronous or not, and a cancellation of its own, end the attempt alone."""
    pgaudit.processor("exits", on="*", start=0, retry=1)(lambda _entry: sys.exit(3))

    @pgaudit.processor("exits-too", on="*", start=0, retry=1)
    async def _exits(_entry: pgaudit.ProcessorEntry) -> None:
        sys.exit(4)

    append(dsn, 1)
    async with working(settings):
        await wait_until_async("one has failed", lambda: stat(dsn, "exits", "failed") == 1)
        await wait_until_async("the other one has failed", lambda: stat(dsn, "exits-too", "failed") == 1)
    assert errors(dsn, "exits") == [(1, "SystemExit", "3")]
    assert errors(dsn, "exits-too") == [(1, "SystemExit", "4")]


async def test_a_job_that_has_not_failed_is_neither_retried_nor_discarded(dsn: str, settings: Settings) -> None:
    """All of those that are named, or none; and an unknown processor is named."""
    pgaudit.processor("fails", on="*", start=0, retry=1)(raise_value_error)
    append(dsn, 2)
    async with working(settings):
        await wait_until_async("both have failed", lambda: stat(dsn, "fails", "failed") == 2)
    with psycopg.connect(dsn, autocommit=True) as conn:
        first, second = (job.job_id for job in processed.list_jobs(conn, "fails", "failed"))
        with pytest.raises(JobNotFound, match="the processor fails has no failed job 999"):
            processed.retry_jobs(conn, "fails", [first, 999])
        with pytest.raises(JobNotFound, match="there is no processor other"):
            processed.discard_jobs(conn, "other", None, "why")
        assert processed.count_jobs(conn, "fails")["failed"] == 2
        assert processed.discard_jobs(conn, "fails", [first], "a duplicate") == [first]
        assert [job.job_id for job in processed.list_jobs(conn, "fails", None)] == [second]
        assert processed.discard_jobs(conn, "fails", [], "none") == []
        acts = conn.execute("SELECT event->>'action', event->'data' FROM pgaudit.audit_jobs").fetchall()
        assert acts == [("audit.processor_jobs_discarded", {"jobs": 1, "indexes": [0], "reason": "a duplicate"})]
    assert errors(dsn, "fails")[-1] == (2, "Discard", "a duplicate, by postgres")
