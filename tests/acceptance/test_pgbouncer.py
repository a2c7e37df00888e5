"""pgaudit behind PgBouncer in transaction mode: nothing depends on a session."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditLog, Settings
from pgaudit.recording import replay, spool
from pgaudit.worker.procrastinate_app import AuditApp
from tests.support import pgbouncer
from tests.support.audit_log import assert_dense, logged_ids
from tests.support.events import event, events
from tests.support.jobs import queued_ids
from tests.support.queries import Connection

pytestmark = pytest.mark.pgbouncer


@pytest.fixture
def pooled(dsn: str) -> Iterator[str]:
    """A DSN of the database through PgBouncer, with two server sessions."""
    with pgbouncer.running(dsn, pool_size=2) as through:
        yield through


def test_callers_share_sessions_and_record(pooled: str, conn: Connection) -> None:
    """Ten connections on two sessions record in turns: committed events are queued, others are not."""
    audit = AuditLog(Settings(dsn=pooled))
    callers = [psycopg.connect(pooled, prepare_threshold=None) for _ in range(10)]
    kept = []
    for number in range(100):
        caller = callers[number % 10]
        audit.record(caller, made := event(number))
        if number % 3:
            caller.commit()
            kept.append(made.id)
        else:
            caller.rollback()
    for caller in callers:
        caller.close()
    assert queued_ids(conn) == kept


async def test_a_worker_runs_behind_pgbouncer(pooled: str, conn: Connection, tmp_path: Path) -> None:
    """A worker persists in batches and sends heartbeats; the log is dense."""
    audit = AuditLog(Settings(dsn=pooled))
    made = events(25)
    audit.record_autonomous(*made)
    app = AuditApp(Settings(dsn=pooled, batch_size=3, stalled_after=0.2, worker_concurrency=3, spool_dir=tmp_path))
    async with app.open_async():
        await app.run_worker_async(wait=False, install_signal_handlers=False)
    assert sorted(logged_ids(conn)) == sorted(each.id for each in made)
    assert queued_ids(conn) == []
    assert_dense(conn)


def test_spools_are_replayed_through_pgbouncer(pooled: str, conn: Connection, tmp_path: Path) -> None:
    """Two replays in the same server sessions do not disturb each other."""
    settings = Settings(dsn=pooled, spool_dir=tmp_path)
    made = events(20)
    for half in (made[:10], made[10:]):
        for each in half:
            (xid,) = conn.execute("SELECT pg_current_xact_id()::text").fetchone() or ("",)
            conn.commit()
            spool.append(tmp_path, [each.to_json()], spool.Origin(xid, "another cluster", "1"))
        replay.replay_all(pooled, settings)
    assert queued_ids(conn) == [each.id for each in made]
    assert list(tmp_path.iterdir()) == []
