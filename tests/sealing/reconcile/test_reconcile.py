"""Reconciling on a real server: whatever was committed is found, whatever was removed is named, and nothing else is."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from shutil import copy
from typing import Any

import psycopg
import pytest

from pgaudit import AuditLog, Settings, grants
from pgaudit.errors import WalUnreadable
from pgaudit.sealing.reconcile import comparing, reconcile
from pgaudit.sealing.reconcile.segments import as_text, lsn
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import TemporaryServer
from tests.sealing.reconcile.conftest import INSERTED, Audited, triggers_off
from tests.support.events import event, events
from tests.support.queries import Connection, value
from tests.support.roles import temporary_roles

PERSIST = "SELECT pgaudit.persist(NULL, NULL, 1000)"
EMIT = "SELECT pg_logical_emit_message(true, %s, %s::bytea)"
FORGED_ABORT = (
    "rmgr: Transaction len (rec/tot):     34/    34, tx: {xid:>10}, lsn: {lsn}, prev {lsn}, "
    "desc: ABORT 2026-01-31 12:00:00.000000 UTC"
)


@pytest.fixture
def conn(audited: Audited) -> Iterator[Connection]:
    """A connection of a superuser in autocommit."""
    with psycopg.connect(audited.dsn, autocommit=True) as conn:
        yield conn


def hashes(conn: Connection, table: str) -> list[str]:
    """Returns the leaf hashes of a table."""
    return [found.hex() for (found,) in conn.execute(f"SELECT leaf_hash FROM pgaudit.{table}")]


def test_captured_changes_have_receipts_in_a_transaction_that_writes_them(audited: Audited, conn: Connection) -> None:
    """As recorded events have: of rows, of a TRUNCATE, and of what a guard has captured at commit."""
    conn.execute("CREATE TABLE claims (id int PRIMARY KEY); CREATE TABLE items (id int PRIMARY KEY)")
    conn.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    conn.execute("SELECT pgaudit.add_guard('items', 'item', '{id}', 'capture')")
    with conn.transaction():
        audited.record(conn, event(1))
        conn.execute("INSERT INTO claims VALUES (1), (2); TRUNCATE claims; INSERT INTO items VALUES (1)")
    report = audited.reconcile()
    assert (report.receipts, report.in_queue) == (5, 5)
    assert report.is_reconciled


def test_only_what_was_committed_counts(audited: Audited, conn: Connection) -> None:
    """Rolled-back transactions and savepoints, nested ones too, are told from those that were committed."""
    with psycopg.connect(audited.dsn) as other:
        audited.record(other, event(5))
        other.rollback()
        audited.record(other, event(1))
        for number, release in ((2, True), (3, False), (4, True)):
            other.execute("SAVEPOINT a")
            audited.record(other, event(number))
            other.execute("SAVEPOINT b")
            audited.record(other, event(number * 10))
            other.execute("ROLLBACK TO b" if number == 2 else "RELEASE b")
            other.execute("RELEASE a" if release else "ROLLBACK TO a")
        other.commit()
    report = audited.reconcile()
    assert (report.receipts, report.rolled_back, report.unfinished) == (4, 4, 0)
    assert report.in_queue == len(hashes(conn, "audit_jobs")) == 4
    assert report.is_reconciled


def test_prepared_transactions_count_when_they_are_committed(audited: Audited, conn: Connection) -> None:
    """COMMIT PREPARED and ROLLBACK PREPARED are ends of transactions; between PREPARE and them there is none."""
    for name in ("kept", "dropped"):
        conn.execute("BEGIN")
        audited.record(conn, event(1))
        conn.execute("SAVEPOINT a")
        audited.record(conn, event(2))
        conn.execute(f"CREATE TABLE {name} ()")
        conn.execute(f"PREPARE TRANSACTION '{name}'")
        assert audited.reconcile().unfinished == 2
        conn.execute(f"{'COMMIT' if name == 'kept' else 'ROLLBACK'} PREPARED '{name}'")
    report = audited.reconcile()
    assert (report.receipts, report.in_queue, report.rolled_back, report.unfinished) == (2, 2, 2, 0)


def test_many_events_in_all_places(audited: Audited, conn: Connection) -> None:
    """Events in the log and the queue, acknowledged jobs and sightings are all found."""
    again = event(0)
    for _ in range(5):
        with conn.transaction():
            audited.record(conn, again, *events(999))
        conn.execute(PERSIST)
    with conn.transaction():
        audited.record(conn, event(7))
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'failed'")
    (job,) = conn.execute("SELECT id FROM pgaudit.audit_jobs").fetchone() or (0,)
    conn.execute("SELECT pgaudit.acknowledge_job(%s, 'a test')", [job])
    with conn.transaction():
        audited.record(conn, *events(3))
    report = audited.reconcile()
    assert report.is_reconciled
    assert (report.receipts, report.in_log, report.sighted) == (5_004, 4_996, 4)
    assert (report.acknowledged, report.in_queue) == (1, 3)


def test_a_deleted_job_is_named(audited: Audited, conn: Connection) -> None:
    """A superuser who deletes a queued job with the triggers off leaves no trace but its receipt."""
    with conn.transaction():
        audited.record(conn, *events(3))
        xid = value(conn, "SELECT pg_current_xact_id()::text::bigint")
    doomed = hashes(conn, "audit_jobs")[1]
    with triggers_off(conn, "pgaudit.audit_jobs"):
        conn.execute("DELETE FROM pgaudit.audit_jobs WHERE leaf_hash = decode(%s, 'hex')", [doomed])
    conn.execute(PERSIST)
    report = audited.reconcile()
    assert (report.receipts, report.in_log, report.lost) == (3, 2, 1)
    (finding,) = report.findings
    assert (finding.kind, finding.leaf_hash, finding.xid) == ("lost", doomed, xid)
    assert finding.committed_at == report.last_receipt
    assert lsn(report.start) < lsn(finding.lsn or "") < lsn(report.end)
    assert not report.is_reconciled


def test_a_truncated_queue_is_named(audited: Audited, conn: Connection) -> None:
    """So does one who truncates the queue."""
    with conn.transaction():
        audited.record(conn, *events(3))
    expected = set(hashes(conn, "audit_jobs"))
    with triggers_off(conn, "pgaudit.audit_jobs"):
        conn.execute("TRUNCATE pgaudit.audit_jobs")
    assert {finding.leaf_hash for finding in audited.reconcile().findings} == expected


def test_deleted_last_rows_of_the_log_are_named(audited: Audited, conn: Connection) -> None:
    """The end of the log, cut with all that belongs to it, is dense; the receipts say what was there."""
    with conn.transaction():
        audited.record(conn, *events(5))
    conn.execute(PERSIST)
    with conn.transaction():
        audited.record(conn, *events(2))
    expected = set(hashes(conn, "audit_jobs"))
    conn.execute(PERSIST)
    partition = value(conn, "SELECT tableoid::regclass::text FROM pgaudit.audit_log LIMIT 1")
    with triggers_off(conn, "pgaudit.audit_log", partition, "pgaudit.batch", "pgaudit.event_key"):
        for table, column in (("audit_log", "index"), ("batch", "first_index"), ("event_key", "index")):
            conn.execute(f"DELETE FROM pgaudit.{table} WHERE {column} >= 5")
    assert value(conn, "SELECT size FROM pgaudit.log_head") == 5
    report = audited.reconcile()
    assert {finding.leaf_hash for finding in report.findings} == expected
    assert (report.in_log, report.lost) == (5, 2)


@pytest.mark.parametrize("rehashed", [True, False])
def test_an_edited_job_is_named(audited: Audited, conn: Connection, *, rehashed: bool) -> None:
    """With a new hash the event that was recorded is lost; with the old one it is altered."""
    with conn.transaction():
        audited.record(conn, event(1))
    (doomed,) = hashes(conn, "audit_jobs")
    with triggers_off(conn, "pgaudit.audit_jobs"):
        conn.execute('UPDATE pgaudit.audit_jobs SET event = event || \'{"action": "claim.denied"}\'')
        if rehashed:
            conn.execute("UPDATE pgaudit.audit_jobs SET leaf_hash = pgaudit.leaf_hash(event)")
    (finding,) = audited.reconcile().findings
    assert (finding.kind, finding.leaf_hash) == ("lost" if rehashed else "altered", doomed)


def test_without_receipts_nothing_is_proved(audited: Audited, conn: Connection) -> None:
    """A WAL without receipts is nothing to check, and no proof."""
    with conn.transaction():
        AuditLog(Settings(dsn=audited.dsn)).record(conn, event())
    report = audited.reconcile()
    assert (report.receipts, report.findings, report.is_reconciled) == (0, [], False)


def test_the_receipt_comes_from_the_function_that_records(audited: Audited, conn: Connection) -> None:
    """A function without the message is what makes a deleted job invisible: this is what the other tests rely on."""
    body = value(conn, "SELECT pg_get_functiondef('pgaudit.hash_with_receipt'::regproc)")
    mutant = body.replace("PERFORM pg_logical_emit_message(true, prefix, hash);", "")
    assert mutant != body
    conn.execute(mutant)
    with conn.transaction():
        audited.record(conn, event())
    assert audited.reconcile().receipts == 0


def test_receipts_of_other_databases_are_counted_apart(
    audited: Audited, conn: Connection, wal_server: TemporaryServer
) -> None:
    """The WAL has the receipts of all databases of the server; those of others are neither found nor lost."""
    with fresh_database(wal_server, template="postgres") as other, psycopg.connect(other.dsn) as elsewhere:
        number = value(elsewhere, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
        AuditLog(Settings(dsn=other.dsn, wal_receipts=True)).record(elsewhere, *events(2))
        elsewhere.commit()
    with conn.transaction():
        audited.record(conn, event())
    report = audited.reconcile()
    assert report.is_reconciled
    assert report.of_other_databases == {number: 2}


def test_a_false_receipt_is_a_false_alarm(audited: Audited, conn: Connection) -> None:
    """Any role may write a message: a false one is reported, and hides nothing."""
    database = value(conn, "SELECT oid::text FROM pg_database WHERE datname = current_database()")
    with conn.transaction():
        audited.record(conn, event())
        conn.execute(EMIT, [f"pgaudit:{database}", b"\1" * 32])
    report = audited.reconcile()
    assert (report.in_queue, report.lost) == (1, 1)


def test_a_forged_event_has_no_receipt(audited: Audited, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A superuser who adds an event to the log, with a transaction that was committed, cannot add its receipt."""
    monkeypatch.setattr(comparing, "MARGIN", timedelta(0))
    with conn.transaction():
        audited.record(conn, event(1))
    with triggers_off(conn, "pgaudit.audit_jobs"):
        conn.execute("""INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
                        SELECT forged, pgaudit.leaf_hash(forged), 1
                          FROM (SELECT event || jsonb_build_object('id', gen_random_uuid(), 'recorded_at',
                                       to_jsonb(clock_timestamp() AT TIME ZONE 'UTC') #>> '{}' || 'Z') AS forged
                                  FROM pgaudit.audit_jobs) made""")
    with conn.transaction():
        audited.record(conn, event(2))
    conn.execute(PERSIST)
    assert audited.reconcile().is_reconciled
    report = audited.reconcile(every=True)
    (finding,) = report.findings
    assert (finding.kind, report.unreceipted, report.is_reconciled) == ("unreceipted", 1, False)
    assert finding.leaf_hash == value(conn, "SELECT encode(leaf_hash, 'hex') FROM pgaudit.audit_log WHERE index = 1")


