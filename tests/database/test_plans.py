"""Plans: the frequent queries use an index, however long the queue and however old its statistics."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from pgaudit import stats
from pgaudit.health.observation import OBSERVE
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit, register
from tests.support.queries import Connection

# A query in the source of a function, from its SELECT to its end.
QUERY = re.compile(r"\b(?:SELECT|PERFORM)\b(?:[^;()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*")
# Values in place of the functions' variables.
VALUES = {
    "first": "1",
    "skip": "1000",
    "max_jobs": "1000",
    "tail": "500",
    "log_size": "600",
    "candidates": "ARRAY[300, 301]",
    "events": "'{}'::jsonb[]",
}
FRESH, DUE = "audit_jobs_pkey", "audit_jobs_not_fresh_idx"
LOCKING = ["Limit", "LockRows", "Index Scan"]
FILL = """
    INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes, scheduled_at)
    SELECT jsonb_build_object('id', n, 'recorded_at', now()), '', 100,
           CASE WHEN n % 2 = 1 THEN now() + make_interval(secs => n - 10000) END
      FROM generate_series(1, 20000) n
"""


@pytest.fixture
def long_queue(conn: Connection) -> Connection:
    """Twenty thousand jobs, fresh ones and retries by turns, without statistics."""
    conn.execute(FILL)
    statistics = "SELECT reltuples FROM pg_class WHERE oid = 'pgaudit.audit_jobs'::regclass"
    assert conn.execute(statistics).fetchone() in [(-1,), (0,)]
    return conn


def use_settings_of(conn: Connection, *functions: str) -> None:
    """Sets what these functions set, so that queries are planned as inside of them."""
    query = "SELECT unnest(proconfig) FROM pg_proc WHERE oid = ANY (%s::regproc[]) AND proconfig IS NOT NULL"
    for (setting,) in conn.execute(query, [[f"pgaudit.{function}" for function in functions]]).fetchall():
        conn.execute("SELECT set_config(%s, %s, true)", setting.split("=", 1))


def query_of(conn: Connection, function: str, containing: str) -> str:
    """Returns the innermost query of a function that contains a text, with values in place of variables."""
    query = "SELECT prosrc FROM pg_proc WHERE oid = %s::regproc"
    (source,) = conn.execute(query, [f"pgaudit.{function}"]).fetchone() or ("",)
    source = re.sub(r"--.*", "", source)
    starts = [match.start() for match in re.finditer(r"\b(?:SELECT|PERFORM)\b", source)]
    found = [match[0] for start in starts if (match := QUERY.match(source, start)) and containing in match[0]]
    assert found, f"no query with {containing!r} in {function}"
    chosen = min(found, key=len).replace("PERFORM", "SELECT", 1)
    chosen = re.split(r"\b(?:LOOP|EXCEPT)\b", chosen)[-1 if "EXCEPT" in chosen else 0]
    for variable, value in VALUES.items():
        chosen = re.sub(rf"(?<![.\w]){variable}\b(?! *\()", value, chosen)
    return chosen


def explained(conn: Connection, statement: str) -> dict[str, Any]:
    """Returns the outermost node of the plan that an EXPLAIN statement shows."""
    (plans,) = conn.execute(statement).fetchone() or (None,)
    assert isinstance(plans, list)
    plan: dict[str, Any] = plans[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Returns a node and all nodes below it."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def plan_of(conn: Connection, query: str) -> list[dict[str, Any]]:
    """Returns the nodes of a query's plan, the outermost first."""
    return list(nodes(explained(conn, f"EXPLAIN (FORMAT JSON) {query}")))


def types(plan: list[dict[str, Any]]) -> list[str]:
    """Returns the types of the nodes."""
    return [node["Node Type"] for node in plan]


def steps(conn: Connection) -> dict[str, list[dict[str, Any]]]:
    """Returns the plans of the queries that look for jobs, by function."""
    queries = {
        "find_due_job": query_of(conn, "find_due_job", "FOR UPDATE"),
        "find_fresh_job": query_of(conn, "find_fresh_job", "FOR UPDATE"),
        "find_fresh_job, skipping": query_of(conn, "find_fresh_job", "OFFSET"),
        "take_fresh_jobs": query_of(conn, "take_fresh_jobs", "FOR UPDATE"),
        "take_due_retries": query_of(conn, "take_due_retries", "FOR UPDATE"),
    }
    return {function: plan_of(conn, query) for function, query in queries.items()}


