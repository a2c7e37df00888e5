"""SIGTERM: running batches are finished, other jobs stay in the queue, and the exit code is 0."""

import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest

from pgaudit.worker.supervisor import ONE_SIGNAL_SECONDS
from tests.support.jobs import queue_events
from tests.support.processes import COMMANDS, terminate, worker_process
from tests.support.queries import COUNT_JOB_ERRORS, COUNT_JOBS, LOG_SIZE, value_in
from tests.support.waiting import wait_until

ACTIVE = "SELECT count(*) FROM pgaudit.audit_jobs WHERE status = 'doing'"
BEAT = "SELECT max(last_heartbeat) FROM pgaudit.procrastinate_workers"
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%pgaudit.persist%'"


@contextmanager
def log_locked(dsn: str) -> Generator[psycopg.Connection]:
    """Holds the end of the log inside the block, so that every append waits."""
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT FROM pgaudit.log_lock FOR UPDATE")
        yield conn


@pytest.mark.parametrize("command", COMMANDS)
def test_a_batch_in_progress_is_finished(dsn: str, command: str) -> None:
    """A worker that is stopped during a batch sends heartbeats until the batch is in the log."""
    queue_events(dsn, 10)
    with log_locked(dsn) as holder, worker_process(dsn, command, PGAUDIT_STALLED_AFTER="2") as process:
        wait_until("the batch waits for the end of the log", lambda: value_in(dsn, BLOCKED))
        process.send_signal(signal.SIGTERM)
        before = value_in(dsn, BEAT)
        wait_until("the worker sends a heartbeat", lambda: value_in(dsn, BEAT) != before)
        assert process.poll() is None
        holder.rollback()
        assert process.wait(30) == 0
    assert value_in(dsn, LOG_SIZE) == 10
    assert value_in(dsn, COUNT_JOBS) == 0
    assert value_in(dsn, COUNT_JOB_ERRORS) == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_batch_that_outlasts_the_timeout_is_released(dsn: str, command: str) -> None:
    """A batch that does not end in time is rolled back, and its jobs wait in the queue as before."""
    queue_events(dsn, 10)
    with log_locked(dsn), worker_process(dsn, command, PGAUDIT_SHUTDOWN_TIMEOUT="1") as process:
        wait_until("the batch waits for the end of the log", lambda: value_in(dsn, BLOCKED))
        assert terminate(process) == 0
        assert value_in(dsn, "SELECT array_agg(DISTINCT status::text || attempts) FROM pgaudit.audit_jobs") == ["todo0"]
    with worker_process(dsn, command) as process:
        wait_until("the log has 10 events", lambda: value_in(dsn, LOG_SIZE) == 10)
        assert terminate(process) == 0


@pytest.mark.parametrize(("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)])
def test_a_second_signal_exits_at_once(dsn: str, first: signal.Signals, second: signal.Signals) -> None:
    """A second signal, a second later, ends the worker at once; its event stays in the queue for another worker."""
    queue_events(dsn, 1)
    with log_locked(dsn), worker_process(dsn, log=subprocess.PIPE, PGAUDIT_STALLED_AFTER="1") as process:
        wait_until("the batch waits for the end of the log", lambda: value_in(dsn, BLOCKED))
        process.send_signal(first)
        assert process.stderr is not None
        assert any(b"a second signal exits at once" in line for line in process.stderr)
        process.send_signal(second)  # within a second: the same Ctrl-C, passed on by a shell, say
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.1 * ONE_SIGNAL_SECONDS)
        process.send_signal(second)
        assert process.wait(5) == 128 + second
    with worker_process(dsn, PGAUDIT_STALLED_AFTER="1"):
        wait_until("the log has 1 event", lambda: value_in(dsn, LOG_SIZE) == 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_procrastinates_command_at_once(dsn: str, number: signal.Signals) -> None:
    """A second signal ends Procrastinate's command at once; its event stays in the queue for another worker."""
    queue_events(dsn, 1)
    with (
        log_locked(dsn),
        worker_process(dsn, "procrastinate", log=subprocess.PIPE, PGAUDIT_STALLED_AFTER="1") as process,
    ):
        wait_until("the batch waits for the end of the log", lambda: value_in(dsn, BLOCKED))
        process.send_signal(number)
        assert process.stderr is not None
        assert any(b"Stop requested" in line for line in process.stderr)
        process.send_signal(number)
        assert process.wait(5) == -number
    with worker_process(dsn, PGAUDIT_STALLED_AFTER="1"):
        wait_until("the log has 1 event", lambda: value_in(dsn, LOG_SIZE) == 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_drain_empties_the_queue(dsn: str, command: str) -> None:
    """With PGAUDIT_DRAIN_ON_SHUTDOWN a worker leaves nothing in the queue."""
    with worker_process(dsn, command, PGAUDIT_DRAIN_ON_SHUTDOWN="true", PGAUDIT_POLL_INTERVAL="60") as process:
        wait_until("no job runs", lambda: value_in(dsn, ACTIVE) == 0)
        queue_events(dsn, 2_500)
        assert value_in(dsn, COUNT_JOBS) == 2_500
        assert terminate(process) == 0
    assert value_in(dsn, LOG_SIZE) == 2_500
    assert value_in(dsn, COUNT_JOBS) == 0
