"""Tests of an application that records."""

import psycopg

from pgaudit import AuditEvent, AuditLog
from pgaudit.testing import AuditDatabase, RecordedEvents, assert_recorded, run_worker_once

audit = AuditLog()


def approve(conn: object, claim: int) -> None:
    """The code under test."""
    audit.record(conn, AuditEvent(action="claim.approved", target=f"claim:{claim}", data={"amount": "1000.00"}))


def test_approval_is_audited(audit_events: RecordedEvents) -> None:
    """In memory: no database is needed, and any object does for a connection."""
    approve(None, 7)
    audit_events.assert_recorded(action="claim.approved", target="claim:7")


def test_approval_reaches_the_log(audit_database: AuditDatabase) -> None:
    """On a server of the test's own: what was recorded is persisted as a worker would, before the call returns."""
    with psycopg.connect(audit_database.dsn) as conn:
        approve(conn, 7)
        run_worker_once(conn)
        assert_recorded(conn, action="claim.approved", data={"amount": "1000.00"})