@pytest.mark.parametrize("caller", ["fetch_job", "persist", "record_inline"])
@pytest.mark.parametrize("analyzed", [False, True])
def test_jobs_are_found_by_index(long_queue: Connection, caller: str, analyzed: bool) -> None:
    """Fresh jobs are found by id and retries by time, without a sort or sequential scan, whatever the statistics."""
    if analyzed:
        long_queue.execute("ANALYZE pgaudit.audit_jobs")
    use_settings_of(long_queue, caller)
    plans = steps(long_queue)
    assert types(plans.pop("find_fresh_job, skipping")) in [["Limit", "Index Scan"], ["Limit", "Index Only Scan"]]
    assert {function: types(plan) for function, plan in plans.items()} == dict.fromkeys(plans, LOCKING)
    used = {function: (plan[-1]["Index Name"], plan[-1]["Index Cond"]) for function, plan in plans.items()}
    assert {function: index for function, (index, _) in used.items()} == {
        "find_due_job": DUE,
        "find_fresh_job": FRESH,
        "take_fresh_jobs": FRESH,
        "take_due_retries": DUE,
    }
    for function, (index, condition) in used.items():
        assert ("scheduled_at <=" if index == DUE else "id >=") in condition, function


def test_fetch_and_batch_read_few_pages_of_a_long_queue(long_queue: Connection) -> None:
    """Ten thousand waiting retries do not make a fetch or a batch read more than 100 pages."""
    _, worker = register(long_queue)
    use_settings_of(long_queue, "persist")
    for _ in range(6):  # until the plans of the session are cached
        long_queue.execute("SELECT pgaudit.fetch_job(%s)", [worker])
    for query in (
        f"SELECT pgaudit.fetch_job('{worker}')",
        "SELECT pgaudit.take_due_retries(10)",
        "SELECT pgaudit.take_fresh_jobs(1, 10)",
    ):
        plan = explained(long_queue, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}")
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 100, query


@pytest.mark.parametrize("analyzed", [False, True])
def test_counting_a_long_queue_reads_few_pages(conn: Connection, analyzed: bool) -> None:
    """With 40,000 fresh jobs a count reads less than half of the pages, with and without statistics, and is right."""
    conn.execute(FILL.replace("n % 2 = 1", "n = 3").replace("20000", "40000"))
    if analyzed:
        conn.execute("ANALYZE pgaudit.audit_jobs")
    (queue,) = stats.queue_stats(conn)  # until the plans of the session are cached
    assert (queue.waiting, queue.delayed) == (40_000, 0)
    for query, most in ((stats.QUEUE_STATS, 400), (OBSERVE, 550)):  # of 900; health reads of the catalog, too
        plan = explained(conn, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}")
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < most, query


def test_a_second_run_writes_nothing_to_the_jobs_that_it_skips(long_queue: Connection) -> None:
    """A second run starts behind the batch that the first run takes next, and writes to its own first job only."""
    long_queue.execute(
        "UPDATE pgaudit.audit_jobs SET scheduled_at = now() + interval '1 h' WHERE scheduled_at <= now()"
    )
    _, worker = register(long_queue)
    work = explained(long_queue, f"EXPLAIN (ANALYZE, WAL, FORMAT JSON) SELECT pgaudit.fetch_job('{worker}', 1000)")
    assert work["WAL Records"] < 50
    query = """SELECT count(*) FROM pgaudit.audit_jobs WHERE status = 'todo' AND scheduled_at IS NULL
                  AND id < (SELECT id FROM pgaudit.audit_jobs WHERE status = 'doing')"""
    assert long_queue.execute(query).fetchone() == (1_000,)


@pytest.fixture
def filled(conn: Connection) -> Connection:
    """A log of six hundred events in partitions of 256, without statistics."""
    make_small_partitions_and_commit(conn)
    assert record_persist_and_commit(conn, *events(600)) == []
    return conn


