"""What a worker tells the process and the log, and what it keeps to itself."""

import logging
from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit._db_errors import safe_summary
from pgaudit.recording import replay
from tests.support.queries import LOG_SIZE, Connection, value_and_commit
from tests.support.worker import drain

pytestmark = pytest.mark.anyio
SECRET = "the diagnosis of a patient"
NAMES = ("job_completed", "job_retried", "job_failed", "job_stalled", "worker_started", "worker_stopped")

# An outage that quotes the whole event.
REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'disk full' USING ERRCODE = 'disk_full', DETAIL = NEW.event::text;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON pgaudit.audit_log FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Down to DEBUG, Procrastinate's loggers included."""
    caplog.set_level(logging.DEBUG)


def lines(caplog: pytest.LogCaptureFixture, action: str) -> list[logging.LogRecord]:
    """The log's lines of that action."""
    return [entry for entry in caplog.records if entry.__dict__.get("action") == action]


def record_secret_and_commit(conn: Connection, settings: Settings) -> None:
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


async def test_the_log_holds_nothing_of_an_event_that_is_persisted(
    conn: Connection, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Above DEBUG, in no logger."""
    record_secret_and_commit(conn, settings)
    await drain(settings)
    assert value_and_commit(conn, LOG_SIZE) == 1
    assert_kept_secret(caplog)


async def test_the_log_holds_nothing_of_an_event_that_fails(
    dsn: str, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Although Postgres quotes it; the error, with its message, is in the table."""
    record_secret_and_commit(conn, Settings(dsn=dsn))
    conn.execute(REFUSE.replace("'disk full' USING ERRCODE = 'disk_full'", "'no %', NEW.event USING ERRCODE = 'P0001'"))
    conn.commit()
    await drain(Settings(dsn=dsn, job_attempts=2, job_backoff_delay=0))
    assert SECRET in value_and_commit(conn, "SELECT min(message) FROM pgaudit.job_error")
    assert [len(lines(caplog, name)) for name in NAMES[:3]] == [0, 1, 1]
    assert_kept_secret(caplog)


async def test_the_log_holds_nothing_of_an_event_that_meets_an_outage(
    dsn: str, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Although Postgres quotes it; what the database says of itself is logged."""
    record_secret_and_commit(conn, Settings(dsn=dsn))
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
    record_secret_and_commit(conn, settings)
    with pytest.raises(psycopg.errors.DiskFull) as refusal:
        replay.replay_all(dsn, settings)
    logging.getLogger("pgaudit").warning("cannot replay: %s", safe_summary(refusal.value))
    said = [entry.getMessage() for entry in caplog.records if "SQLSTATE 53100: disk full" in entry.getMessage()]
    assert "1 event(s) went to" in said[0]
    assert_kept_secret(caplog)
