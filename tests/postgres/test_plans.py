"""Plans: the hot queries walk an index and stop, however long the queue and however stale its statistics."""

import re
from typing import Any

import pytest

from tests.postgres.trail import Connection

QUERY = re.compile(r"SELECT (?:id|id, args) FROM procrastinate_jobs(?:(?!SELECT id).)*?SKIP LOCKED", re.DOTALL)
# What the functions' variables stand for.
VALUES = {"id INTO lead": "id", "batch_size": "1000", ">= first": ">= 1", "greatest(lead": "greatest(NULL"}
FRESH, DUE = "audit_jobs_pkey", "audit_jobs_unusual_idx"
CLAIM = ["Limit", "LockRows", "Merge Append", "Index Scan", "Index Scan"]  # of Procrastinate's table and its child
FILL = """
    INSERT INTO pgaudit.audit_jobs (queue_name, task_name, priority, scheduled_at, args)
    SELECT 'audit', 'pgaudit.persist', CASE WHEN n % 2 = 0 THEN 0 ELSE -1 END,
           CASE WHEN n % 2 = 0 THEN NULL ELSE now() + make_interval(secs => n - 10000) END,
           jsonb_build_object('event', jsonb_build_object('id', n, 'recorded_at', now()))
      FROM generate_series(1, 20000) n
"""


@pytest.fixture
def long_queue(conn: Connection) -> Connection:
    """Twenty thousand jobs, fresh ones and retries by turns, that nobody has analyzed."""
    conn.execute(FILL)
    statistics = "SELECT reltuples FROM pg_class WHERE oid = 'pgaudit.audit_jobs'::regclass"
    assert conn.execute(statistics).fetchone() in [(-1,), (0,)]
    return conn


def queries_of(conn: Connection, function: str) -> list[str]:
    """The queries of a function that claim jobs, as they are in the database."""
    query = "SELECT prosrc, proconfig FROM pg_proc WHERE oid = %s::regproc"
    source, settings = conn.execute(query, [f"pgaudit.{function}"]).fetchone() or ("", [])
    for setting in settings:
        conn.execute("SELECT set_config(%s, %s, true)", setting.split("=", 1))
    for variable, value in VALUES.items():
        source = source.replace(variable, value)
    found = QUERY.findall(source)
    assert found, f"no query in {function}"
    return found


def explained(conn: Connection, statement: str) -> dict[str, Any]:
    """The outermost node of the plan that the statement shows."""
    (plans,) = conn.execute(statement).fetchone() or (None,)
    assert isinstance(plans, list)
    plan: dict[str, Any] = plans[0]["Plan"]
    return plan


def plan_of(conn: Connection, query: str) -> list[dict[str, Any]]:
    """The nodes of the plan, the outermost first."""
    return list(nodes(explained(conn, f"EXPLAIN (FORMAT JSON) {query}")))


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A node and those below it."""
    return [plan, *(node for below in plan.get("Plans", []) for node in nodes(below))]


def claim_of(plan: list[dict[str, Any]]) -> list[str]:
    """The nodes of the claim, without those that look up where the scan begins."""
    return [
        node["Node Type"]
        for node in plan
        if node.get("Relation Name") != "queue_floor"
        and node.get("Parent Relationship") != "InitPlan"
        and "Subplan Name" not in node
    ]


def test_a_lead_is_found_by_index(long_queue: Connection) -> None:
    """A due retry by its time, a fresh job by its number: nothing is scanned, nothing sorted."""
    plans = [plan_of(long_queue, query) for query in queries_of(long_queue, "fetch_lead")]
    assert [claim_of(plan) for plan in plans] == [CLAIM] * 2
    assert [plan[-1]["Index Name"] for plan in plans] == [DUE, FRESH]
    assert [condition in plan[-1]["Index Cond"] for plan, condition in zip(plans, ("scheduled_at", "id"), strict=True)]


def test_followers_are_claimed_by_index(long_queue: Connection) -> None:
    """Fresh ones by number, be they large or not, retries by their time."""
    plans = [plan_of(long_queue, query) for query in queries_of(long_queue, "persist")]
    assert [claim_of(plan) for plan in plans] == [CLAIM] * 3
    assert [plan[-1]["Index Name"] for plan in plans] == [FRESH, FRESH, DUE]


def test_statistics_change_nothing(long_queue: Connection) -> None:
    """After ANALYZE the plans are the same."""
    long_queue.execute("ANALYZE pgaudit.audit_jobs")
    for function in ("fetch_lead", "persist"):
        for query in queries_of(long_queue, function):
            assert claim_of(plan_of(long_queue, query)) == CLAIM


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT FROM pgaudit.audit_log WHERE index > 5 ORDER BY index LIMIT 10", "index"),
        (
            "SELECT FROM pgaudit.audit_log WHERE target_type = 'claim' AND target_id = '7' ORDER BY occurred_at",
            "target",
        ),
        ("SELECT FROM pgaudit.audit_log WHERE actor_type = 'user' AND actor_id = '4' ORDER BY occurred_at", "actor"),
    ],
)
def test_the_log_is_read_by_index(conn: Connection, query: str, index: str) -> None:
    """By index, by target and time, by actor and time: every partition has the index for it."""
    conn.execute("SET enable_seqscan = off")
    conn.execute("SET enable_bitmapscan = off")
    scans = [node for node in plan_of(conn, query) if "Scan" in node["Node Type"]]
    assert len(scans) == 5
    for scan in scans:
        name = scan["Index Name"]
        definition = conn.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [name]).fetchone()
        assert definition is not None
        assert re.search(rf"\({index}(_type|\))", definition[0])
        assert scan["Index Cond"]


def test_a_fetch_reads_few_pages_of_a_long_queue(long_queue: Connection) -> None:
    """Ten thousand retries that wait stand neither before the fresh jobs nor before the due ones."""
    for query in queries_of(long_queue, "fetch_lead"):
        plan = explained(long_queue, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}")
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 20


def test_looking_behind_the_next_batch_locks_nothing_in_it(long_queue: Connection) -> None:
    """A second run's lead is the job behind those that the first will take; only that one is written to."""
    long_queue.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = 'infinity' WHERE scheduled_at IS NOT NULL")
    work = explained(long_queue, "EXPLAIN (ANALYZE, WAL, FORMAT JSON) SELECT pgaudit.fetch_lead(1, 1000)")
    assert work["WAL Records"] < 10
    query = """SELECT count(*) FROM pgaudit.audit_jobs WHERE status = 'todo' AND scheduled_at IS NULL
                  AND id < (SELECT id FROM pgaudit.audit_jobs WHERE status = 'doing')"""
    assert long_queue.execute(query).fetchone() == (1_000,)
