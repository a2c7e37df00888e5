"""Timeouts: what they stop, and what they cannot."""

import asyncio
import threading

import pgaudit
from pgaudit import Settings
from tests.support.processors import JOBS, errors, stat
from tests.support.queries import value_in
from tests.support.streams import append
from tests.support.waiting import wait_until_async
from tests.support.worker import working


async def test_a_timeout_stops_an_async_processor(dsn: str, settings: Settings) -> None:
    """It is cancelled where it waits, so it does no more; the attempt has failed."""
    stopped: list[type[BaseException]] = []

    @pgaudit.processor("slow", on="*", start=0, timeout=0.2, retry=1)
    async def _wait(_entry: pgaudit.ProcessorEntry) -> None:
        try:
            await asyncio.sleep(3_600)
        except BaseException as error:
            stopped.append(type(error))
            raise

    append(dsn, 1)
    async with working(settings):
        await wait_until_async("it has failed", lambda: stat(dsn, "slow", "failed") == 1)
    assert stopped == [asyncio.CancelledError]
    assert errors(dsn, "slow") == [(1, "TimeoutError", "it was cancelled after its timeout of 0.2 s")]


async def test_a_timeout_of_the_functions_own_is_told_from_ours(dsn: str, settings: Settings) -> None:
    """Its message is what the function says."""

    @pgaudit.processor("slow", on="*", start=0, timeout=60, retry=1)
    async def _wait(_entry: pgaudit.ProcessorEntry) -> None:
        raise TimeoutError("the mail server does not answer")

    append(dsn, 1)
    async with working(settings):
        await wait_until_async("it has failed", lambda: stat(dsn, "slow", "failed") == 1)
    assert errors(dsn, "slow") == [(1, "TimeoutError", "the mail server does not answer")]


async def test_a_sync_processor_goes_on_after_its_timeout_which_is_noted(dsn: str, settings: Settings) -> None:
    """Nothing can stop its thread: the job waits for it, is not begun again meanwhile, and may still succeed."""
    let_go = threading.Event()
    begun: list[int] = []

    @pgaudit.processor("slow", on="*", start=0, timeout=0.2)
    def _wait(entry: pgaudit.ProcessorEntry) -> None:
        begun.append(entry.attempt)
        let_go.wait(60)

    append(dsn, 1)
    async with working(settings):
        await wait_until_async("the overrun is noted", lambda: errors(dsn, "slow"))
        ((attempt, error_class, message),) = errors(dsn, "slow")
        assert (attempt, error_class) == (1, "TimeoutError")
        assert message.startswith("it has run for longer than its timeout of 0.2 s: nothing can stop a synchronous")
        assert stat(dsn, "slow", "running") == 1
        assert stat(dsn, "slow", "longest_running_seconds") >= 0.2
        let_go.set()
        await wait_until_async("it is done", lambda: value_in(dsn, JOBS) == 0)
    assert begun == [1]
    assert stat(dsn, "slow", "succeeded") == 1
