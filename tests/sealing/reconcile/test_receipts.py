"""Receipts in the WAL: of every driver and way of recording, in the statement that records, and only if wanted."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import AuditLog, InvalidEvent, Mode, OnFailure, Settings
from pgaudit.grants import grant
from pgaudit.recording import replay, spool
from pgaudit.recording.connections.psycopg_ import EVENTS, RECORD
from pgaudit.recording.connections.transaction import statement
from pgaudit.recording.document import to_portions
from pgaudit.worker.persist import persist_batch
from tests.sealing.reconcile.conftest import Audited
from tests.support.drivers import ASYNC, SYNC
from tests.support.events import event, events
from tests.support.queries import Connection, value
from tests.support.roles import temporary_roles
from tests.support.spool import break_record, repair_record

pytestmark = pytest.mark.anyio

INSERTED = "SELECT pg_current_wal_insert_lsn()"
SINCE = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)"
MANY = 1_000
BYTES_PER_RECEIPT = 96  # 24 header, 2 data header, 24 message header, 14 prefix at most, 32 hash


@pytest.mark.parametrize("library", SYNC)
def test_each_synchronous_driver_writes_receipts(audited: Audited, library: str) -> None:
    """An event has a receipt, recorded through any library."""
    with SYNC[library](audited.dsn) as conn:
        audited.record(conn, *events(2))
        audited.record(conn, event())
    report = audited.reconcile()
    assert (report.receipts, report.in_queue) == (3, 3)


@pytest.mark.parametrize("library", ASYNC)
async def test_each_asynchronous_driver_writes_receipts(audited: Audited, library: str) -> None:
    """An event has a receipt, recorded through any asynchronous library."""
    async with ASYNC[library](audited.dsn) as conn:
        await AuditLog(audited.settings).record_async(conn, *events(2))
    report = audited.reconcile()
    assert (report.receipts, report.in_queue) == (2, 2)


async def test_autonomous_events_have_receipts(audited: Audited) -> None:
    """An event in a transaction of its own has one, too; in the inline mode, as well."""
    AuditLog(audited.settings).record_autonomous(event())
    inline = AuditLog(audited.settings.model_copy(update={"mode": Mode.INLINE}))
    await inline.record_autonomous_async(event())
    report = audited.reconcile()
    assert (report.receipts, report.in_queue + report.in_log) == (2, 2)


def test_inline_events_have_receipts(audited: Audited) -> None:
    """An event that is appended in the business transaction has one."""
    settings = audited.settings.model_copy(update={"mode": Mode.INLINE})
    with psycopg.connect(audited.dsn) as conn:
        AuditLog(settings).record(conn, *events(3))
    report = audited.reconcile()
    assert (report.receipts, report.in_log) == (3, 3)


def test_spooled_events_have_receipts_when_they_are_replayed(audited: Audited, tmp_path: Path) -> None:
    """With spooling, an event has a receipt when it reaches the database: at once, or with the replay."""
    settings = audited.settings.model_copy(update={"on_failure": OnFailure.SPOOL, "spool_dir": tmp_path})
    with psycopg.connect(audited.dsn) as owner:
        with psycopg.connect(audited.dsn) as conn:
            AuditLog(settings).record(conn, event(1))
        break_record(owner)
        owner.commit()
        with psycopg.connect(audited.dsn) as conn:
            AuditLog(settings).record(conn, event(2))
        repair_record(owner)
    assert audited.reconcile().receipts == 1
    replay.replay_all(audited.dsn, settings)
    assert list(spool.files(tmp_path)) == []
    report = audited.reconcile()
    assert (report.receipts, report.in_queue) == (2, 2)


def test_without_the_setting_there_are_none(audited: Audited) -> None:
    """Receipts are off unless they are asked for; and those of one transaction are not those of the next."""
    with psycopg.connect(audited.dsn) as conn:
        audited.record(conn, event())
        conn.commit()
        AuditLog(Settings(dsn=audited.dsn)).record(conn, *events(2))
        conn.commit()
    assert audited.reconcile().receipts == 1


def test_a_refused_event_has_none(audited: Audited) -> None:
    """An event that the database refuses is neither recorded nor in the WAL as committed."""
    with psycopg.connect(audited.dsn) as conn:
        conn.execute("UPDATE pgaudit.settings SET max_event_bytes = 16384")
        conn.commit()
        large = event().model_copy(update={"data": {"text": "x" * 20_000}})
        with pytest.raises(InvalidEvent):
            audited.record(conn, event(), large)
    assert audited.reconcile().receipts == 0


def test_a_session_setting_asks_for_receipts_too(audited: Audited) -> None:
    """A program in another language sets audit.wal_receipts, for its role or its session."""
    with psycopg.connect(audited.dsn) as conn:
        conn.execute("SET audit.wal_receipts = 'on'")
        AuditLog(Settings(dsn=audited.dsn)).record(conn, event())
    assert audited.reconcile().receipts == 1


def test_a_writer_needs_no_further_right(audited: Audited) -> None:
    """`pgaudit grant --writer` is enough, and lets the role read nothing."""
    with temporary_roles(audited.dsn, "r_writer"):
        with psycopg.connect(audited.dsn) as owner:
            grant(owner, writer="r_writer")
        with psycopg.connect(audited.dsn, user="r_writer") as conn:
            audited.record(conn, event())
            conn.commit()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("SELECT pgaudit.hash_with_receipt('x', 'y')")
        assert audited.reconcile().in_queue == 1


def test_a_receipt_costs_96_bytes(audited: Audited) -> None:
    """A receipt is one record of the WAL, and no row."""
    document = to_portions(events(MANY), Settings().max_event_bytes)[0].document
    query = statement(RECORD, EVENTS, receipts=True)
    with psycopg.connect(audited.dsn, autocommit=True) as conn:
        for _ in range(6):  # until the statements are planned and the tables have their pages
            conn.execute(query, [document])
        conn.execute("CHECKPOINT")
        conn.execute(RECORD, [document])  # after it, the full images of the pages
        without = wal_of(conn, RECORD, document)
        assert wal_of(conn, query, document) - without == pytest.approx(BYTES_PER_RECEIPT * MANY, rel=0.05)


def wal_of(conn: Connection, query: Any, document: str) -> int:
    """Returns how many bytes of WAL a statement writes."""
    before = value(conn, INSERTED)
    conn.execute(query, [document])
    return int(value(conn, SINCE, [before]))


def test_recording_with_a_receipt_is_one_message(audited: Audited, tmp_path: Path) -> None:
    """There is no second round trip."""
    with psycopg.connect(audited.dsn) as conn, (tmp_path / "trace").open("w") as file:
        conn.execute("SELECT 1")
        conn.pgconn.trace(file.fileno())
        conn.pgconn.set_trace_flags(psycopg.pq.Trace.SUPPRESS_TIMESTAMPS)
        audited.record(conn, event())
        conn.pgconn.untrace()
    sent = [line.split("\t")[2] for line in (tmp_path / "trace").read_text().splitlines() if line.startswith("F\t")]
    assert sent.count("Sync") == 1


async def test_a_worker_takes_the_event_to_the_log(audited: Audited) -> None:
    """The receipt names the hash that the log has."""
    with psycopg.connect(audited.dsn) as conn:
        audited.record(conn, *events(5))
    async with await psycopg.AsyncConnection.connect(audited.dsn, autocommit=True) as worker:
        assert (await persist_batch(worker, None, None, Settings())).taken == 5
    report = audited.reconcile()
    assert (report.receipts, report.in_log, report.is_reconciled) == (5, 5, True)
