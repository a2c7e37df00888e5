"""Budgets: what an event costs, counted in work and not in time, so that a machine's load changes nothing.

Each budget is what was measured on PostgreSQL 18 with the event of the benchmarks (500 bytes of JSON), and a tenth
more. A test that exceeds one has found that recording or persisting costs more: raise it only with a reason beside it.
"""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import Settings
from pgaudit.recording.connections.psycopg_ import RECORD
from pgaudit.recording.document import to_portions
from pgaudit.worker.persist import persist_batch
from tests.support.events import events
from tests.support.queries import Connection

MANY = 1_000
PERSIST = "SELECT * FROM pgaudit.persist(NULL, NULL, 1000)"
RECORDED = {
    "WAL Records": 2.3,  # the row of the job, and its entry in the primary key: a fresh job is in no other index
    "WAL Bytes": 945,  # 500 of the event, 120 of its stamps and hash, the columns of a job, 64 of the index entry
    "Shared Hit Blocks": 4.7,  # the page of the row and its map, two levels of one index
}
PERSISTED = {
    # The job's lock and deletion; the log's row with entries in four indexes; the event's key with its entry.
    "WAL Records": 10.6,
    # The event again, and its target, actor, action and id in the indexes.
    "WAL Bytes": 1_575,
    # Ten pages for what is written, the levels of the six indexes above them, three for the hash, which is checked
    # before the log is locked, and two for the look whether a job that goes is in the log; 27.5 before PostgreSQL 18,
    # which reads fewer pages of an index for a list of numbers.
    "Shared Hit Blocks": 30.2,
}


@pytest.fixture
def warm(conn: Connection) -> Connection:
    """A connection that has planned its statements, to tables that have their first pages."""
    for _ in range(6):
        record(conn, MANY)
        conn.execute(PERSIST)
    conn.commit()
    return conn


def record(conn: Connection, count: int) -> None:
    """Records that many events of the benchmarks in the open transaction."""
    conn.execute(RECORD, [document(count)])


def document(count: int) -> str:
    """Returns that many events of the benchmarks as record() takes them."""
    return to_portions(events(count), Settings().max_event_bytes)[0].document


def work_of(conn: Connection, query: str, parameters: Any = None) -> dict[str, float]:
    """Returns the WAL and the pages of a statement per event, its functions and triggers included."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT JSON) {query}"
    ((plans,),) = conn.execute(explain, parameters).fetchall()
    plan = plans[0]["Plan"]
    # Full-page images after a checkpoint are not caused by the events.
    plan["WAL Bytes"] -= plan["WAL FPI"] * 8_192
    return {name: plan[name] / MANY for name in RECORDED}


def exceeded(work: dict[str, float], budget: dict[str, float]) -> dict[str, float]:
    """Returns the amounts that are above the budget."""
    return {name: amount for name, amount in work.items() if amount > budget[name]}


def test_recording_keeps_its_budget(warm: Connection) -> None:
    """Recording an event writes one row and one index entry."""
    work = work_of(warm, RECORD, [document(MANY)])
    assert exceeded(work, RECORDED) == {}


def test_persisting_keeps_its_budget(warm: Connection) -> None:
    """An event's row, index entries and key are written, and its job deleted; a batch shares lock and watermark."""
    record(warm, MANY)
    warm.commit()
    assert exceeded(work_of(warm, PERSIST), PERSISTED) == {}


def test_polling_an_empty_queue_writes_nothing(warm: Connection) -> None:
    """A poll, of which a worker makes two hundred per second, writes no WAL and reads fewer than 30 pages."""
    for _ in range(7):  # until the plans for an empty queue are cached
        warm.execute(PERSIST)
    work = work_of(warm, PERSIST)
    assert work["WAL Records"] == 0
    assert work["Shared Hit Blocks"] * MANY < 30


async def test_a_batch_is_one_round_trip(dsn: str, conn: Connection, tmp_path: Path) -> None:
    """The transaction of a batch is one message to the server, its BEGIN and COMMIT included."""
    record(conn, 10)
    conn.commit()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as worker:
        with (tmp_path / "trace").open("w") as file:
            worker.pgconn.trace(file.fileno())
            worker.pgconn.set_trace_flags(psycopg.pq.Trace.SUPPRESS_TIMESTAMPS)
            assert (await persist_batch(worker, None, None, Settings())).taken == 10
            worker.pgconn.untrace()
    sent = [line.split("\t")[2] for line in (tmp_path / "trace").read_text().splitlines() if line.startswith("F\t")]
    assert sent == ["Query"]
