"""Dispatching: from the log to jobs, forwards and backwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

import pgaudit
from pgaudit import Settings, processors, streams
from pgaudit.errors import InvalidProcessor, StreamNotFound
from tests.support.processors import JOBS, column, dispatch, dispatcher, stat
from tests.support.queries import value_in
from tests.support.streams import append
from tests.support.waiting import wait_until_async
from tests.support.worker import working

INDEXES = "SELECT index FROM pgaudit.processor_jobs ORDER BY index"


@contextmanager
def autocommitting(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection in autocommit mode."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def declare(name: str = "mail", on: str = "*", start: int | None = 0) -> None:
    """Declares a processor whose function does nothing."""
    pgaudit.processor(name, on=on, start="now" if start is None else start)(print)


def test_two_dispatchers_give_an_event_one_job(dsn: str, settings: Settings) -> None:
    """Both have read the same chunk; the one that comes second does nothing."""
    declare()
    append(dsn, 3)
    dispatch(settings)
    with autocommitting(dsn) as conn:
        again = "SELECT pgaudit.dispatch_events('mail', 0, 3, '{0,1,2}', '{}', 2, '\\x00')"
        assert conn.execute(again).fetchone() == (False,)
    assert column(dsn, INDEXES) == [0, 1, 2]


def test_a_new_processor_begins_now_or_where_it_says(dsn: str, settings: Settings) -> None:
    """Only when a worker sees it for the first time: its position is kept from then on."""
    append(dsn, 3)
    declare("now", start=None)
    declare("from-two", start=2)
    dispatch(settings)
    append(dsn, 1)
    dispatch(settings)
    assert column(dsn, INDEXES + ", task_name") == [2, 3, 3]
    assert value_in(dsn, "SELECT min(index) FROM pgaudit.processor_jobs WHERE task_name = 'now'") == 3


def test_the_name_of_another_stream_is_refused(dsn: str, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A destination of that name stays what it is; the worker says so, and goes on with the others."""
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "mail", to="file:/tmp/never", start=0)
    declare("mail")
    declare("other")
    append(dsn, 1)
    dispatch(settings)
    assert "cannot register the processor mail" in caplog.text
    assert "there is a stream mail already, which is no processor" in caplog.text
    assert column(dsn, "SELECT task_name FROM pgaudit.processor_jobs") == ["other"]


def test_a_backfill_gives_events_of_the_past_and_moves_nothing(dsn: str, settings: Settings) -> None:
    """From one index to another, both included; in chunks, with its progress; the position stays."""
    declare(start=None)
    dispatch(settings)
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT pgaudit.rewind_stream('mail', 0)")
    append(dsn, 2_500)
    with autocommitting(dsn) as conn:
        conn.execute("UPDATE pgaudit.stream_position SET next_index = (SELECT size FROM pgaudit.log_head)")
        added = processors.backfill(conn, "mail", 100, 2_299)
        one = dispatcher(settings)
        assert one.dispatch_due(conn)
        (half,) = processors.backfills(conn, "mail")
        assert (half.id, half.from_index, half.to_index, half.next_index, half.jobs) == (
            added,
            100,
            2_299,
            1_100,
            1_000,
        )
        assert half.progress == pytest.approx(1_000 / 2_200)
        assert processors.get_processor(conn, "mail").backfill_events == 1_200
        while one.dispatch_due(conn):
            pass
        (done,) = processors.backfills(conn, "mail")
    assert (done.progress, done.jobs) == (1.0, 2_200)
    assert done.ended_at is not None
    assert column(dsn, INDEXES) == list(range(100, 2_300))
    assert stat(dsn, "mail", "next_index") == 2_501  # with that of the rewind


