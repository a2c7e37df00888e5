"""Workers that do not know the same processors, as during a rolling deploy."""

import psycopg

import pgaudit
from pgaudit import Settings, health
from pgaudit.health import Status
from tests.support.processes import kill
from tests.support.processors import JOBS, Modules, errors, no_others, start, stat
from tests.support.queries import LOG_SIZE, value_in
from tests.support.streams import append
from tests.support.waiting import wait_until, wait_until_async
from tests.support.worker import working

OLD = """
@pgaudit.processor("old", on="*", start="beginning")
def old(entry):
    note(entry, "old")
"""
NEW = """
@pgaudit.processor("new", on="*", start="beginning")
async def new(entry):
    note(entry, "new")
"""


async def test_the_jobs_of_an_unknown_processor_wait(dsn: str, settings: Settings) -> None:
    """A worker without its code neither dispatches nor fails them; one that has it does them."""
    got: list[int] = []
    with no_others():
        pgaudit.processor("mail", on="*", start=0)(lambda entry: got.append(entry.index))
        append(dsn, 2)
        async with working(settings.model_copy(update={"processor_concurrency": 0})):
            await wait_until_async("two jobs are there", lambda: value_in(dsn, JOBS) == 2)
    pgaudit.processor("other", on="*", start=0)(lambda entry: got.append(entry.index))
    async with working(settings):
        append(dsn, 1)
        await wait_until_async("the other one has three", lambda: sorted(got) == [0, 1, 2])
    assert value_in(dsn, JOBS) == 2
    assert (stat(dsn, "mail", "waiting"), stat(dsn, "mail", "lag_events")) == (2, 1)
    assert errors(dsn, "mail") == []
    pgaudit.processor("mail", on="*", start=0)(lambda entry: got.append(-entry.index))
    async with working(settings):
        await wait_until_async("they are done", lambda: sorted(got) == [-2, -1, 0, 0, 1, 2])


def test_old_and_new_workers_side_by_side(dsn: str, modules: Modules) -> None:
    """Each does what it knows, and all of it."""
    workers = [
        start(dsn, modules.write("first", OLD)),
        start(dsn, modules.write("second", OLD + NEW)),
    ]
    try:
        append(dsn, 30)
        wait_until("both have all", lambda: len(modules.notes) == 60)
        wait_until("no job is left", lambda: value_in(dsn, JOBS) == 0)
    finally:
        for worker in workers:
            kill(worker)
    assert sorted(note.index for note in modules.notes if note.what == "new") == list(range(30))
    assert {note.pid for note in modules.notes if note.what == "new"} == {workers[1].pid}


def test_health_names_a_processor_that_no_worker_knows(dsn: str, conn: psycopg.Connection) -> None:
    """It is late, and was not known for minutes; one that is paused on purpose is not late."""
    conn.execute("SELECT pgaudit.register_processor('mail', '', 0, NULL, NULL, NULL)")
    conn.commit()
    append(dsn, 1)
    assert value_in(dsn, LOG_SIZE) == 1
    settings = Settings(dsn=dsn, health_max_processor_lag=1e-6)
    conn.execute("UPDATE pgaudit.processor SET known_at = known_at - interval '10 min'")
    check = next(check for check in health.check(conn, settings).checks if check.name == "processors")
    assert check.status is Status.DEGRADED
    assert check.message == "mail is 0 s late, and no worker knows it."
    conn.execute("SELECT pgaudit.pause_stream('mail')")
    check = next(check for check in health.check(conn, settings).checks if check.name == "processors")
    assert (check.status, check.message) == (Status.HEALTHY, "1 processor(s) keep up.")
