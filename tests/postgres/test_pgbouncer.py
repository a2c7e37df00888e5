"""Behind PgBouncer in transaction mode: nothing of pgaudit lives in a session."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditLog, Settings
from pgaudit.recording import replay, spool
from pgaudit.worker.procrastinate_app import AuditApp
from tests import pgbouncer
from tests.postgres.trail import Connection, event, is_dense, logged_ids, queued_ids

pytestmark = pytest.mark.pgbouncer


@pytest.fixture
def pooled(dsn: str) -> Iterator[str]:
    """The way to the database through two server sessions."""
    with pgbouncer.running(dsn, pool_size=2) as through:
        yield through


def test_callers_share_sessions_and_record(pooled: str, conn: Connection) -> None:
    """Ten connections on two sessions, interleaved: what commits is there, what rolls back is not."""
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


async def test_a_worker_runs_behind_it(pooled: str, conn: Connection, tmp_path: Path) -> None:
    """It registers, fetches, persists in batches, shows that it lives and makes its rounds; the log is dense."""
    audit = AuditLog(Settings(dsn=pooled))
    made = [event(number) for number in range(25)]
    audit.record_autonomous(*made)
    app = AuditApp(Settings(dsn=pooled, batch_size=3, stalled_after=0.2, worker_concurrency=3, spool_dir=tmp_path))
    async with app.open_async():
        await app.run_worker_async(wait=False, install_signal_handlers=False)
    assert sorted(logged_ids(conn)) == sorted(each.id for each in made)
    assert (queued_ids(conn), is_dense(conn)) == ([], True)


def test_spools_are_replayed_through_it(pooled: str, conn: Connection, tmp_path: Path) -> None:
    """Twice, each on a connection of its own: the first leaves nothing in a session that the second trips over."""
    settings = Settings(dsn=pooled, spool_dir=tmp_path)
    made = [event(number) for number in range(20)]
    for half in (made[:10], made[10:]):
        for each in half:
            (xid,) = conn.execute("SELECT pg_current_xact_id()::text").fetchone() or ("",)
            conn.commit()
            spool.append(tmp_path, [each.to_json()], spool.Origin(xid, "another cluster", "1"))
        replay.replay_all(pooled, settings)
    assert queued_ids(conn) == [each.id for each in made]
    assert list(tmp_path.iterdir()) == []
