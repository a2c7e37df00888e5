"""Recording, on a real server."""

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings


def test_a_rolled_back_transaction_leaves_no_event(conn: psycopg.Connection, settings: Settings) -> None:
    """The event shares the fate of the caller's transaction."""
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved"))
    conn.rollback()
    assert conn.execute("SELECT count(*) FROM pgaudit.procrastinate_jobs").fetchone() == (0,)
