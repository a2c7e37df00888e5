"""The story of processors: each event that one asks for gets exactly one job, and is handled, whatever is killed."""

import random
from collections.abc import Callable

import pytest

from tests.support.processes import kill, terminate
from tests.support.processors import JOBS, Modules, column, start, stat
from tests.support.queries import LOG_SIZE, value_in
from tests.support.streams import append
from tests.support.waiting import wait_until

EVERY_THIRD = """
@pgaudit.processor("thirds", on="claim.approved", when=lambda entry: entry.index % 3 == 0, start="beginning")
async def thirds(entry):
    note(entry)
    await asyncio.sleep(0.002)
"""
ALIVE = "SELECT count(*) FROM pgaudit.worker_stats WHERE alive"
QUICK = {"PGAUDIT_STALLED_AFTER": "1", "PGAUDIT_POLL_INTERVAL": "0.05"}


def wait_for_more(number: Callable[[], int], least: int) -> None:
    """Waits until a number is above ``least``: until the workers have begun with what was appended."""
    wait_until(f"there are more than {least}", lambda: number() > least)


def test_each_event_gets_exactly_one_job_while_dispatchers_are_killed(dsn: str, modules: Modules) -> None:
    """The jobs of a chunk are there, and the position has moved, or neither: so none is missing and none is doubled."""
    environment = modules.write("thirds", EVERY_THIRD) | QUICK | {"PGAUDIT_PROCESSOR_CONCURRENCY": "0"}
    workers = [start(dsn, environment) for _ in range(2)]
    dice = random.Random(7)
    try:
        for turn in range(1, 9):
            append(dsn, 1_500)
            wait_for_more(lambda: stat(dsn, "thirds", "next_index") or 0, 1_500 * (turn - 1))
            victim = dice.randrange(2)
            kill(workers[victim])
            workers[victim] = start(dsn, environment)
        wait_until("all is dispatched", lambda: stat(dsn, "thirds", "lag_events") == 0)
    finally:
        for process in workers:
            kill(process)
    size = value_in(dsn, LOG_SIZE)
    assert size == 12_000
    assert column(dsn, "SELECT index FROM pgaudit.processor_jobs ORDER BY index") == list(range(0, size, 3))
    assert column(dsn, "SELECT DISTINCT queue_name FROM pgaudit.procrastinate_jobs") == ["audit_processors"]


@pytest.mark.parametrize("command", ["pgaudit", "procrastinate"])
def test_each_event_is_handled_while_workers_are_killed(dsn: str, modules: Modules, command: str) -> None:
    """None is left out; an event whose worker was killed comes again, with the same key; at the end no job is left."""
    environment = modules.write("thirds", EVERY_THIRD) | QUICK
    workers = [start(dsn, environment, command) for _ in range(2)]
    try:
        for turn in range(1, 5):
            append(dsn, 300)
            wait_for_more(lambda: len(modules.notes), 100 * turn - 60)
            kill(workers[turn % 2])
            workers[turn % 2] = start(dsn, environment, command)
        wait_until("all is dispatched", lambda: stat(dsn, "thirds", "lag_events") == 0)
        wait_until("no job is left", lambda: value_in(dsn, JOBS) == 0)
        wait_until("both workers are alive", lambda: value_in(dsn, ALIVE) == 2)
        assert [terminate(process) for process in workers] == [0, 0]
    finally:
        for process in workers:
            kill(process)
    notes = modules.notes
    assert {note.index for note in notes} == set(range(0, 1_200, 3))
    assert len({note.key for note in notes}) == 400
    assert len(notes) - 400 <= 4 * 10  # what ran in a worker when it was killed
    assert stat(dsn, "thirds", "succeeded") == 400
