"""The circuit breaker: a processor that fails one time after the other is paused, and tried once in a while."""

import psycopg

import pgaudit
from pgaudit import Settings, health, processors, signals
from pgaudit.health import Status
from pgaudit.processors.backoff import Backoff
from tests.support.processors import JOBS, errors, stat
from tests.support.queries import value_in
from tests.support.streams import append
from tests.support.waiting import wait_until_async
from tests.support.worker import working

FETCH = """
    SELECT w.token, j.job_id, j.index FROM pgaudit.register_worker() w,
           LATERAL pgaudit.fetch_processor_jobs(w.token, '{mail}', '{}', 1) j
"""
FAIL = "SELECT pgaudit.fail_processor_job(%s, %s, true, 0, 'ValueError', NULL, 'poison', '')"
FAILED_ONCE = """
    INSERT INTO pgaudit.job_error (job_id, event_id, task_name, attempt, error_class, message)
    SELECT id, '', task_name, 1, 'ValueError', 'poison' FROM pgaudit.processor_jobs WHERE index < 2
"""
DUE = "UPDATE pgaudit.processor SET probe_at = '-infinity'; UPDATE pgaudit.processor_jobs SET scheduled_at = now()"


async def test_failing_jobs_pause_a_processor_until_one_succeeds(dsn: str, settings: Settings) -> None:
    """After five failures in a row nothing more is begun or dispatched; others go on. A trial ends it."""
    works: list[int] = []
    told: list[dict[str, object]] = []
    others: list[int] = []

    @pgaudit.processor(
        "mail", on="claim.*", start=0, break_after=5, retry=Backoff(attempts=2, delay=3_600, max_delay=3_600)
    )
    async def _mail(entry: pgaudit.ProcessorEntry) -> None:
        if not works:
            raise ConnectionError("the mail server is down")
        works.append(entry.index)

    def tell(_signal: str, **details: object) -> None:
        told.append(details)

    pgaudit.processor("other", on="claim.*", start=0)(lambda entry: others.append(entry.index))
    signals.stream_paused.connect(tell)
    append(dsn, 8)
    try:
        async with working(settings.model_copy(update={"processor_concurrency": 1})):
            await wait_until_async("it is paused", lambda: stat(dsn, "mail", "pause_kind") == "failing")
            append(dsn, 4)
            await wait_until_async("the other one has all", lambda: len(others) == 12)
            assert len(errors(dsn, "mail")) == 5
            assert stat(dsn, "mail", "lag_events") == 5  # with that of the pause
            with psycopg.connect(dsn, autocommit=True) as conn:
                check = next(check for check in health.check(conn).checks if check.name == "processors")
                conn.execute(DUE)
            assert check.status is Status.DEGRADED
            assert check.message == "mail fails, and is tried once a minute: `pgaudit processors show mail`."
            await wait_until_async("one was tried", lambda: len(errors(dsn, "mail")) == 6)
            assert value_in(dsn, "SELECT max(attempts) FROM pgaudit.processor_jobs") == 1  # the trial costs nothing
            works.append(-1)
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute(DUE)
            await wait_until_async("it has all", lambda: stat(dsn, "mail", "succeeded") == 12)
    finally:
        signals.stream_paused.disconnect(tell)
    assert len(works) == len(set(works)) == 13  # the sign that it works, and each of the events
    assert [(one["stream"], one["kind"]) for one in told] == [("mail", "failing")]
    assert told[0]["reason"] == "its attempts fail one after the other, the last one with ConnectionError"
    assert stat(dsn, "mail", "state") == "active"


async def test_failures_between_successes_pause_nothing(dsn: str, settings: Settings) -> None:
    """Every second event fails, so no two are in a row."""

    @pgaudit.processor("half", on="*", start=0, break_after=2, retry=1, concurrency=1)
    def _half(entry: pgaudit.ProcessorEntry) -> None:
        if entry.index % 2:
            raise ValueError("odd")

    append(dsn, 20)
    async with working(settings):
        await wait_until_async("half of them have failed", lambda: stat(dsn, "half", "failed") == 10)
    assert stat(dsn, "half", "state") == "active"


async def test_poison_events_that_are_tried_again_together_pause_nothing(dsn: str, settings: Settings) -> None:
    """Every second event fails, and its next attempts come after those of all others: the processor works."""

    @pgaudit.processor("half", on="*", start=0, break_after=5, retry=Backoff(attempts=3, delay=0.5), concurrency=1)
    def half(entry: pgaudit.ProcessorEntry) -> None:
        if entry.index % 2 == 0:
            raise ValueError("even")

    append(dsn, 40)
    async with working(settings):
        await wait_until_async("half of them have failed", lambda: stat(dsn, "half", "failed") == 20)
    assert (stat(dsn, "half", "state"), stat(dsn, "half", "succeeded")) == ("active", 20)
    assert len(errors(dsn, "half")) == 60
    assert half is not None


async def test_trials_take_an_event_that_has_not_failed_before_and_then_each_in_turn(
    dsn: str, settings: Settings
) -> None:
    """One that fails for ever would keep a processor paused that works again."""
    pgaudit.processor("mail", on="claim.*", start=0)(print)
    append(dsn, 3)
    with psycopg.connect(dsn, autocommit=True) as conn:
        async with working(settings.model_copy(update={"processor_concurrency": 0})):
            await wait_until_async("three have jobs", lambda: value_in(dsn, JOBS) == 3)
        conn.execute("SELECT pgaudit.pause_stream('mail', 'failing', 'test')")
        conn.execute(FAILED_ONCE)
        tried: list[int] = []
        for _ in range(4):
            conn.execute("UPDATE pgaudit.processor SET probe_at = '-infinity'")
            ((token, job, index),) = conn.execute(FETCH).fetchall()
            conn.execute(FAIL, [job, token])
            tried.append(index)
    assert tried == [2, 0, 1, 2]


async def test_a_pause_that_was_asked_for_stops_jobs_too(dsn: str, settings: Settings) -> None:
    """Nothing is begun, and nothing dispatched, until it is resumed."""
    got: list[int] = []
    pgaudit.processor("mail", on="claim.*", start=0)(lambda entry: got.append(entry.index))
    async with working(settings):
        await wait_until_async("it is known", lambda: stat(dsn, "mail", "name"))
        with psycopg.connect(dsn, autocommit=True) as conn:
            processors.pause(conn, "mail", "the provider moves")
            assert (stat(dsn, "mail", "pause_kind"), stat(dsn, "mail", "pause_reason")) == (
                "asked",
                "the provider moves",
            )
            append(dsn, 3)
            conn.execute("INSERT INTO pgaudit.processor_jobs (task_name, index, args) VALUES ('mail', 2, '{}')")
            assert conn.execute("SELECT name FROM pgaudit.due_processors('{mail}')").fetchall() == []
            assert conn.execute(FETCH).fetchall() == []
            assert got == []
            processors.resume(conn, "mail")
        await wait_until_async("it has all", lambda: set(got) == {1, 2, 3})  # the first is that of the pause
