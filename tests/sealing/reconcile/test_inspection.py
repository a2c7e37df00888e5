"""What can be proved without the WAL: hashes of queued jobs, and that transactions were committed."""

from collections.abc import Iterator

import psycopg
import pytest

from pgaudit import AuditLog, Settings, grants
from pgaudit.sealing.reconcile import inspect
from tests.sealing.reconcile.conftest import triggers_off
from tests.support.events import events
from tests.support.jobs import record_and_commit, record_persist_and_commit
from tests.support.queries import Connection, value
from tests.support.roles import temporary_roles


@pytest.fixture
def used(dsn: str) -> Iterator[Connection]:
    """A connection in autocommit to a database with three events in the log and two in the queue."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        record_persist_and_commit(conn, *events(3))
        record_and_commit(conn, *events(2))
        yield conn


def test_a_clean_database_has_no_findings(used: Connection) -> None:
    """All jobs are intact, and all transactions were committed."""
    report = inspect(used)
    assert (report.jobs, report.events, report.committed, report.findings) == (2, 3, 5, [])
    assert (report.forgotten, report.foreign, report.found) == (0, 0, 0)


def test_a_reader_can_inspect(used: Connection, dsn: str) -> None:
    """It needs the rights of a reader, and no more."""
    with temporary_roles(dsn, "i_reader"):
        with psycopg.connect(dsn) as owner:
            grants.grant(owner, reader="i_reader")
        with psycopg.connect(dsn, user="i_reader", autocommit=True) as reader:
            assert inspect(reader) == inspect(used)


def test_an_edited_job_is_named(used: Connection) -> None:
    """A job whose event is not the one of its hash is named by its number."""
    job = value(used, "SELECT max(id) FROM pgaudit.audit_jobs")
    with triggers_off(used, "pgaudit.audit_jobs"):
        used.execute('UPDATE pgaudit.audit_jobs SET event = event || \'{"reason": "x"}\' WHERE id = %s', [job])
    (finding,) = inspect(used).findings
    assert (finding.kind, finding.place) == ("altered", f"job {job}")


def test_an_event_of_a_transaction_that_was_rolled_back_is_named(used: Connection, dsn: str) -> None:
    """Such an event can only have been written by hand."""
    with psycopg.connect(dsn) as other:
        AuditLog(Settings(dsn=dsn)).record(other, *events(1))
        xid = value(other, "SELECT pg_current_xact_id()::text")
        other.rollback()
    partition = value(used, "SELECT tableoid::regclass::text FROM pgaudit.audit_log LIMIT 1")
    with triggers_off(used, "pgaudit.audit_log", partition):
        used.execute(
            "UPDATE pgaudit.audit_log SET event = event || jsonb_build_object('xid', %s::text) WHERE index = 1", [xid]
        )
    (finding,) = inspect(used).findings
    assert (finding.kind, finding.place) == ("uncommitted", "event 1")
    assert f"{xid} is aborted" in finding.message


def test_transactions_of_another_server_are_counted_apart(used: Connection) -> None:
    """After a restore from a dump the server does not know the transactions: that is no finding."""
    with triggers_off(used, "pgaudit.audit_jobs"):
        used.execute('UPDATE pgaudit.audit_jobs SET event = event || \'{"xid": "999999999999"}\'')
        used.execute("UPDATE pgaudit.audit_jobs SET leaf_hash = pgaudit.leaf_hash(event)")
    report = inspect(used)
    assert (report.committed, report.foreign, report.found) == (3, 2, 0)
