"""The history of batches: what merging keeps, and how a time range leads to the events recorded in it."""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pgaudit.web import scrape
from tests.support.audit_log import assert_dense
from tests.support.jobs import insert_poison, queue_events
from tests.support.queries import LOG_SIZE, Connection, rows_and_commit, value_and_commit

START = datetime(2026, 3, 1, tzinfo=UTC)
# Jobs with given times, as the owner can insert them: complete events with a correct hash.
QUEUE = """
    INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
    SELECT event, pgaudit.leaf_hash(event), octet_length(event::text)
      FROM unnest(%s::timestamptz[]) recorded_at,
           LATERAL (SELECT to_jsonb(recorded_at AT TIME ZONE 'UTC') #>> '{}' || 'Z' AS instant) said,
           LATERAL jsonb_build_object('id', gen_random_uuid(), 'action', 'claim.approved', 'outcome', 'success',
                                      'occurred_at', instant, 'recorded_at', instant, 'recorded_by', 'postgres',
                                      'xid', '1', 'schema_version', 1) event
"""
PERSIST = "SELECT taken, cardinality(failures) FROM pgaudit.persist(NULL, NULL, 10000)"
BATCHES = "SELECT first_index, count, batches, persisted_at FROM pgaudit.batch ORDER BY first_index"
MERGE = "SELECT pgaudit.prune_batches(%s, %s)"
THROUGHPUT = "SELECT * FROM pgaudit.throughput ORDER BY minute"
LIMITS = "SELECT count(*), sum(count)::bigint, sum(batches)::bigint, min(first_index) FROM pgaudit.batch"


@pytest.fixture
def datable(conn: Connection) -> Connection:
    """A connection to a database whose owner has allowed batches to be dated back."""
    conn.execute("ALTER TABLE pgaudit.batch DISABLE TRIGGER reject_direct_write")
    conn.commit()
    return conn


def append(conn: Connection, recorded: list[datetime]) -> None:
    """Appends events that were recorded at these times, as one batch."""
    conn.execute(QUEUE, [recorded])
    assert conn.execute(PERSIST).fetchone() == (len(recorded), 0)


def date_back(conn: Connection, first_index: int, age: timedelta) -> None:
    """Makes a batch that old."""
    conn.execute(
        "UPDATE pgaudit.batch SET persisted_at = clock_timestamp() - %s WHERE first_index = %s", [age, first_index]
    )


def append_aged_and_commit(dsn: str, conn: Connection, ages: list[timedelta]) -> None:
    """Appends a batch of two events for each age, the oldest first, and commits."""
    for number, age in enumerate(ages):
        queue_events(dsn, 2)
        assert conn.execute(PERSIST).fetchone() == (2, 0)
        date_back(conn, number * 2, age)
    conn.commit()


def two_days_and(*seconds: int) -> list[timedelta]:
    """Returns ages of moments that many seconds into a minute that began two days ago."""
    now = datetime.now(UTC)
    minute = now.replace(second=0, microsecond=0) - timedelta(days=2)
    return [now - (minute + timedelta(seconds=second)) for second in seconds]


def test_batches_are_merged_by_the_minute(dsn: str, datable: Connection) -> None:
    """Batches of one minute become one row, which covers the same indexes and counts them."""
    append_aged_and_commit(dsn, datable, [*two_days_and(1, 15, 30, 61, 75, 190), timedelta(0)])
    assert value_and_commit(datable, MERGE, ["1 day", 20_000]) == 3
    assert [row[:3] for row in rows_and_commit(datable, BATCHES)] == [(0, 6, 3), (6, 4, 2), (10, 2, 1), (12, 2, 1)]
    assert_dense(datable)
    assert value_and_commit(datable, LOG_SIZE) == 14
    assert value_and_commit(datable, MERGE, ["1 day", 20_000]) == 0


def test_a_merged_row_has_the_extremes_of_its_batches(dsn: str, datable: Connection) -> None:
    """A merged row is as old as its oldest event and as new as its newest; it was persisted with its last batch."""
    append_aged_and_commit(dsn, datable, [*two_days_and(1, 15, 30), timedelta(0)])
    extremes = """SELECT min(oldest_recorded), max(newest_recorded), max(recorded_until), max(persisted_at)
                    FROM pgaudit.batch WHERE first_index < 6"""
    before = rows_and_commit(datable, extremes)
    assert value_and_commit(datable, MERGE, ["1 day", 20_000]) == 2
    assert rows_and_commit(datable, extremes) == before
    merged = "SELECT worker_id, lag_buckets, lag_total FROM pgaudit.batch WHERE first_index = 0"
    assert rows_and_commit(datable, merged) == [(None, None, None)]


