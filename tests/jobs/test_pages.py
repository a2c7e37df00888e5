"""Pages of jobs: what is on them, that they end early in a large queue, and running jobs again in batches."""

import json
import re
from typing import LiteralString

import psycopg
import pytest

from pgaudit.jobs import page_queries
from pgaudit.jobs import pages as job_pages
from pgaudit.jobs.pages import Filter, Place, State
from tests.support.jobs import fetch_and_commit, insert_poison, queue_events, register_and_commit
from tests.support.queries import Connection, value

NORTH = Filter(tenants=frozenset({"north"}))
FAIL = "UPDATE pgaudit.audit_jobs SET status = 'failed', attempts = 3"
MANY = """
    INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes, status, attempts)
    SELECT jsonb_build_object('action', 'claim.paid', 'tenant', 'north'), '\\x00', 50, 'failed', 3
      FROM generate_series(1, 100000)
"""
NOTE = """
    INSERT INTO pgaudit.job_error (job_id, task_name, attempt, error_class, message)
    VALUES (%s, 'pgaudit.persist', 1, %s, %s)
"""


def add_failed(conn: Connection, count: int, **event: object) -> list[int]:
    """Adds failed jobs with that event; returns their numbers."""
    ids = [insert_poison(conn, json.dumps(event)) for _ in range(count)]
    conn.execute(FAIL + " WHERE id = ANY (%s)", [ids])
    return ids


def numbers(page: job_pages.JobPage) -> list[int]:
    """Returns the numbers of the jobs of a page."""
    return [job.job_id for job in page.jobs]


def test_pages_have_every_job_once(conn: psycopg.Connection) -> None:
    """A page begins behind the last job of the one before; the last one has no next."""
    failed = add_failed(conn, 7, action="claim.paid")
    seen, after = [], job_pages.START
    for _ in range(3):
        page = job_pages.list_page(conn, "failed", after=after, limit=3)
        seen.append(numbers(page))
        after = page.next or after
    assert seen == [failed[:3], failed[3:6], failed[6:]]
    assert page.next is None


def test_delayed_jobs_are_in_the_order_in_which_they_run(conn: psycopg.Connection) -> None:
    """The next one to run is the first, and no job is left out where pages meet."""
    ids = [insert_poison(conn) for _ in range(5)]
    for minutes, job in enumerate(reversed(ids)):
        later = "UPDATE pgaudit.audit_jobs SET scheduled_at = now() + %s * interval '1 minute' WHERE id = %s"
        conn.execute(later, [minutes + 1, job])
    first = job_pages.list_page(conn, "delayed", limit=2)
    assert first.next is not None
    second = job_pages.list_page(conn, "delayed", after=first.next, limit=9)
    assert numbers(first) + numbers(second) == ids[::-1]
    assert {job.state for job in first.jobs} == {"delayed"}


def test_a_job_has_its_state_and_its_last_error(dsn: str, conn: psycopg.Connection) -> None:
    """A stalled job is active as well, and says for how long its worker has been silent."""
    queue_events(dsn, 2)
    _, token = register_and_commit(conn, stalled_after="0 s")
    job = fetch_and_commit(conn, token)
    for message in ("first", "last"):
        conn.execute(NOTE, [job, "DatabaseError", message])
    for state in ("active", "stalled"):
        (stalled,) = job_pages.list_page(conn, state).jobs
        assert (stalled.job_id, stalled.state, stalled.message) == (job, "active", "last")
        assert stalled.silent_seconds is not None
        assert stalled.silent_seconds >= 0
    (waiting,) = job_pages.list_page(conn, "waiting").jobs
    assert (waiting.state, waiting.message, waiting.silent_seconds) == ("waiting", None, None)


def test_the_worker_of_a_stalled_job_may_be_gone(dsn: str, conn: psycopg.Connection) -> None:
    """A removed worker has been silent for ever."""
    queue_events(dsn)
    _, token = register_and_commit(conn)
    assert fetch_and_commit(conn, token)
    assert job_pages.list_page(conn, "stalled").jobs == []
    conn.execute("SELECT pgaudit.unregister_worker(%s)", [token])
    (stalled,) = job_pages.list_page(conn, "stalled").jobs
    assert stalled.silent_seconds == float("inf")


def test_a_look_leaves_the_settings_of_the_connection(conn: psycopg.Connection) -> None:
    """The planner is told about the queue for the length of a look."""
    job_pages.list_page(conn, "failed")
    assert value(conn, "SHOW enable_sort") == "on"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), {0, 1, 2, 3}),
        (Filter(action="claim.paid"), {0}),
        (Filter(action="claim.*"), {0, 1}),
        (Filter(action="claim.%"), set()),
        (Filter(error_class="CheckViolation"), {1}),
        (NORTH, {0}),
        (Filter(tenants=frozenset()), set()),
        (Filter(tenants=frozenset({"north", "south"}), action="policy.*"), {2}),
    ],
)
def test_a_filter_selects_jobs(conn: psycopg.Connection, wanted: Filter, found: set[int]) -> None:
    """A job without a tenant belongs to no tenant, and one whose event is no object matches nothing."""
    ids = [
        *add_failed(conn, 1, action="claim.paid", tenant="north"),
        *add_failed(conn, 1, action="claim.closed"),
        *add_failed(conn, 1, action="policy.issued", tenant="south"),
        insert_poison(conn, '["tenant", "north"]'),
    ]
    conn.execute(FAIL)
    conn.execute(NOTE, [ids[1], "DatabaseError", "an earlier one"])
    conn.execute(NOTE, [ids[1], "CheckViolation", "the last one"])
    expected = [ids[number] for number in sorted(found)]
    assert numbers(job_pages.list_page(conn, "failed", wanted)) == expected
    assert job_pages.count(conn, "failed", wanted) == job_pages.Count(len(expected), exact=True)
    assert [job for job in ids if job_pages.find(conn, job, wanted)] == expected
    assert job_pages.retry_named(conn, ids, wanted) == expected