def scanned(plan: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Returns the scanned tables, and how each is scanned."""
    return [(node.get("Relation Name", ""), node["Node Type"]) for node in plan if "Scan" in node["Node Type"]]


@pytest.mark.parametrize("analyzed", [False, True])
def test_the_deletion_guard_reads_only_the_end_of_the_log(filled: Connection, analyzed: bool) -> None:
    """Whether deleted jobs are in the log is looked up by index in the last partitions."""
    if analyzed:
        filled.execute("ANALYZE")
    use_settings_of(filled, "reject_unlogged_deletion")
    query = query_of(filled, "reject_unlogged_deletion", "EXCEPT")
    plan = plan_of(filled, query)
    assert scanned(plan) == [("audit_log_256", "Index Scan"), ("audit_log_512", "Index Scan")]
    assert "Sort" not in types(plan)


@pytest.mark.parametrize("outcome", ["failure", "denied"])
def test_failures_and_denials_are_found_by_index(filled: Connection, outcome: str) -> None:
    """The newest of them come in order, without a sort, from the index that has no successes."""
    filled.execute("ANALYZE")
    query = f"SELECT * FROM pgaudit.audit_log WHERE outcome = '{outcome}' ORDER BY index DESC LIMIT 50"
    plan = plan_of(filled, query)
    assert "Sort" not in types(plan)
    assert {node["Index Name"] for node in plan if "Index Name" in node} == {
        f"audit_log_{first}_outcome_index_idx" for first in (0, 256, 512)
    }


@pytest.mark.parametrize("analyzed", [False, True])
def test_a_known_event_is_found_by_index(filled: Connection, analyzed: bool) -> None:
    """A duplicate is looked up by its id, and then in the one partition that has its index."""
    if analyzed:
        filled.execute("ANALYZE")
    filled.execute("SET LOCAL enable_seqscan = off")
    use_settings_of(filled, "logged_indexes", "persist")
    tables = {"audit_log": "audit_log_256", "event_key": "event_key", "event_conflict": "event_conflict"}
    for read, table in tables.items():
        query = query_of(filled, "logged_indexes", read)
        query = query.replace("given.event_id", "gen_random_uuid()").replace("given.content_hash", "'\\x00'")
        plan = plan_of(filled, query)
        assert [name for name, _ in scanned(plan) if name] == [table]
        assert {how for name, how in scanned(plan) if name} <= {"Index Scan", "Index Only Scan"}


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT FROM pgaudit.audit_log WHERE index > 5 ORDER BY index LIMIT 10", "index"),
        ("SELECT FROM pgaudit.audit_log WHERE target_type = 'claim' AND target_id = '7' ORDER BY index", "target"),
        ("SELECT FROM pgaudit.audit_log WHERE actor_type = 'user' AND actor_id = '4' ORDER BY index", "actor"),
        ("SELECT FROM pgaudit.audit_log WHERE action = 'claim.approved' ORDER BY index", "action"),
        ("SELECT FROM pgaudit.audit_log WHERE tenant = 'acme' ORDER BY index", "tenant"),
    ],
)
def test_the_log_is_read_by_index(filled: Connection, query: str, index: str) -> None:
    """Each partition has an index for queries by index, target, actor, action and tenant, in the log's order."""
    filled.execute("SET enable_seqscan = off")
    filled.execute("SET enable_bitmapscan = off")
    plan = plan_of(filled, query)
    assert "Sort" not in types(plan)
    scans = [node for node in plan if "Scan" in node["Node Type"]]
    assert len(scans) == 3
    for scan in scans:
        name = scan["Index Name"]
        definition = filled.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [name]).fetchone()
        assert definition is not None
        assert re.search(rf"\({index}(_type|\)|,)", definition[0])
        assert scan["Index Cond"]


@pytest.mark.parametrize("jobs", [1, 1_000])
@pytest.mark.parametrize("pages", [0, 2_000])
def test_jobs_of_a_batch_are_looked_up_by_id(long_queue: Connection, jobs: int, pages: int) -> None:
    """Jobs are read by their ids even when the planner believes that the queue is empty."""
    statistics = "UPDATE pg_class SET reltuples = 0, relpages = %s WHERE oid = 'pgaudit.audit_jobs'::regclass"
    long_queue.execute(statistics, [pages])
    use_settings_of(long_queue, "persist", "append_rows")
    plan = plan_of(long_queue, f"SELECT * FROM pgaudit.jobs_in_order(ARRAY{list(range(1, jobs + 1))}::bigint[])")
    assert types(plan) == ["Nested Loop", "Function Scan", "Index Scan"]
    assert plan[-1]["Index Cond"] == "(id = taken.id)"


def test_functions_read_jobs_of_a_batch_with_jobs_in_order(conn: Connection) -> None:
    """No function that has an array of jobs joins audit_jobs itself."""
    query = """SELECT proname, prosrc FROM pg_proc
                WHERE pronamespace = 'pgaudit'::regnamespace AND 'jobs' = ANY (proargnames)"""
    joining = {name for name, source in conn.execute(query) if re.search(r"JOIN (pgaudit\.)?audit_jobs", source)}
    assert joining == set()