def test_the_last_row_stays_as_it_is(dsn: str, datable: Connection) -> None:
    """The row that marks the end of the log is never merged, and merging does not change the lag of the log."""
    append_aged_and_commit(dsn, datable, two_days_and(1, 2, 3, 4))
    last = "SELECT to_jsonb(b) FROM pgaudit.batch b ORDER BY first_index DESC LIMIT 1"
    row, size = value_and_commit(datable, last), value_and_commit(datable, LOG_SIZE)
    lag = rows_and_commit(datable, scrape.LAG)
    assert value_and_commit(datable, MERGE, ["1 day", 20_000]) == 2
    assert [row[:3] for row in rows_and_commit(datable, BATCHES)] == [(0, 6, 3), (6, 2, 1)]
    assert value_and_commit(datable, last) == row
    assert value_and_commit(datable, LOG_SIZE) == size
    assert rows_and_commit(datable, scrape.LAG) == lag
    queue_events(dsn)
    assert datable.execute(PERSIST).fetchone() == (1, 0)
    assert_dense(datable)


@pytest.mark.parametrize("older_than", ["0 s", "1 hour", "1 day"])
def test_a_day_of_throughput_does_not_change(dsn: str, datable: Connection, older_than: str) -> None:
    """Batches of the last 24 hours are not merged, whatever age is asked for."""
    recent = [timedelta(hours=23, minutes=59), timedelta(hours=12), timedelta(minutes=1), timedelta(seconds=20)]
    append_aged_and_commit(dsn, datable, [*two_days_and(1, 2, 3), *recent])
    before = rows_and_commit(datable, THROUGHPUT)
    assert sum(minute[1] for minute in before) == 8
    assert value_and_commit(datable, MERGE, [older_than, 20_000]) == 2
    assert rows_and_commit(datable, THROUGHPUT) == before


def test_merging_goes_step_by_step(dsn: str, datable: Connection) -> None:
    """A call reads at most max_rows batches; later calls merge the rest, and the totals stay the same."""
    append_aged_and_commit(dsn, datable, [*two_days_and(*range(0, 240, 20)), timedelta(0)])
    before = rows_and_commit(datable, LIMITS)
    steps = [value_and_commit(datable, MERGE, ["1 day", 4]) for _ in range(5)]
    ((left, *totals),) = rows_and_commit(datable, LIMITS)
    assert steps[-1] == 0
    assert before[0][0] - sum(steps) == left
    assert before[0][1:] == tuple(totals)
    assert_dense(datable)


def test_a_gap_in_the_history_is_not_bridged(dsn: str, datable: Connection) -> None:
    """Only neighbours are merged: a row covers no index that its batches did not cover."""
    append_aged_and_commit(dsn, datable, [*two_days_and(1, 2, 90, 3, 4), timedelta(0)])
    assert value_and_commit(datable, MERGE, ["1 day", 20_000]) == 2
    assert [row[:3] for row in rows_and_commit(datable, BATCHES)] == [(0, 4, 2), (4, 2, 1), (6, 4, 2), (10, 2, 1)]
    assert_dense(datable)


def test_errors_of_jobs_in_the_queue_are_kept(conn: Connection) -> None:
    """Old errors go when their job has left the queue; those of jobs that are still in it stay, as recent ones do."""
    waiting = insert_poison(conn)
    gone = waiting + 1_000
    ages = [(waiting, 200), (gone, 91), (gone, 200), (gone, 89), (gone + 1, 120)]
    conn.cursor().executemany(
        """INSERT INTO pgaudit.job_error (job_id, task_name, attempt, error_class, message, failed_at)
           VALUES (%s, 'pgaudit.persist', 1, 'E', 'm', clock_timestamp() - make_interval(days => %s))""",
        ages,
    )
    assert value_and_commit(conn, "SELECT pgaudit.prune_job_errors(2)") == 2
    left = (
        "SELECT job_id, date_part('day', clock_timestamp() - failed_at)::integer FROM pgaudit.job_error ORDER BY 1, 2"
    )
    assert rows_and_commit(conn, left) == [(waiting, 200), (gone, 89), (gone, 91)]
    assert value_and_commit(conn, "SELECT pgaudit.prune_job_errors()") == 1
    assert rows_and_commit(conn, left) == [(waiting, 200), (gone, 89)]
    conn.execute("UPDATE pgaudit.settings SET job_error_retention = '30 days'")
    assert value_and_commit(conn, "SELECT pgaudit.prune_job_errors()") == 1
    assert rows_and_commit(conn, left) == [(waiting, 200)]


