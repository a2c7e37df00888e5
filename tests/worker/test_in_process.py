"""Workers inside of the application's process."""

import logging
import os
import subprocess
import sys

import psycopg
import pytest

from pgaudit import Settings, stats, worker
from tests.support.events import event
from tests.support.jobs import record_and_commit
from tests.support.waiting import wait_until, wait_until_async

PROGRAM = """
import psycopg
from pgaudit import AuditEvent, AuditLog, worker

worker.start_in_thread()
audit = AuditLog()
with psycopg.connect(audit.settings.dsn) as conn:
    audit.record(conn, *(AuditEvent(action="claim.approved") for _ in range(2_000)))
"""


@pytest.mark.anyio
async def test_a_worker_runs_in_an_event_loop(dsn: str, settings: Settings) -> None:
    """running() runs a worker inside its block, and unregisters it at the end."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        async with worker.running(settings):
            record_and_commit(conn, event())
            await wait_until_async("1 job is completed", lambda: stats.queue_stats(conn)[0].completed == 1)
            assert len(stats.worker_stats(conn)) == 1
        assert stats.worker_stats(conn) == []


@pytest.mark.anyio
async def test_a_worker_does_not_fill_the_log_of_the_application(
    dsn: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """At INFO a batch is one line of pgaudit; Procrastinate's lines about other jobs and about the worker stay."""
    caplog.set_level(logging.INFO)
    procrastinate = logging.getLogger("procrastinate.worker.worker")
    with psycopg.connect(dsn, autocommit=True) as conn:
        async with worker.running(settings):
            record_and_commit(conn, event())
            await wait_until_async("1 job is completed", lambda: stats.queue_stats(conn)[0].completed == 1)
            procrastinate.info("of the application", extra={"job": {"queue": "letters"}})
    said = [record for record in caplog.records if record.name.startswith("procrastinate.worker")]
    assert [record.message for record in said if "job" in record.__dict__] == ["of the application"]
    assert "Stop requested" in {record.message for record in said}
    assert "pgaudit.worker" in {record.name for record in caplog.records}
    assert procrastinate.filters == []


def test_a_worker_runs_in_a_thread(dsn: str, settings: Settings) -> None:
    """start_in_thread() runs a worker until stop(), which can be called twice, or at once."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        with worker.start_in_thread(settings) as thread:
            record_and_commit(conn, event())
            wait_until("1 job is completed", lambda: stats.queue_stats(conn)[0].completed == 1)
            thread.stop()
        worker.start_in_thread(settings).stop()
        assert stats.worker_stats(conn) == []


def test_the_end_of_a_program_stops_its_worker(dsn: str) -> None:
    """The worker finishes its batch and is unregistered when the program ends without stopping it."""
    environment = os.environ | {"PGAUDIT_DSN": dsn, "PGAUDIT_DRAIN_ON_SHUTDOWN": "true"}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, timeout=60, check=True)
    with psycopg.connect(dsn) as conn:
        (queue,) = stats.queue_stats(conn)
        assert queue.waiting + queue.completed == 2_000
        assert queue.active == 0
        assert stats.worker_stats(conn) == []


def test_the_module_needs_no_valid_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the module reads no setting; the app for Procrastinate does."""
    monkeypatch.setenv("PGAUDIT_BATCH_SIZE", "none")
    assert callable(worker.running)
    with pytest.raises(ValueError, match="PGAUDIT_BATCH_SIZE"):
        worker.__getattr__("app")
