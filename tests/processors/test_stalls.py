"""Workers that vanish while they run jobs of processors."""

import psycopg

import pgaudit
from pgaudit import Settings
from tests.support.processes import kill
from tests.support.processors import JOBS, Modules, errors, start, stat
from tests.support.queries import value_in
from tests.support.streams import append
from tests.support.waiting import wait_until, wait_until_async
from tests.support.worker import working

SLOW = """
@pgaudit.processor("slow", on="*", start="beginning")
async def slow(entry):
    note(entry, "begins")
    await asyncio.sleep(60)
"""
QUICK = SLOW.replace("sleep(60)", "sleep(0)")
POISON = """
@pgaudit.processor("slow", on="*", start="beginning")
def slow(entry):
    note(entry, "begins")
    os.kill(os.getpid(), 9)
"""
SOON = {"PGAUDIT_STALLED_AFTER": "1"}


def test_the_jobs_of_a_killed_worker_are_run_by_another(dsn: str, modules: Modules) -> None:
    """It sends no heartbeat any more: its jobs are taken from it, which is noted and costs no attempt."""
    append(dsn, 3)
    victim = start(dsn, modules.write("slow", SLOW) | SOON)
    other = None
    try:
        wait_until("three run", lambda: len(modules.notes) == 3)
        kill(victim)
        other = start(dsn, modules.write("slow", QUICK) | SOON)
        wait_until("they are done", lambda: value_in(dsn, JOBS) == 0 and stat(dsn, "slow", "succeeded") == 3)
    finally:
        for process in filter(None, (victim, other)):
            kill(process)
    assert sorted((note.index, note.attempt) for note in modules.notes) == sorted([(0, 1), (1, 1), (2, 1)] * 2)
    assert [(attempt, error_class) for attempt, error_class, _ in errors(dsn, "slow")] == [(1, "JobStalled")] * 3


def test_a_job_that_kills_its_workers_ends_as_failed(dsn: str, modules: Modules) -> None:
    """After max_stalls, so that it does not end every worker that is started."""
    append(dsn, 1)
    environment = modules.write("slow", POISON) | SOON | {"PGAUDIT_MAX_STALLS": "2"}
    for turn in range(1, 4):
        worker = start(dsn, environment)
        try:
            wait_until(f"it is begun for time {turn}", lambda turn=turn: len(modules.notes) == turn)  # type: ignore[misc]
            assert worker.wait(20) == -9
        finally:
            kill(worker)
    worker = start(dsn, environment)
    try:
        wait_until("it has failed", lambda: stat(dsn, "slow", "failed") == 1)
    finally:
        kill(worker)
    assert len(modules.notes) == 3
    assert [error_class for _, error_class, _ in errors(dsn, "slow")] == ["JobStalled"] * 3


async def test_a_job_whose_fetch_was_not_answered_is_given_back(dsn: str, settings: Settings) -> None:
    """The worker holds it in the database, and does not know: its next fetch says what it runs."""
    got: list[int] = []
    pgaudit.processor("mail", on="*", start=0)(lambda entry: got.append(entry.index))
    async with working(settings) as worker:
        await wait_until_async("it is known", lambda: stat(dsn, "mail", "name"))
        with psycopg.connect(dsn) as conn:
            conn.execute(
                "INSERT INTO pgaudit.processor_jobs (task_name, index, args, status, worker_id)"
                " VALUES ('mail', 0, '{}', 'doing', %s)",
                [worker.id],
            )
        append(dsn, 1)
        await wait_until_async("it was run", lambda: got == [0])
