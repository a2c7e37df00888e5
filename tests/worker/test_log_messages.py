"""Log messages of a worker and of recording never quote an event."""

import logging
from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit._db_errors import safe_summary
from pgaudit.recording import replay
from tests.support.log_records import records_of
from tests.support.queries import LOG_SIZE, Connection, value_and_commit
from tests.support.worker import drain

pytestmark = pytest.mark.anyio
SECRET = "the diagnosis of a patient"

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
    """Sets the level of all loggers to DEBUG, Procrastinate's included."""
    caplog.set_level(logging.DEBUG)


def record_secret_and_commit(conn: Connection, settings: Settings) -> None:
    """Records an event with a secret in it, and commits."""
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved", actor=f"user:{SECRET}", data={"note": SECRET}))
    conn.commit()


def assert_kept_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Fails if a record above DEBUG has the secret in its message, traceback or details."""
    formatter = logging.Formatter()
    above = [entry for entry in caplog.records if entry.levelno > logging.DEBUG]
    assert {entry.name.partition(".")[0] for entry in above} <= {"pgaudit", "procrastinate"}
    assert above
    for entry in above:
        assert SECRET not in formatter.format(entry)
        assert SECRET not in repr(entry.__dict__ | {"exc_info": None})


async def test_log_messages_never_quote_a_persisted_event(
    conn: Connection, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """No logger writes the event above DEBUG while it is persisted."""
    record_secret_and_commit(conn, settings)
    await drain(settings)
    assert value_and_commit(conn, LOG_SIZE) == 1
    assert_kept_secret(caplog)


async def test_log_messages_never_quote_a_failed_event(
    dsn: str, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Postgres quotes the event in its error; the message is kept in job_error and not logged."""
    record_secret_and_commit(conn, Settings(dsn=dsn))
    conn.execute(REFUSE.replace("'disk full' USING ERRCODE = 'disk_full'", "'no %', NEW.event USING ERRCODE = 'P0001'"))
    conn.commit()
    await drain(Settings(dsn=dsn, job_attempts=2, job_backoff_delay=0))
    assert SECRET in value_and_commit(conn, "SELECT min(message) FROM pgaudit.job_error")
    assert records_of(caplog, "job_completed") == []
    assert len(records_of(caplog, "job_retried")) == 1
    assert len(records_of(caplog, "job_failed")) == 1
    assert_kept_secret(caplog)


async def test_log_messages_never_quote_an_event_during_an_outage(
    dsn: str, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the kind of error, but not its detail, in which Postgres quotes the event."""
    record_secret_and_commit(conn, Settings(dsn=dsn))
    conn.execute(REFUSE)
    conn.commit()
    await drain(Settings(dsn=dsn, job_backoff_delay=10_000))
    assert "DiskFull, SQLSTATE 53100: disk full" in caplog.text
    assert len(records_of(caplog, "job_retried")) == 1
    assert_kept_secret(caplog)


def test_log_messages_never_quote_a_spooled_event(
    dsn: str, conn: Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Postgres quotes the event when it is recorded and when it is replayed; neither is logged."""
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