async def test_an_event_that_was_done_comes_again_when_a_backfill_asks_for_it(dsn: str, settings: Settings) -> None:
    """One whose job has failed, waits or runs gets no second one. The backfill itself is an event, too."""
    got: list[int] = []

    def handle(entry: pgaudit.ProcessorEntry) -> None:
        if entry.index == 1:
            raise ValueError("never")
        got.append(entry.index)

    pgaudit.processor("mail", on="*", start=0, retry=1)(handle)
    append(dsn, 3)
    async with working(settings):
        await wait_until_async("they have ended", lambda: got.count(2) == 1 and stat(dsn, "mail", "failed") == 1)
        with autocommitting(dsn) as conn:
            processors.backfill(conn, "mail", 0)
        await wait_until_async("two came again", lambda: sorted(got)[:4] == [0, 0, 2, 2])
        await wait_until_async("it has ended", lambda: stat(dsn, "mail", "backfill_events") == 0)
    assert column(dsn, INDEXES) == [1]
    assert stat(dsn, "mail", "failed") == 1


def test_a_backfill_lies_behind_the_position(dsn: str, settings: Settings) -> None:
    """What comes after it comes by itself."""
    declare()
    append(dsn, 3)
    dispatch(settings)
    with autocommitting(dsn) as conn:
        with pytest.raises(InvalidProcessor, match="the processor mail is at index 3, so it cannot be given 1 to 3"):
            processors.backfill(conn, "mail", 1, 3)
        with pytest.raises(InvalidProcessor, match="it cannot be given 3 to 2"):
            processors.backfill(conn, "mail", 3)
        with pytest.raises(InvalidProcessor, match="from 2 to 1 has no events: the first index comes first"):
            processors.backfill(conn, "mail", 2, 1)
        with pytest.raises(StreamNotFound, match="there is no processor nobody"):
            processors.backfill(conn, "nobody", 0)


def test_a_processor_gets_no_more_jobs_while_ten_thousand_wait(dsn: str, settings: Settings) -> None:
    """A long backfill does not fill the table with jobs; others are dispatched meanwhile."""
    declare("busy", on="claim.approved")
    dispatch(settings)
    with autocommitting(dsn) as conn:
        conn.execute(
            "INSERT INTO pgaudit.processor_jobs (task_name, index) SELECT 'busy', i FROM generate_series(1, 10000) i"
        )
    append(dsn, 1)
    declare("other")
    dispatch(settings)
    assert (stat(dsn, "busy", "lag_events"), stat(dsn, "other", "lag_events")) == (1, 0)
    with autocommitting(dsn) as conn:
        conn.execute("DELETE FROM pgaudit.processor_jobs WHERE index = 1")
    dispatch(settings)
    assert stat(dsn, "busy", "lag_events") == 0


def test_a_log_that_was_restored_from_an_older_backup_pauses_it(dsn: str, settings: Settings) -> None:
    """Its position is ahead of the log: it is named, and nothing is dispatched."""
    declare()
    dispatch(settings)
    append(dsn, 1)
    with autocommitting(dsn) as conn:
        conn.execute("UPDATE pgaudit.stream_position SET next_index = 7")
    dispatch(settings)
    assert stat(dsn, "mail", "pause_kind") == "mismatch"
    assert value_in(dsn, JOBS) == 0


def test_an_event_of_a_restored_log_is_not_taken_for_another(dsn: str, settings: Settings) -> None:
    """A job says which event it is for by its index alone, so the hash of the last one is compared."""
    declare()
    append(dsn, 2)
    dispatch(settings)
    with autocommitting(dsn) as conn:
        conn.execute("UPDATE pgaudit.stream_position SET last_hash = '\\x00'")
    append(dsn, 1)
    dispatch(settings)
    assert stat(dsn, "mail", "pause_kind") == "mismatch"


def test_a_processor_that_is_removed_leaves_nothing(dsn: str, settings: Settings) -> None:
    """Its jobs, its backfills and its position go with it."""
    declare()
    append(dsn, 1)
    dispatch(settings)
    with autocommitting(dsn) as conn:
        processors.remove(conn, "mail")
        assert processors.list_processors(conn) == []
        with pytest.raises(StreamNotFound):
            processors.remove(conn, "mail")
    assert value_in(dsn, JOBS) == 0
