"""Limits of a processor, which hold for all workers together."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

import pgaudit
from pgaudit import Settings
from tests.support.processes import kill
from tests.support.processors import JOBS, Modules, dispatch, start, stat
from tests.support.queries import value_in
from tests.support.streams import append
from tests.support.waiting import wait_until

TWO = """
@pgaudit.processor("two", on="*", concurrency=2, start="beginning")
async def two(entry):
    note(entry, "begins")
    await asyncio.sleep(0.05)
    note(entry, "ends")
"""
TEN = """
@pgaudit.processor("ten", on="*", rate=10, start="beginning")
async def ten(entry):
    note(entry, str(time.time()))
"""
QUICK = {"PGAUDIT_POLL_INTERVAL": "0.02"}
FETCH = "SELECT job_id FROM pgaudit.fetch_processor_jobs(%s, '{one,two}', '{}', 4)"
SUCCEED = "SELECT pgaudit.succeed_processor_jobs(%s, %s)"


def test_no_more_run_at_a_time_than_its_concurrency(dsn: str, modules: Modules) -> None:
    """Three workers run two at most, and at times two."""
    append(dsn, 40)
    workers = [start(dsn, modules.write("two", TWO) | QUICK) for _ in range(3)]
    try:
        wait_until("all are done", lambda: stat(dsn, "two", "succeeded") == 40)
    finally:
        for worker in workers:
            kill(worker)
    running, most = 0, 0
    for note in modules.notes:
        running += 1 if note.what == "begins" else -1
        most = max(most, running)
    assert most == 2
    assert len({note.pid for note in modules.notes}) > 1


def test_no_more_begin_in_a_second_than_its_rate(dsn: str, modules: Modules) -> None:
    """Two workers begin ten in a second at most, after a burst of what a second without any has saved."""
    append(dsn, 45)
    workers = [start(dsn, modules.write("ten", TEN) | QUICK) for _ in range(2)]
    try:
        wait_until("all are done", lambda: stat(dsn, "ten", "succeeded") == 45 and value_in(dsn, JOBS) == 0)
    finally:
        for worker in workers:
            kill(worker)
    times = sorted(float(note.what) for note in modules.notes)
    assert times[-1] - times[0] > 3.2  # ten at once, and 35 at 10 per second; less would be faster than the rate
    assert time.time() - times[0] < 60


def test_workers_that_share_two_limited_processors_have_no_deadlock(dsn: str, settings: Settings) -> None:
    """Both lock the rows of the processors in the same order, when they take jobs and when they count them."""
    for name in ("one", "two"):
        pgaudit.processor(name, on="*", start=0, concurrency=50)(print)
    append(dsn, 800)
    dispatch(settings)
    assert value_in(dsn, JOBS) == 1_600
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(work_off, dsn) for _ in range(4)]:
            done.result()
    assert value_in(dsn, JOBS) == 0


def work_off(dsn: str) -> None:
    """Takes jobs and reports that they have succeeded until there is none, as a worker does."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        ((token,),) = conn.execute("SELECT token FROM pgaudit.register_worker()").fetchall()
        while jobs := [job for (job,) in conn.execute(FETCH, [token])]:
            conn.execute(SUCCEED, [jobs, token])
