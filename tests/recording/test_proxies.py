"""Connections in the transparent proxies of tracing agents."""

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings
from tests.support.proxies import Proxy


def test_a_wrapped_connection_and_its_cursor_record(dsn: str, settings: Settings) -> None:
    """Recording goes by what the proxy stands for."""
    with psycopg.connect(dsn) as conn:
        AuditLog(settings).record(Proxy(conn), AuditEvent(action="claim.approved"))
        AuditLog(settings).record(Proxy(conn.cursor()), AuditEvent(action="claim.approved"))
        assert conn.execute("SELECT count(*) FROM pgaudit.audit_jobs").fetchone() == (2,)
