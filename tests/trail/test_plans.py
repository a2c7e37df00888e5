"""What a page of a search reads: an index of the log, whatever is asked for, and few pages of it."""

from collections.abc import Iterator
from random import Random
from typing import Any

import psycopg
import pytest

from benchmarks.search import QUESTIONS, values_of
from benchmarks.support import generated_log
from benchmarks.support.server import Bench
from pgaudit._reading import Steps, T
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from pgaudit.trail.bounded import MOST_EXAMINED
from pgaudit.trail.page_cursor import NEWEST
from pgaudit.trail.paging import page_of
from pgaudit.trail.query import parse
from pgaudit.trail.timelines.reading import newest_moments, single

EVENTS = 40_000
PARTITION = 8_192
EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
# Pages of 8 kB. The most is read for a tenant with a rare action; 60 look-ups of actions read four each.
MOST_BUFFERS = 3_000


@pytest.fixture(scope="module")
def log(server: Server) -> Iterator[psycopg.Connection]:
    """A connection to a log of 40,000 events in the distribution of the benchmark, in six partitions."""
    with fresh_database(server) as database, psycopg.connect(database.dsn, autocommit=True) as conn:
        generated_log.fill(Bench(database.dsn), conn.info.dbname, EVENTS, lambda _: None, PARTITION)
        yield conn


def explained(conn: psycopg.Connection, steps: Steps[T]) -> tuple[T, list[dict[str, Any]]]:
    """Returns what a reader returns, and the nodes of the plans of all its statements."""
    nodes: list[dict[str, Any]] = []
    try:
        statement = next(steps)
        while True:
            ((plan,),) = conn.execute(EXPLAIN + statement.query, statement.parameters, prepare=False).fetchall()
            nodes += nodes_of(plan[0]["Plan"])
            statement = steps.send(conn.execute(statement.query, statement.parameters, prepare=False).fetchall())
    except StopIteration as done:
        return done.value, nodes


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields a plan's node, and those below it."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes_of(child)


def buffers(nodes: list[dict[str, Any]]) -> int:
    """Returns how many pages all statements read, in the cache or not."""
    roots = [node for node in nodes if "Parent Relationship" not in node]
    return sum(int(node["Shared Hit Blocks"] + node["Shared Read Blocks"]) for node in roots)


def is_scan_of_log(node: dict[str, Any]) -> bool:
    """Returns whether a node reads a partition of the log, row by row."""
    return node["Node Type"] == "Seq Scan" and str(node.get("Relation Name")).startswith("audit_log")


@pytest.mark.parametrize("question", [question.query for question in QUESTIONS])
def test_a_page_reads_an_index_and_sorts_no_more_than_a_look(log: psycopg.Connection, question: str) -> None:
    """No plan reads a partition row by row, none sorts more than it may look at, and few pages are read."""
    for seed in range(3):
        query = question.format(**values_of(Random(seed)))
        page, nodes = explained(log, page_of(parse(query), NEWEST, 50))
        assert [node for node in nodes if is_scan_of_log(node)] == [], query
        assert max((node["Actual Rows"] for node in nodes if "Sort" in node["Node Type"]), default=0) <= 2_000, query
        assert page.stopped is None or page.stopped.examined >= MOST_EXAMINED
        assert buffers(nodes) <= MOST_BUFFERS, query


@pytest.mark.parametrize("field", ["target", "actor"])
def test_a_timeline_reads_indexes(log: psycopg.Connection, field: str) -> None:
    """Neither the search for the events of a thing nor reading them scans a partition row by row."""
    (one,) = log.execute(
        "SELECT target_type || ':' || target_id, actor_type || ':' || actor_id FROM pgaudit.audit_log "
        "WHERE target_id IS NOT NULL AND actor_id IS NOT NULL ORDER BY index DESC LIMIT 1"
    ).fetchall()
    term = single(field, one[0] if field == "target" else one[1])
    (moments, stopped), nodes = explained(log, newest_moments(term, None, None, 20_000))
    assert (bool(moments), stopped) == (True, None)
    assert [node for node in nodes if is_scan_of_log(node)] == []
    assert buffers(nodes) <= MOST_BUFFERS
