"""What a worker reads to take a job: it does not depend on how many have failed, or wait for their next attempt."""

import json
from typing import Any

import psycopg

JOBS = """
    INSERT INTO pgaudit.processor_jobs (task_name, index, args, status, scheduled_at)
    SELECT 'mail', i, '{}',
           %s::text::pgaudit.procrastinate_job_status, now() + %s::interval FROM generate_series(%s::int, %s::int) i
"""
FETCH = "SELECT job_id FROM pgaudit.fetch_processor_jobs(%s, '{mail,other}', '{}', 1)"


def blocks(conn: psycopg.Connection[Any], query: str, token: object) -> int:
    """Returns how many blocks a statement has touched."""
    ((plan,),) = conn.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + query, [token]).fetchall()
    found = plan if isinstance(plan, list) else json.loads(plan)
    return int(found[0]["Plan"]["Shared Hit Blocks"]) + int(found[0]["Plan"]["Shared Read Blocks"])


def test_ten_thousand_failed_jobs_do_not_slow_the_rest(conn: psycopg.Connection[Any]) -> None:
    """Taking a job touches as few blocks with them, and with as many that wait for their next attempt, as without."""
    for name in ("mail", "other"):
        conn.execute("SELECT pgaudit.register_processor(%s, '', 0, NULL, NULL, NULL)", [name])
    (token,) = conn.execute("SELECT token FROM pgaudit.register_worker()").fetchone() or (None,)
    conn.execute(JOBS, ["todo", "-1 s", 1, 20])
    blocks(conn, FETCH, token)  # fills the session's caches
    few = blocks(conn, FETCH, token)
    conn.execute(JOBS, ["failed", "-1 day", 1_001, 11_000])
    conn.execute(JOBS, ["todo", "1 day", 20_001, 30_000])
    conn.execute("UPDATE pgaudit.processor_jobs SET status = 'doing' WHERE index = 20")
    assert blocks(conn, FETCH, token) <= few + 40
    conn.execute("DELETE FROM pgaudit.processor_jobs WHERE index <= 20")
    assert blocks(conn, FETCH, token) <= few + 40  # and none is due
    assert conn.execute("SELECT failed, delayed FROM pgaudit.processor_stats WHERE name = 'mail'").fetchone() == (
        10_000,
        10_000,
    )
