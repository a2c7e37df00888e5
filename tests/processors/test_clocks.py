"""Clocks that are set back by hours: no job, limit, pause or lost worker waits until that time comes again."""

from typing import Any

import psycopg
import pytest

import pgaudit
from pgaudit import Settings
from tests.support.processors import dispatch, stat
from tests.support.queries import value
from tests.support.streams import append
from tests.support.waiting import wait_until

AHEAD = """
    UPDATE pgaudit.processor SET next_at = now() + interval '5 hours', probe_at = now() + interval '5 hours';
    UPDATE pgaudit.processor_jobs SET scheduled_at = scheduled_at + interval '5 hours';
    UPDATE pgaudit.job_error SET failed_at = failed_at + interval '5 hours'
"""
# One that was tried, and is to be tried again after an hour.
TRIED = """
    UPDATE pgaudit.processor_jobs SET attempts = 1, scheduled_at = scheduled_at + interval '1 hour' WHERE index = 2;
    INSERT INTO pgaudit.job_error (job_id, task_name, attempt, error_class, message)
    SELECT id, 'mail', 1, 'ValueError', 'no' FROM pgaudit.processor_jobs WHERE index = 2
"""
FETCH = "SELECT index FROM pgaudit.fetch_processor_jobs(%s, '{mail}', '{}', 10)"
DUE_IN = "SELECT extract(epoch FROM scheduled_at - clock_timestamp()) FROM pgaudit.processor_jobs WHERE index = 2"
PROBE_IN = "SELECT extract(epoch FROM probe_at - clock_timestamp()) FROM pgaudit.processor"


def token_of(conn: psycopg.Connection[Any], stalled_after: str = "30 s") -> object:
    """Returns the token of a new worker."""
    return value(conn, "SELECT token FROM pgaudit.register_worker(%s)", [stalled_after])


@pytest.mark.parametrize("rate", [None, 1_000])
def test_jobs_of_a_time_that_comes_again_are_run(dsn: str, settings: Settings, rate: float | None) -> None:
    """As soon as a worker says again that it knows the processor; one that waits longer than that goes on waiting."""
    pgaudit.processor("mail", on="*", start=0, rate=rate)(print)
    append(dsn, 3)
    dispatch(settings)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TRIED)
        conn.execute(AHEAD)
        token = token_of(conn)
        assert conn.execute(FETCH, [token]).fetchall() == []
        dispatch(settings)
        assert 3_500 < value(conn, DUE_IN) < 3_700
        wait_until("they are due", lambda: stat(dsn, "mail", "waiting") == 2)
        assert sorted(conn.execute(FETCH, [token]).fetchall()) == [(0,), (1,)]


def test_a_processor_that_is_paused_as_failing_is_tried(dsn: str, settings: Settings) -> None:
    """Its next trial was noted for a time that comes again: it is a minute away, and not hours."""
    pgaudit.processor("mail", on="*", start=0)(print)
    append(dsn, 1)
    dispatch(settings)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT pgaudit.pause_stream('mail', 'failing', 'test')")
        conn.execute(AHEAD)
        dispatch(settings)
        wait_until("it is due", lambda: stat(dsn, "mail", "waiting") == 1)
        assert value(conn, PROBE_IN) <= 60


def test_the_jobs_of_a_lost_worker_are_reclaimed(dsn: str, settings: Settings) -> None:
    """Its last heartbeat lies ahead: it counts as one of the moment in which that is seen."""
    pgaudit.processor("mail", on="*", start=0)(print)
    append(dsn, 1)
    dispatch(settings)
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.execute(FETCH, [token_of(conn, "0.3 s")]).fetchall() == [(0,)]
        conn.execute("UPDATE pgaudit.procrastinate_workers SET last_heartbeat = now() + interval '5 hours'")
        reclaim = "SELECT job_id FROM pgaudit.reclaim_stalled_processor_jobs()"
        assert conn.execute(reclaim).fetchall() == []
        wait_until("it is reclaimed", lambda: conn.execute(reclaim).fetchall(), seconds=5)