@dataclass(frozen=True)
class History:
    """Batches as lists of minutes at which their events were recorded, and the minute at which each was persisted."""

    recorded: list[list[int]]
    persisted: list[int]


minutes = st.integers(0, 400)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Returns histories in any order of recording: with backlogs, late events and clocks that were set back."""
    recorded = draw(st.lists(st.lists(minutes, min_size=1, max_size=4), min_size=1, max_size=10))
    persisted = draw(st.lists(st.integers(0, 3), min_size=len(recorded), max_size=len(recorded)))
    return History(recorded, sorted(persisted))


@pytest.fixture(scope="module")
def of_module(server: Any) -> Generator[Connection]:
    """A connection to a database of this module, in which each example is rolled back."""
    from pgaudit.testing.copies import fresh_database  # noqa: PLC0415 - loads SQLAlchemy

    with fresh_database(server) as database, psycopg.connect(database.dsn) as conn:
        conn.execute("ALTER TABLE pgaudit.batch DISABLE TRIGGER reject_direct_write")
        conn.commit()
        yield conn


def at(minute: int) -> datetime:
    """Returns that minute of the history."""
    return START + timedelta(minutes=minute)


def indexes_in(conn: Connection, since: datetime, until: datetime) -> list[int]:
    """Returns the indexes in the ranges of index_ranges; fails unless the ranges are ordered and do not overlap."""
    ranges = conn.execute("SELECT first_index, end_index FROM pgaudit.index_ranges(%s, %s)", [since, until]).fetchall()
    (size,) = conn.execute(LOG_SIZE).fetchone() or (0,)
    assert all(0 <= first < end <= size for first, end in ranges)
    assert all(one[1] <= other[0] for one, other in pairwise(ranges))
    return [index for first, end in ranges for index in range(first, end)]


def assert_complete(conn: Connection, since: datetime, until: datetime) -> None:
    """Fails unless the ranges hold every event that was recorded in the window."""
    query = "SELECT index FROM pgaudit.audit_log WHERE recorded_at >= %s AND recorded_at < %s"
    expected = {index for (index,) in conn.execute(query, [since, until]).fetchall()}
    assert expected <= set(indexes_in(conn, since, until))


@example(History([[0], [120]], [0, 0]), 0, 1)  # a backlog of two hours, appended within a minute
@example(History([[100], [200, 5], [201]], [0, 1, 1]), 0, 10)  # an event that is late by hours
@example(History([[60], [0], [59]], [0, 1, 2]), 0, 60)
@given(histories(), minutes, st.integers(0, 400))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_index_ranges_hold_all_events_of_a_window(
    of_module: Connection, history: History, since: int, length: int
) -> None:
    """Every event recorded in a window is in its ranges, however late it was appended, before and after merging."""
    conn, window = of_module, (at(since), at(since + length))
    try:
        first_index = 0
        for recorded, minute in zip(history.recorded, history.persisted, strict=True):
            append(conn, [at(each) for each in recorded])
            date_back(conn, first_index, timedelta(days=2) - timedelta(minutes=minute))
            first_index += len(recorded)
        append(conn, [at(1_000)])  # the last batch is never merged
        assert_complete(conn, *window)
        (merged,) = conn.execute(MERGE, ["1 day", 20_000]).fetchone() or (0,)
        (left,) = conn.execute("SELECT count(*) FROM pgaudit.batch").fetchone() or (0,)
        assert merged + left == len(history.recorded) + 1
        assert_complete(conn, *window)
    finally:
        conn.rollback()


def test_index_ranges_name_few_other_events(conn: Connection) -> None:
    """The ranges of an hour have the batches of that hour and the next one, and those with late events."""
    for hour in range(24):
        append(conn, [at(60 * hour + minute) for minute in range(0, 60, 5)])
    append(conn, [at(130), at(24 * 60)])
    hours = {index // 12 for index in indexes_in(conn, at(120), at(180))}
    assert hours == {2, 3, 24}
    assert indexes_in(conn, at(-60), at(-30)) == []
    assert indexes_in(conn, at(60 * 24 + 1), at(60 * 30)) == []


def test_index_ranges_of_an_empty_log_are_none(conn: Connection) -> None:
    """A log without events has no ranges."""
    assert indexes_in(conn, at(0), at(1_000)) == []
