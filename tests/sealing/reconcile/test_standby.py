"""Reconciling on a standby, and after its promotion."""

from pathlib import Path

import psycopg

from pgaudit import AuditLog, Settings
from pgaudit.sealing.reconcile import Reconciled, inspect, reconcile
from pgaudit.testing.server import TemporaryServer
from tests.support.events import events
from tests.support.queries import value_in
from tests.support.standby import Standby
from tests.support.waiting import wait_until

COUNT = "SELECT count(*) FROM pgaudit.audit_jobs"


def record(server: TemporaryServer, count: int) -> None:
    """Records events with receipts."""
    with psycopg.connect(server.conninfo) as conn:
        AuditLog(Settings(dsn=server.conninfo, wal_receipts=True)).record(conn, *events(count))


def wal_of(server: TemporaryServer) -> Path:
    """Returns the directory of its WAL."""
    return server.home / "data" / "pg_wal"


def reconciled(server: TemporaryServer, directory: Path) -> Reconciled:
    """Compares the WAL in a directory with the database of a server."""
    with psycopg.connect(server.conninfo, autocommit=True) as conn:
        return reconcile(conn, directory)


def test_a_standby_is_compared_up_to_where_it_is(primary: TemporaryServer, standby: Standby) -> None:
    """What the primary has committed since, and the standby has not replayed, is not missing."""
    record(primary, 2)
    wait_until("the standby has two events", lambda: value_in(standby.conninfo, COUNT) == 2)
    with psycopg.connect(standby.conninfo, autocommit=True) as conn:
        conn.execute("SELECT pg_wal_replay_pause()")
        wait_until(
            "replay is paused", lambda: value_in(standby.conninfo, "SELECT pg_get_wal_replay_pause_state()") == "paused"
        )
        record(primary, 3)
        report = reconciled(standby, wal_of(primary))
        assert (report.receipts, report.in_queue, report.lost, report.unread_bytes) == (2, 2, 0, None)
        assert inspect(conn).committed == 2


def test_a_promoted_standby_is_reconciled_on_its_timeline(primary: TemporaryServer, standby: Standby) -> None:
    """Its newest timeline is read; on the old one, what it never had is lost."""
    record(primary, 2)
    wait_until("the standby has two events", lambda: value_in(standby.conninfo, COUNT) == 2)
    standby.halt()
    record(primary, 1)
    primary.halt("immediate")
    standby.start()
    standby.promote()
    record(standby, 4)
    report = reconciled(standby, wal_of(standby))
    assert (report.timeline, report.lost) == (2, 0)
    assert report.in_queue >= 4
    old = reconciled(standby, wal_of(primary))
    assert (old.timeline, old.receipts, old.lost) == (1, 3, 1)