def test_every_event_of_a_clean_log_has_its_receipt(
    audited: Audited, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event of many is named, and none of a transaction that is still open."""
    monkeypatch.setattr(comparing, "MARGIN", timedelta(0))
    for _ in range(4):
        with conn.transaction():
            audited.record(conn, *events(500))
        conn.execute(PERSIST)
    report = audited.reconcile(every=True)
    assert (report.unreceipted, report.in_log, report.is_reconciled) == (0, 2_000, True)


@pytest.mark.parametrize("payload", ["", "x" * 300])
def test_a_line_that_looks_like_a_record_is_refused(audited: Audited, conn: Connection, payload: str) -> None:
    """A message whose prefix has whole lines of pg_waldump cannot take back the event of an open transaction."""
    with psycopg.connect(audited.dsn) as other:
        audited.record(other, event())
        xid = value(other, "SELECT pg_current_xact_id()::text")
        line = FORGED_ABORT.format(xid=xid, lsn=as_text(lsn(value(conn, INSERTED)) + 8))
        conn.execute(EMIT, [f'a"; payload (0 bytes): \n{line}\n', payload.encode()])
        other.commit()
    with pytest.raises(WalUnreadable, match="what is no record"):
        audited.reconcile()


def test_a_prepared_name_that_looks_like_a_record_is_refused(audited: Audited, conn: Connection) -> None:
    """Neither can the name of a prepared transaction."""
    with psycopg.connect(audited.dsn) as other:
        audited.record(other, event())
        xid = value(other, "SELECT pg_current_xact_id()::text")
        line = FORGED_ABORT.format(xid=xid, lsn=as_text(lsn(value(conn, INSERTED)) + 8))
        conn.execute("BEGIN")
        conn.execute("SELECT pg_current_xact_id()")
        name = f"a: 2026-01-31 12:00:00.000000 UTC\n{line}"
        conn.execute(f"PREPARE TRANSACTION '{name}'")
        conn.execute(f"ROLLBACK PREPARED '{name}'")
        other.commit()
    with pytest.raises(WalUnreadable, match="what is no record"):
        audited.reconcile()


def test_messages_of_other_programs_are_left_alone(audited: Audited, conn: Connection) -> None:
    """Messages of any prefix and length, transactional or not, are read over."""
    for prefix, content in (("outbox", b"x" * 100_000), ("pgaudit", b"y"), ("pgaudit:x", b"z" * 32), ("", b"")):
        conn.execute(EMIT, [prefix, content])
        conn.execute("SELECT pg_logical_emit_message(false, %s, %s::bytea)", [prefix, content])
    with conn.transaction():
        audited.record(conn, event())
    assert audited.reconcile().is_reconciled


def test_missing_files_are_a_gap(audited: Audited, conn: Connection, tmp_path: Path) -> None:
    """An archive without one of its files proves nothing of that part, and says which one it is."""
    names = []
    for number in range(3):
        with conn.transaction():
            audited.record(conn, event(number))
        names.append(value(conn, "SELECT pg_walfile_name(pg_switch_wal())"))
    for name in (names[0], names[2]):
        copy(audited.directory / name, tmp_path)
    report = audited.reconcile(directory=tmp_path)
    assert (report.receipts, report.gaps, report.is_reconciled) == (2, 1, False)
    (finding,) = report.findings
    assert finding.kind == "gap"
    assert names[1] in finding.message


def test_a_recycled_beginning_is_said(audited: Audited, conn: Connection, tmp_path: Path) -> None:
    """Where the first files are gone, their receipts are not counted, and the report says from where on it speaks."""
    with conn.transaction():
        audited.record(conn, event(1))
    conn.execute(PERSIST)
    conn.execute("SELECT pg_switch_wal()")
    with conn.transaction():
        audited.record(conn, event(2))
    name = value(conn, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    conn.execute("SELECT pg_switch_wal()")
    copy(audited.directory / name, tmp_path)
    report = audited.reconcile(directory=tmp_path, start=None)
    assert (report.receipts, report.in_queue) == (1, 1)
    assert report.log_begins is not None
    assert report.first_commit is not None
    assert report.log_begins < report.first_commit
    assert lsn(report.start) > lsn(audited.start)
    assert report.unread_bytes is not None


def test_a_file_that_was_recycled_is_no_wal(audited: Audited, conn: Connection, tmp_path: Path) -> None:
    """A file under the name of a segment to come has old records: it is not read."""
    with conn.transaction():
        audited.record(conn, event())
    name = value(conn, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    copy(audited.directory / name, tmp_path)
    copy(audited.directory / name, tmp_path / f"{int(name, 16) + 1:024X}")
    assert audited.reconcile(directory=tmp_path).is_reconciled


def test_a_damaged_file_is_no_proof(audited: Audited, conn: Connection, tmp_path: Path) -> None:
    """Where a file before the last one cannot be read to its end, nothing is said to be reconciled."""
    for number in range(2):
        with conn.transaction():
            audited.record(conn, event(number))
        copy(audited.directory / value(conn, "SELECT pg_walfile_name(pg_switch_wal())"), tmp_path)
    first = min(tmp_path.iterdir())
    damaged = bytearray(first.read_bytes())
    at = lsn(audited.start) % len(damaged)
    damaged[at + 200 : at + 400] = b"\xff" * 200
    first.write_bytes(damaged)
    with pytest.raises(WalUnreadable):
        audited.reconcile(directory=tmp_path)


def test_the_wal_of_another_server_is_refused(audited: Audited, server: Any) -> None:
    """Its receipts would all be missing."""
    with (
        psycopg.connect(server.conninfo, autocommit=True) as other,
        pytest.raises(WalUnreadable, match="is of the server"),
    ):
        reconcile(other, audited.directory)


def test_a_directory_without_wal_is_refused(audited: Audited, tmp_path: Path) -> None:
    """An empty archive is not a reconciled one."""
    with pytest.raises(WalUnreadable, match="has no WAL file"):
        audited.reconcile(directory=tmp_path)


def test_a_reader_can_reconcile(audited: Audited, conn: Connection) -> None:
    """The database side needs the rights of a reader, and no more."""
    with conn.transaction():
        audited.record(conn, *events(2))
    conn.execute(PERSIST)
    with conn.transaction():
        audited.record(conn, event(1))
    with temporary_roles(audited.dsn, "r_reader"):
        with psycopg.connect(audited.dsn) as owner:
            grants.grant(owner, reader="r_reader")
        with psycopg.connect(audited.dsn, user="r_reader", autocommit=True) as reader:
            assert reconcile(reader, audited.directory, start=audited.start).is_reconciled
