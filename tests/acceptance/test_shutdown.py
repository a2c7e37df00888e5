"""SIGTERM: what runs is finished, the rest is left in the queue, and the exit code is 0."""

import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from tests.processes import COMMANDS, query, terminate, worker
from tests.waiting import wait_until

ACTIVE = "SELECT count(*) FROM pgaudit.audit_jobs WHERE status = 'doing'"
LOGGED = "SELECT size FROM pgaudit.log_head"
LEFT = "SELECT count(*) FROM pgaudit.audit_jobs"
BEAT = "SELECT max(last_heartbeat) FROM pgaudit.procrastinate_workers"
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%pgaudit.persist%'"


def record(dsn: str, count: int) -> None:
    """Queues that many events."""
    with psycopg.connect(dsn) as conn:
        AuditLog(Settings(dsn=dsn)).record(conn, *(AuditEvent(action="claim.approved") for _ in range(count)))


@contextmanager
def log_locked(dsn: str) -> Generator[psycopg.Connection]:
    """Holds the end of the log: every append waits."""
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        yield conn


@pytest.mark.parametrize("command", COMMANDS)
def test_a_batch_in_progress_is_finished(dsn: str, command: str) -> None:
    """A worker that is told to stop in the middle of a batch lives on, heart beating, until the batch is in the log."""
    record(dsn, 10)
    with log_locked(dsn) as holder, worker(dsn, command, PGAUDIT_STALLED_AFTER="2") as process:
        wait_until(lambda: query(dsn, BLOCKED))
        process.send_signal(signal.SIGTERM)
        before = query(dsn, BEAT)
        wait_until(lambda: query(dsn, BEAT) != before)
        assert process.poll() is None
        holder.rollback()
        assert process.wait(30) == 0
    assert (query(dsn, LOGGED), query(dsn, LEFT)) == (10, 0)
    assert query(dsn, "SELECT count(*) FROM pgaudit.job_error") == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_batch_that_outlasts_the_timeout_is_given_back(dsn: str, command: str) -> None:
    """What does not end in time is aborted, and waits in the queue as before: neither lost, nor failed, nor aborted."""
    record(dsn, 10)
    with log_locked(dsn), worker(dsn, command, PGAUDIT_SHUTDOWN_TIMEOUT="1") as process:
        wait_until(lambda: query(dsn, BLOCKED))
        assert terminate(process) == 0
        assert query(dsn, "SELECT array_agg(DISTINCT status::text || attempts) FROM pgaudit.audit_jobs") == ["todo0"]
    with worker(dsn, command) as process:
        wait_until(lambda: query(dsn, LOGGED) == 10)
        assert terminate(process) == 0


@pytest.mark.parametrize(("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)])
def test_a_second_signal_exits_at_once(dsn: str, first: signal.Signals, second: signal.Signals) -> None:
    """A worker that gets a second signal exits at once; its event stays in the queue, and another worker takes it."""
    record(dsn, 1)
    with log_locked(dsn), worker(dsn, log=subprocess.PIPE, PGAUDIT_STALLED_AFTER="1") as process:
        wait_until(lambda: query(dsn, BLOCKED))
        process.send_signal(first)
        assert process.stderr is not None
        assert any(b"a second signal exits at once" in line for line in process.stderr)
        process.send_signal(second)
        assert process.wait(5) == 128 + second
    with worker(dsn, PGAUDIT_STALLED_AFTER="1"):
        wait_until(lambda: query(dsn, LOGGED) == 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_procrastinates_command_at_once(dsn: str, number: signal.Signals) -> None:
    """It says that it stops; told again, it is gone, and another worker takes the event."""
    record(dsn, 1)
    with log_locked(dsn), worker(dsn, "procrastinate", log=subprocess.PIPE, PGAUDIT_STALLED_AFTER="1") as process:
        wait_until(lambda: query(dsn, BLOCKED))
        process.send_signal(number)
        assert process.stderr is not None
        assert any(b"Stop requested" in line for line in process.stderr)
        process.send_signal(number)
        assert process.wait(5) == -number
    with worker(dsn, PGAUDIT_STALLED_AFTER="1"):
        wait_until(lambda: query(dsn, LOGGED) == 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_drain_empties_the_queue(dsn: str, command: str) -> None:
    """With PGAUDIT_DRAIN_ON_SHUTDOWN a worker leaves nothing behind."""
    with worker(dsn, command, PGAUDIT_DRAIN_ON_SHUTDOWN="true", PGAUDIT_POLL_INTERVAL="60") as process:
        wait_until(lambda: query(dsn, ACTIVE) == 0)
        record(dsn, 2_500)
        assert query(dsn, LEFT) == 2_500
        assert terminate(process) == 0
    assert (query(dsn, LOGGED), query(dsn, LEFT)) == (2_500, 0)
