"""What a worker tells the process and the log, and what it keeps to itself."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings, signals
from pgaudit._db_errors import safe_summary
from pgaudit.recording import replay
from pgaudit.worker import rescue
from tests.worker.inside import drain
from tests.worker.queue import Connection, insert_poison, record, register, silence, value

pytestmark = pytest.mark.anyio
SECRET = "the diagnosis of a patient"
NAMES = ("job_completed", "job_retried", "job_failed", "job_stalled", "worker_started", "worker_stopped")
Told = list[tuple[str, dict[str, Any]]]

# A job whose worker is silent.
STALL = "UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = %s RETURNING id"
# An outage that quotes the whole event.
REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'disk full' USING ERRCODE = 'disk_full', DETAIL = NEW.event::text;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON pgaudit.audit_log FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.fixture
def told() -> Iterator[Told]:
    """What the signals tell, in its order."""
    told: Told = []

    def receiver(name: str, **details: Any) -> None:
        told.append((name, details))

    connected: list[signals.WorkerSignal] = [getattr(signals, name) for name in NAMES]
    for signal in connected:
        signal.connect(receiver)
    yield told
    for signal in connected:
        signal.disconnect(receiver)


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Down to DEBUG, Procrastinate's loggers included."""
    caplog.set_level(logging.DEBUG)


def lines(caplog: pytest.LogCaptureFixture, action: str) -> list[logging.LogRecord]:
    """The log's lines of that action."""
    return [entry for entry in caplog.records if entry.__dict__.get("action") == action]


def record_secret(conn: Connection, settings: Settings) -> None:
    """An event with something in it that is nobody's business."""
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved", actor=f"user:{SECRET}", data={"note": SECRET}))
    conn.commit()


def assert_kept_secret(caplog: pytest.LogCaptureFixture) -> None:
    """No line above DEBUG holds it: not in its message, its traceback or its details."""
    formatter = logging.Formatter()
    above = [entry for entry in caplog.records if entry.levelno > logging.DEBUG]
    assert {entry.name.partition(".")[0] for entry in above} <= {"pgaudit", "procrastinate"}
    assert above
    for entry in above:
        assert SECRET not in formatter.format(entry)
        assert SECRET not in repr(entry.__dict__ | {"exc_info": None})


