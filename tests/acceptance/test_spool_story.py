"""Claims are changed while recording is broken."""

from pathlib import Path

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.recording import spool
from pgaudit.recording.replay import replay
from tests.support.processes import worker_process
from tests.support.queries import COUNT_JOBS, LOG_SIZE, value_in
from tests.support.spool import break_record, repair_record
from tests.support.waiting import wait_until


def change_while_broken(dsn: str, directory: Path) -> None:
    """Changes a claim and records it while ``pgaudit.record`` is missing."""
    audit = AuditLog(Settings(dsn=dsn, on_failure="spool", spool_dir=directory))
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE claim AS SELECT 7 AS id, 'open' AS status")
        break_record(conn)
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE claim SET status = 'approved' WHERE id = 7")
        audit.record(conn, AuditEvent(action="claim.approved", target="claim:7"))
    with psycopg.connect(dsn) as conn:
        repair_record(conn)


def test_a_spooled_event_is_logged_once_however_often_it_is_replayed(dsn: str, tmp_path: Path) -> None:
    """The change is committed; its event waits in a file, and is logged once."""
    change_while_broken(dsn, tmp_path)
    assert value_in(dsn, "SELECT status FROM claim") == "approved"
    (path,) = spool.files(tmp_path)
    saved = path.read_text()
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert replay(conn, path).recorded == 1
        assert replay(conn, path).recorded == 0
        path.write_text(saved)
        assert replay(conn, path).recorded == 1
    with worker_process(dsn, PGAUDIT_SPOOL_DIR=str(tmp_path)):
        wait_until("the queue is empty", lambda: value_in(dsn, COUNT_JOBS) == 0)
    assert value_in(dsn, LOG_SIZE) == 1


def test_a_worker_replays_the_spool_by_itself(dsn: str, tmp_path: Path) -> None:
    """A worker on the same machine replays the spool."""
    change_while_broken(dsn, tmp_path)
    with worker_process(dsn, PGAUDIT_SPOOL_DIR=str(tmp_path), PGAUDIT_STALLED_AFTER="2"):
        wait_until("the log has 1 event", lambda: value_in(dsn, LOG_SIZE) == 1)
        wait_until("the spool is empty", lambda: spool.files(tmp_path) == [])
