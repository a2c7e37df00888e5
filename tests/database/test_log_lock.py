"""A transaction that holds the end of the log is named by workers and by the health report."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from pgaudit import AuditLog, Settings, health
from pgaudit.health import Check, Status
from pgaudit.health.observation import OBSERVE
from pgaudit.testing.server import TemporaryServer
from pgaudit.worker import persist
from tests.support.audit_log import logged_ids
from tests.support.events import event
from tests.support.queries import Connection
from tests.support.servers import migrated_server
from tests.support.waiting import wait_until_async
from tests.support.worker import working

HOLD = "SELECT FROM pgaudit.log_lock FOR UPDATE"
NAMED = "the end of the audit log is locked by"


@pytest.fixture(scope="module")
def prepared_server() -> Iterator[TemporaryServer]:
    """A server that allows prepared transactions."""
    with migrated_server(max_prepared_transactions=2) as server:
        yield server


@pytest.fixture
def dsn(prepared_server: TemporaryServer) -> str:
    """A migrated database in which transactions can be prepared; the tests share it."""
    return prepared_server.conninfo


@dataclass(frozen=True)
class Holder:
    """A transaction that has locked the end of the log."""

    conn: Connection
    name: str
    prepared: bool

    def end(self) -> None:
        """Ends the transaction, if it has not ended yet."""
        if self.prepared:
            for (name,) in self.conn.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
                self.conn.execute(f"ROLLBACK PREPARED '{name}'")
        elif self.conn.info.transaction_status != TransactionStatus.IDLE:
            self.conn.execute("ROLLBACK")


@pytest.fixture(params=[False, True], ids=["session", "prepared transaction"])
def holder(request: pytest.FixtureRequest, dsn: str) -> Iterator[Holder]:
    """A session or a prepared transaction that has locked the end of the log."""
    with psycopg.connect(dsn, autocommit=True, application_name="nightly export") as conn:
        conn.execute("BEGIN")
        conn.execute(HOLD)
        if request.param:
            conn.execute("PREPARE TRANSACTION 'forgotten'")
        holder = Holder(conn, "forgotten" if request.param else f"process {conn.info.backend_pid}", request.param)
        yield holder
        holder.end()


@pytest.mark.parametrize("date_style", ["ISO", "German", "SQL", "Postgres"])
async def test_a_waiting_worker_names_the_holder(
    dsn: str, holder: Holder, date_style: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker logs which process or prepared transaction holds the log since when, and appends when it has ended."""
    for name in ("BEGIN", "BEGIN_SINCE_17"):
        assert "'10s'" in getattr(persist, name)
        monkeypatch.setattr(persist, name, getattr(persist, name).replace("'10s'", "'50ms'"))
    styled = psycopg.conninfo.make_conninfo(dsn, options=f"-c datestyle={date_style}")
    with psycopg.connect(dsn, autocommit=True) as conn:
        AuditLog(Settings(dsn=dsn)).record_autonomous(made := event())
        async with working(Settings(dsn=styled, job_attempts=1, job_backoff_delay=20)):
            await wait_until_async("the worker names the holder of the lock", lambda: NAMED in caplog.text)
            holder.end()
            await wait_until_async("the event is in the log", lambda: made.id in logged_ids(conn))
        assert conn.execute("SELECT count(*) FROM pgaudit.failed_jobs").fetchone() == (0,)
    (said, *_) = [entry.getMessage() for entry in caplog.records if NAMED in entry.getMessage()]
    name = (
        "the prepared transaction 'forgotten' of role postgres"
        if holder.prepared
        else f"{holder.name} of role postgres (nightly export)"
    )
    assert re.fullmatch(rf"{NAMED} {re.escape(name)} since 20[-0-9]+ [:0-9]+Z: no event can be .* until it ends", said)


def log_lock_check(conn: Connection, spool_dir: Path) -> Check:
    """Returns the check of the health report that is about the lock."""
    (check,) = [check for check in health.check(conn, Settings(spool_dir=spool_dir)).checks if check.name == "log_lock"]
    return check


def test_health_names_a_holder_after_ten_seconds(
    dsn: str, holder: Holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock is healthy for ten seconds, as of any append; then the report is unhealthy and names its holder."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert log_lock_check(conn, tmp_path).status is Status.HEALTHY
        assert "interval '10 s'" in OBSERVE
        monkeypatch.setattr(health, "OBSERVE", OBSERVE.replace("interval '10 s'", "interval '0 s'"))
        check = log_lock_check(conn, tmp_path)
        assert check.status == Status.UNHEALTHY
        assert check.observed == f"{holder.name} of role postgres"
        assert check.message == f"The end of the log is locked by {holder.name} of role postgres."
        holder.end()
        assert log_lock_check(conn, tmp_path).status is Status.HEALTHY
