"""Processors in a worker: they are called with the events that they ask for."""

import pgaudit
from pgaudit import Settings
from tests.support.processors import JOBS, stat
from tests.support.queries import value_in
from tests.support.streams import append
from tests.support.waiting import wait_until_async
from tests.support.worker import working


async def test_an_async_processor_gets_each_event_that_it_asks_for(dsn: str, settings: Settings) -> None:
    """It gets those that are appended after a worker has seen it for the first time, and their jobs leave the queue."""
    got: list[pgaudit.ProcessorEntry] = []

    @pgaudit.processor("claims", on="claim.approved")
    async def note(entry: pgaudit.ProcessorEntry) -> None:
        got.append(entry)

    append(dsn, 2)
    async with working(settings):
        await wait_until_async("it is known", lambda: stat(dsn, "claims", "name"))
        append(dsn, 3)
        await wait_until_async("it has three events", lambda: len(got) == 3)
        await wait_until_async("their jobs are done", lambda: value_in(dsn, JOBS) == 0)
    assert sorted(entry.index for entry in got) == [2, 3, 4]
    assert {entry.attempt for entry in got} == {1}
    assert len({entry.idempotency_key for entry in got}) == 3