def test_only_failed_jobs_are_retried(conn: psycopg.Connection) -> None:
    """A job that waits already is not named among those that were retried."""
    (failed,), waiting = add_failed(conn, 1, action="claim.paid"), insert_poison(conn)
    assert job_pages.retry_named(conn, [failed, waiting, 12_345]) == [failed]
    assert job_pages.retry_named(conn, [failed]) == []


def test_batches_retry_all_that_match(conn: psycopg.Connection) -> None:
    """Each batch goes on behind the one before, so that jobs that fail again at once are not retried for ever."""
    mine, others = add_failed(conn, 5, tenant="north"), add_failed(conn, 2, tenant="south")
    first = job_pages.retry_batch(conn, NORTH, limit=3)
    assert first.next == Place(mine[2])
    conn.execute(FAIL + " WHERE id = %s", [mine[0]])
    second = job_pages.retry_batch(conn, NORTH, first.next, limit=3)
    assert (first.job_ids + second.job_ids, second.next) == (mine, None)
    assert numbers(job_pages.list_page(conn, "failed")) == [mine[0], *others]


def test_numbers_are_bounded(conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count ends at its limit, and says so; it says so as well when it has not looked at all jobs."""
    add_failed(conn, 5, tenant="south")
    mine = add_failed(conn, 2, tenant="north")
    assert job_pages.count(conn, "failed", most=3) == job_pages.Count(3, exact=False)
    assert job_pages.count(conn, "failed", NORTH) == job_pages.Count(2, exact=True)
    monkeypatch.setattr(page_queries, "LOOK", 6)
    assert job_pages.count(conn, "failed", NORTH) == job_pages.Count(1, exact=False)
    page = job_pages.list_page(conn, "failed", NORTH)
    assert (numbers(page), page.next) == (mine[:1], Place(mine[0]))
    assert page.next is not None
    assert numbers(job_pages.list_page(conn, "failed", NORTH, page.next)) == mine[1:]


def plan_of(conn: Connection, query: LiteralString, wanted: Filter, after: Place) -> str:
    """Returns how Postgres runs a query of a page, and what it has read."""
    given = wanted.parameters() | after.parameters() | {"limit": 51}
    with job_pages.planned(conn):
        lines = conn.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF) " + query, given).fetchall()
    return "\n".join(line for (line,) in lines)


@pytest.mark.parametrize("wanted", [Filter(), NORTH, Filter(action="nothing.*"), Filter(error_class="x")])
@pytest.mark.parametrize("analyzed", [False, True])
def test_a_page_of_a_hundred_thousand_failed_jobs_is_found_by_an_index(
    conn: psycopg.Connection, wanted: Filter, *, analyzed: bool
) -> None:
    """A page reads what is on it, or 10,000 jobs if a filter excludes all: no scan of the table, no sort."""
    conn.execute(MANY)
    if analyzed:
        conn.execute("ANALYZE pgaudit.audit_jobs")
    middle = Place(value(conn, "SELECT max(id) FROM pgaudit.audit_jobs") - 50_000)
    for query in (page_queries.page("failed"), page_queries.count("failed"), page_queries.last_looked_at("failed")):
        plan = plan_of(conn, query, wanted, middle)
        assert "Index Scan using audit_jobs_failed_idx" in plan.replace("Only ", ""), plan
        assert "Seq Scan" not in plan, plan
        assert "Sort" not in plan, plan
        assert not re.search(r"rows=[2-9]\d{4}", plan), plan


@pytest.mark.parametrize("state", ["waiting", "active", "delayed", "stalled"])
def test_a_page_of_a_hundred_thousand_jobs_sorts_no_more_than_what_is_on_it(
    conn: psycopg.Connection, state: State
) -> None:
    """The lists of other states stay fast behind as many jobs that wait, or wait for a retry."""
    conn.execute(MANY)
    delayed = (
        "UPDATE pgaudit.audit_jobs SET status = 'todo', scheduled_at = now() + id * interval '1 ms' WHERE id > 50000"
    )
    conn.execute(delayed)
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'todo' WHERE id BETWEEN 100 AND 50000")
    plan = plan_of(conn, page_queries.page(state), NORTH, job_pages.START)
    assert "Seq Scan on audit_jobs" not in plan, plan
    assert not re.search(r"rows=[1-9]\d{3}", plan), plan


def test_a_batch_is_retried_by_an_index(conn: psycopg.Connection) -> None:
    """Retrying some jobs reads these jobs, however many others have failed."""
    conn.execute(MANY)
    conn.execute("ANALYZE pgaudit.audit_jobs")
    before = "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname = 'audit_jobs'"
    reads = "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'audit_jobs'"
    scanned, fetched = value(conn, before), value(conn, reads)
    assert len(job_pages.retry_batch(conn, limit=100).job_ids) == 100
    assert value(conn, before) == scanned
    assert value(conn, reads) - fetched < 1_000
