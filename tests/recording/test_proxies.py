"""Connections in the transparent proxies of tracing agents."""

from typing import Any

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings


class Proxy:
    """Stands for another object: isinstance() sees through it, type() does not."""

    def __init__(self, wrapped: Any) -> None:
        object.__setattr__(self, "_wrapped", wrapped)

    @property  # type: ignore[misc]  # a proxy answers for what it wraps
    def __class__(self) -> Any:
        return type(self._wrapped)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_wrapped"), name)


def test_a_wrapped_connection_and_its_cursor_record(dsn: str, settings: Settings) -> None:
    """Recording goes by what the proxy stands for."""
    with psycopg.connect(dsn) as conn:
        AuditLog(settings).record(Proxy(conn), AuditEvent(action="claim.approved"))
        AuditLog(settings).record(Proxy(conn.cursor()), AuditEvent(action="claim.approved"))
        assert conn.execute("SELECT count(*) FROM pgaudit.audit_jobs").fetchone() == (2,)
