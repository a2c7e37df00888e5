"""Connections whose rows are dicts: pgaudit reads its own rows as tuples."""

from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from pgaudit import AuditLog, OnFailure, Settings, jobs
from pgaudit._schema import state
from pgaudit.recording import spool
from pgaudit.recording.replay import Replayed, replay
from tests.support.events import event
from tests.support.jobs import queued_ids
from tests.support.queries import Connection
from tests.support.spool import break_record, repair_record

INSERT_FAILED = """
    INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes, status)
    VALUES ('{"id": "1"}', decode('00', 'hex'), 11, 'failed') RETURNING id
"""


@pytest.fixture
def dicts(dsn: str) -> Generator[Connection]:
    """A connection whose rows are dicts."""
    with psycopg.connect(dsn, row_factory=dict_row) as conn:
        yield conn


def test_the_schema_is_read(dicts: Connection) -> None:
    """The state of the schema is read."""
    assert state.state_of(dicts) == state.SCRIPTS.state


def test_jobs_are_shown_and_retried(dicts: Connection) -> None:
    """A failed job is shown with its event, and retried."""
    (job,) = (row["id"] for row in dicts.execute(INSERT_FAILED))
    assert jobs.get_job(dicts, job).event == {"id": "1"}
    assert jobs.retry_jobs(dicts, [job]) == [job]


async def test_a_spooled_event_knows_its_transaction(
    dsn: str, dicts: Connection, conn: Connection, tmp_path: Path
) -> None:
    """A spooled event is replayed if its transaction was committed, and otherwise dropped."""
    audit = AuditLog(Settings(dsn=dsn, on_failure=OnFailure.SPOOL, spool_dir=tmp_path))
    break_record(conn)
    conn.commit()
    kept, dropped = event(1), event(2)
    audit.record(dicts, kept)
    dicts.commit()
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as other:
        await audit.record_async(other, dropped)
        await other.rollback()
    repair_record(conn)
    conn.commit()
    dicts.autocommit = True
    (path,) = spool.files(tmp_path)
    assert replay(dicts, path) == Replayed(recorded=1, rolled_back=1, pending=0)
    assert queued_ids(conn) == [kept.id]
