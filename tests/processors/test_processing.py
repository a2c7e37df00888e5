"""Processors in a worker: they are called with the events that they ask for."""

import asyncio
import threading
import time

import psycopg
import pytest

import pgaudit
from pgaudit import AuditLog, Settings
from pgaudit.jobs import processed
from tests.support.events import events
from tests.support.processors import JOBS, errors, stat
from tests.support.queries import LOG_SIZE, value_in
from tests.support.streams import append
from tests.support.waiting import wait_until_async
from tests.support.worker import working


async def test_an_async_processor_gets_each_event_that_it_asks_for(dsn: str, settings: Settings) -> None:
    """It gets those that are appended after a worker has seen it for the first time, and their jobs leave the queue."""
    got: list[pgaudit.ProcessorEntry] = []

    @pgaudit.processor("claims", on="claim.approved")
    async def _note(entry: pgaudit.ProcessorEntry) -> None:
        got.append(entry)

    append(dsn, 2)
    async with working(settings):
        await wait_until_async("it is known", lambda: stat(dsn, "claims", "name"))
        append(dsn, 3)
        await wait_until_async("it has three events", lambda: len(got) == 3)
        await wait_until_async("their jobs are done", lambda: value_in(dsn, JOBS) == 0)
    assert sorted(entry.index for entry in got) == [2, 3, 4]
    assert {entry.attempt for entry in got} == {1}
    assert {entry.idempotency_key for entry in got} == {f"claims:{entry.event['id']}" for entry in got}


async def test_a_sync_processor_runs_in_a_thread(dsn: str, settings: Settings) -> None:
    """Several of them wait at the same time."""
    together = threading.Barrier(3, timeout=20)
    threads: list[str] = []

    @pgaudit.processor("claims", on="*", start="beginning")
    def note(_entry: pgaudit.ProcessorEntry) -> None:
        together.wait()
        threads.append(threading.current_thread().name)

    append(dsn, 3)
    async with working(settings):
        await wait_until_async("three have run", lambda: len(threads) == 3)
    assert set(threads) == {"processor note"}


async def test_a_function_that_returns_a_coroutine_is_awaited(dsn: str, settings: Settings) -> None:
    """A decorator around an asynchronous function often hides that it is one."""
    got: list[int] = []

    async def note(entry: pgaudit.ProcessorEntry) -> None:
        await asyncio.sleep(0)
        got.append(entry.index)

    pgaudit.processor("claims", on="*", start="beginning")(lambda entry: note(entry))  # noqa: PLW0108 - it hides note
    append(dsn, 1)
    async with working(settings):
        await wait_until_async("it was awaited", lambda: got == [0])


async def test_when_selects_in_python(dsn: str, settings: Settings) -> None:
    """Events that it does not select get no job, and the position passes them."""
    got: list[int] = []
    pgaudit.processor("odd", on="*", when=lambda entry: entry.index % 2, start=1)(lambda entry: got.append(entry.index))
    append(dsn, 6)
    async with working(settings):
        await wait_until_async("it has passed all", lambda: stat(dsn, "odd", "lag_events") == 0)
        await wait_until_async("it has three", lambda: sorted(got) == [1, 3, 5])
    assert stat(dsn, "odd", "succeeded") == 3


async def test_an_event_for_which_when_raises_gets_a_job_that_fails(dsn: str, settings: Settings) -> None:
    """It is not lost, and others do not wait for it."""
    got: list[int] = []

    def fits(entry: object) -> bool:
        if getattr(entry, "index", 0) == 1:
            raise KeyError("amount")
        return True

    pgaudit.processor("claims", on="*", when=fits, retry=1, start=0)(lambda entry: got.append(entry.index))
    append(dsn, 3)
    async with working(settings):
        await wait_until_async("one has failed", lambda: stat(dsn, "claims", "failed") == 1)
        await wait_until_async("the others are done", lambda: sorted(got) == [0, 2])
    assert errors(dsn, "claims") == [(1, "KeyError", "'amount'")]
    with psycopg.connect(dsn) as conn:
        assert [job.index for job in processed.list_jobs(conn, "claims", "failed")] == [1]


async def test_the_audit_queue_does_not_wait_for_processors(dsn: str, settings: Settings) -> None:
    """One that blocks its event loop, which no code should do, keeps no event out of the log."""
    let_go = threading.Event()
    blocked = threading.Event()

    @pgaudit.processor("blocks", on="*", start="beginning")
    async def _block(_entry: pgaudit.ProcessorEntry) -> None:
        blocked.set()
        let_go.wait(60)

    append(dsn, 1)
    async with working(settings) as worker:
        await wait_until_async("the loop of the processors is blocked", blocked.is_set)
        with psycopg.connect(dsn) as conn:
            AuditLog(settings).record(conn, *events(50))
        await wait_until_async("the events are in the log", lambda: value_in(dsn, LOG_SIZE) == 51)
        beats = "SELECT max(last_heartbeat) FROM pgaudit.procrastinate_workers"
        assert worker.id is not None
        assert value_in(dsn, beats) is not None
        let_go.set()


async def test_a_shutdown_gives_back_what_does_not_end(dsn: str, settings: Settings) -> None:
    """An asynchronous attempt is cancelled after the timeout of the shutdown; it does not count, and comes again."""
    cancelled: list[int] = []
    started: list[int] = []

    @pgaudit.processor("slow", on="*", start="beginning")
    async def _wait(entry: pgaudit.ProcessorEntry) -> None:
        started.append(entry.attempt)
        if len(started) > 1:
            return
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            cancelled.append(entry.index)
            raise

    append(dsn, 1)
    async with working(settings.model_copy(update={"shutdown_timeout": 0.5})):
        await wait_until_async("it runs", lambda: started == [1])
        began = time.monotonic()
    assert time.monotonic() - began < 20
    assert cancelled == [0]
    assert value_in(dsn, "SELECT status::text || attempts FROM pgaudit.processor_jobs") == "todo0"
    async with working(settings):
        await wait_until_async("it comes again", lambda: started == [1, 1])
        await wait_until_async("it is done", lambda: value_in(dsn, JOBS) == 0)


async def test_a_module_that_cannot_be_imported_keeps_no_event_out_of_the_log(
    dsn: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged; the worker goes on, with the processors of other modules."""
    got: list[int] = []
    pgaudit.processor("other", on="*", start="beginning")(lambda entry: got.append(entry.index))
    async with working(settings.model_copy(update={"processors": ("no_such_module",)})):
        with psycopg.connect(dsn) as conn:
            AuditLog(settings).record(conn, *events(2))
        await wait_until_async("the other one has both", lambda: sorted(got) == [0, 1])
    assert "PGAUDIT_PROCESSORS: the module no_such_module cannot be imported, so its processors wait" in caplog.text
