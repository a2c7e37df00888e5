"""The central promise, while workers and the server are killed."""

import random
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pgaudit import stats
from pgaudit.testing.server import TemporaryServer
from tests.support.processes import kill, start_worker, terminate
from tests.support.queries import COUNT_JOBS, LOG_SIZE, value_in
from tests.support.waiting import wait_until

WRITER = Path(__file__).parent / "writer.py"
SECONDS = 14


@pytest.fixture
def claims(own_server: TemporaryServer) -> TemporaryServer:
    """A server with the tables of the writers' application."""
    with psycopg.connect(own_server.conninfo) as conn:
        conn.execute("CREATE TABLE claim AS SELECT id, 0 AS version FROM generate_series(1, 50) id")
        conn.execute("CREATE TABLE claim_change (event_id uuid)")
    return own_server


def wait_for_log_size(dsn: str, count: int) -> None:
    """Waits until that many events are in the log."""
    wait_until("the log has the events that this turn waits for", lambda: int(str(value_in(dsn, LOG_SIZE))) >= count)


def test_nothing_is_lost_or_doubled(claims: TemporaryServer) -> None:
    """The log has exactly the committed events without a gap, and the views agree with it."""
    dsn, dice = claims.conninfo, random.Random(7)
    writers = [subprocess.Popen([sys.executable, WRITER, dsn, str(SECONDS), str(seed)]) for seed in range(4)]
    workers = [start_worker(dsn, PGAUDIT_STALLED_AFTER="1", PGAUDIT_BATCH_SIZE="50") for _ in range(2)]
    try:
        for turn in range(1, 7):
            wait_for_log_size(dsn, turn * 200)
            victim = dice.randrange(2)
            kill(workers[victim])
            workers[victim] = start_worker(dsn, PGAUDIT_STALLED_AFTER="1", PGAUDIT_BATCH_SIZE="50")
            if turn in {3, 5}:
                claims.halt("immediate")
                claims.start()
        assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
        wait_until("the queue is empty", lambda: value_in(dsn, COUNT_JOBS) == 0)
        wait_until(
            "both workers are alive",
            lambda: value_in(dsn, "SELECT count(*) FROM pgaudit.worker_stats WHERE alive") == 2,
        )
        assert [terminate(process) for process in workers] == [0, 0]
    finally:
        for process in [*writers, *workers]:
            kill(process)
    assert_log_matches_application(dsn)


def assert_log_matches_application(dsn: str) -> None:
    """Fails unless the log matches the application's table, and the views match the log."""
    with psycopg.connect(dsn) as conn:
        committed = {row[0] for row in conn.execute("SELECT event_id FROM claim_change")}
        rows = conn.execute("SELECT event_id, index FROM pgaudit.audit_log ORDER BY index").fetchall()
        (changes,) = conn.execute("SELECT sum(version) FROM claim").fetchone() or (None,)
        (queue,) = stats.queue_stats(conn)
        batched = conn.execute("SELECT sum(count) FROM pgaudit.batch").fetchone()
        throughput = sum(minute.events for minute in stats.throughput(conn))
    assert {event for event, _ in rows} == committed
    assert [index for _, index in rows] == list(range(changes))
    assert queue.completed == changes
    assert queue.waiting == 0
    assert queue.active == 0
    assert queue.delayed == 0
    assert queue.failed == 0
    assert batched == (changes,)
    assert throughput == changes
