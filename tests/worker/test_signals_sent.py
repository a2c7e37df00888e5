"""The signals that a worker sends, and the line of the application log for each."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgaudit import Settings, signals
from pgaudit.worker import rescue
from tests.support.jobs import (
    date_back_heartbeat_and_commit,
    insert_poison_and_commit,
    queue_events,
    register_and_commit,
)
from tests.support.log_records import records_of
from tests.support.queries import LOG_SIZE, Connection, value_and_commit
from tests.support.worker import drain

NAMES = ("job_completed", "job_retried", "job_failed", "job_stalled", "worker_started", "worker_stopped")
Sent = list[tuple[str, dict[str, Any]]]
# Gives the job to a worker.
STALL = "UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = %s RETURNING id"


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Sets the level of all loggers to DEBUG."""
    caplog.set_level(logging.DEBUG)


@pytest.fixture
def sent() -> Iterator[Sent]:
    """The signals that were sent, in order."""
    sent: Sent = []

    def receiver(name: str, **details: Any) -> None:
        sent.append((name, details))

    connected: list[signals.WorkerSignal] = [getattr(signals, name) for name in NAMES]
    for signal in connected:
        signal.connect(receiver)
    yield sent
    for signal in connected:
        signal.disconnect(receiver)


async def test_a_worker_sends_started_completed_and_stopped(
    dsn: str, settings: Settings, conn: Connection, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch is one job_completed, however many events it has."""
    queue_events(dsn, 5)
    await drain(settings)
    worker_id = value_and_commit(conn, "SELECT worker_id FROM pgaudit.batch")
    completed = {"count": 5, "worker_id": worker_id}
    alone = {"worker_id": worker_id}
    assert sent == [("worker_started", alone), ("job_completed", completed), ("worker_stopped", alone)]
    assert [len(records_of(caplog, name)) for name in NAMES] == [1, 0, 0, 0, 1, 1]


async def test_each_failed_attempt_sends_a_signal(
    dsn: str, conn: Connection, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    """job_retried is sent while attempts are left, then job_failed; job_completed is not sent."""
    job = insert_poison_and_commit(conn)
    await drain(Settings(dsn=dsn, job_backoff_delay=0, job_attempts=3))
    error = {"job_id": job, "error_class": "DataCorrupted", "sqlstate": "XX001"}
    assert [(name, details) for name, details in sent if name.startswith("job_")] == [
        ("job_retried", {**error, "attempt": 1, "retry_in": pytest.approx(0, abs=1)}),
        ("job_retried", {**error, "attempt": 2, "retry_in": pytest.approx(0, abs=1)}),
        ("job_failed", error),
    ]
    (failed,) = records_of(caplog, "job_failed")
    assert failed.levelname == "ERROR"
    assert failed.__dict__["job_id"] == job
    assert [entry.levelname for entry in records_of(caplog, "job_retried")] == ["WARNING", "WARNING"]


async def test_each_stall_sends_a_signal_and_the_last_one_job_failed(dsn: str, conn: Connection, sent: Sent) -> None:
    """job_stalled is sent for each stall; the last one is followed by job_failed."""
    queue_events(dsn)
    number, _ = register_and_commit(conn, max_stalls=1)
    date_back_heartbeat_and_commit(conn, number)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as rescuer:
        for _ in range(2):
            job = value_and_commit(conn, STALL, [number])
            await rescue.reclaim_stalled(rescuer)
    assert sent == [
        ("job_stalled", {"job_id": job, "worker_id": number, "stalls": 1, "failed": False}),
        ("job_stalled", {"job_id": job, "worker_id": number, "stalls": 2, "failed": True}),
        ("job_failed", {"job_id": job, "error_class": "JobStalled", "sqlstate": None}),
    ]


async def test_a_receiver_that_raises_does_not_disturb_the_worker(
    dsn: str, settings: Settings, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker appends the events, and logs the receiver's errors."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of pagers")

    queue_events(dsn, 5)
    names = ("worker_started", "job_completed", "worker_stopped")
    for name in names:
        getattr(signals, name).connect(broken)
    try:
        await drain(settings)
    finally:
        for name in names:
            getattr(signals, name).disconnect(broken)
    assert value_and_commit(conn, LOG_SIZE) == 5
    assert [entry.__dict__["signal"] for entry in records_of(caplog, "receiver_failed")] == list(names)


async def test_details_are_ready_for_json(dsn: str, conn: Connection, sent: Sent) -> None:
    """The details of every signal can be serialized without an encoder."""
    queue_events(dsn)
    insert_poison_and_commit(conn)
    await drain(Settings(dsn=dsn, job_backoff_delay=0))
    assert json.loads(json.dumps(sent)) == [[name, details] for name, details in sent]