async def test_a_worker_tells_when_it_starts_and_stops_and_what_it_completed(
    dsn: str, settings: Settings, conn: Connection, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch is one signal, however many events it holds."""
    record(dsn, 5)
    await drain(settings)
    worker_id = value(conn, "SELECT worker_id FROM pgaudit.batch")
    completed = {"count": 5, "worker_id": worker_id}
    alone = {"worker_id": worker_id}
    assert told == [("worker_started", alone), ("job_completed", completed), ("worker_stopped", alone)]
    assert [len(lines(caplog, name)) for name in NAMES] == [1, 0, 0, 0, 1, 1]


async def test_a_job_that_fails_is_told_at_each_attempt(
    dsn: str, conn: Connection, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """Retried as often as there are further attempts, then failed; nothing was completed."""
    job = insert_poison(conn)
    await drain(Settings(dsn=dsn, job_backoff_delay=0, job_attempts=3))
    error = {"job_id": job, "error_class": "DataCorrupted", "sqlstate": "XX001"}
    assert [(name, details) for name, details in told if name.startswith("job_")] == [
        ("job_retried", {**error, "attempt": 1, "retry_in": pytest.approx(0, abs=1)}),
        ("job_retried", {**error, "attempt": 2, "retry_in": pytest.approx(0, abs=1)}),
        ("job_failed", error),
    ]
    (failed,) = lines(caplog, "job_failed")
    assert (failed.levelname, failed.__dict__["job_id"]) == ("ERROR", job)
    assert [entry.levelname for entry in lines(caplog, "job_retried")] == ["WARNING", "WARNING"]


async def test_a_stalled_job_is_told_and_the_last_stall_is_a_failure(dsn: str, conn: Connection, told: Told) -> None:
    """A receiver of failures hears of those, too."""
    record(dsn)
    number, _ = register(conn, max_stalls=1)
    silence(conn, number)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as rescuer:
        for _ in range(2):
            job = value(conn, STALL, [number])
            await rescue.reclaim_stalled(rescuer)
    assert told == [
        ("job_stalled", {"job_id": job, "worker_id": number, "stalls": 1, "failed": False}),
        ("job_stalled", {"job_id": job, "worker_id": number, "stalls": 2, "failed": True}),
        ("job_failed", {"job_id": job, "error_class": "JobStalled", "sqlstate": None}),
    ]


async def test_a_receiver_that_raises_does_not_disturb_the_worker(
    dsn: str, settings: Settings, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The events are in the log, and the receiver's error is in the other one."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of pagers")

    record(dsn, 5)
    names = ("worker_started", "job_completed", "worker_stopped")
    for name in names:
        getattr(signals, name).connect(broken)
    try:
        await drain(settings)
    finally:
        for name in names:
            getattr(signals, name).disconnect(broken)
    assert value(conn, "SELECT size FROM pgaudit.log_head") == 5
    assert [entry.__dict__["signal"] for entry in lines(caplog, "receiver_failed")] == list(names)


async def test_details_are_ready_for_json(dsn: str, conn: Connection, told: Told) -> None:
    """As they are, without an encoder."""
    record(dsn)
    insert_poison(conn)
    await drain(Settings(dsn=dsn, job_backoff_delay=0))
    assert json.loads(json.dumps(told)) == [[name, details] for name, details in told]


async def test_the_log_holds_nothing_of_an_event_that_is_persisted(
    conn: Connection, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Above DEBUG, in no logger."""
    record_secret(conn, settings)
    await drain(settings)
    assert value(conn, "SELECT size FROM pgaudit.log_head") == 1
    assert_kept_secret(caplog)


async def test_the_log_holds_nothing_of_an_event_that_fails(
    dsn: str, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Although Postgres quotes it; the error, with its message, is in the table."""
    record_secret(conn, Settings(dsn=dsn))
    conn.execute(REFUSE.replace("'disk full' USING ERRCODE = 'disk_full'", "'no %', NEW.event USING ERRCODE = 'P0001'"))
    conn.commit()
    await drain(Settings(dsn=dsn, job_attempts=2, job_backoff_delay=0))
    assert SECRET in value(conn, "SELECT min(message) FROM pgaudit.job_error")
    assert [len(lines(caplog, name)) for name in NAMES[:3]] == [0, 1, 1]
    assert_kept_secret(caplog)


async def test_the_log_holds_nothing_of_an_event_that_meets_an_outage(
    dsn: str, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Although Postgres quotes it; what the database says of itself is logged."""
    record_secret(conn, Settings(dsn=dsn))
    conn.execute(REFUSE)
    conn.commit()
    await drain(Settings(dsn=dsn, job_backoff_delay=10_000))
    assert "DiskFull, SQLSTATE 53100: disk full" in caplog.text
    assert len(lines(caplog, "job_retried")) == 1
    assert_kept_secret(caplog)


def test_the_log_holds_nothing_of_an_event_that_is_spooled(
    dsn: str, conn: Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Although Postgres quotes it, when it is recorded and when it is replayed."""
    conn.execute(REFUSE.replace("pgaudit.audit_log", "pgaudit.audit_jobs"))
    conn.commit()
    settings = Settings(dsn=dsn, on_failure="spool", spool_dir=tmp_path)
    record_secret(conn, settings)
    with pytest.raises(psycopg.errors.DiskFull) as refusal:
        replay.replay_all(dsn, settings)
    logging.getLogger("pgaudit").warning("cannot replay: %s", safe_summary(refusal.value))
    said = [entry.getMessage() for entry in caplog.records if "SQLSTATE 53100: disk full" in entry.getMessage()]
    assert "1 event(s) went to" in said[0]
    assert_kept_secret(caplog)
