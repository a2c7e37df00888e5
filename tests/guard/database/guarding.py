"""Events of the application for claims, and transactions that a guard refuses."""

from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from tests.support.queries import Connection

UPDATE = "UPDATE claims SET status = 'paid' WHERE id = 7"


def paid(target: str = "claim:7", **values: Any) -> AuditEvent:
    """Returns an event for a claim."""
    return AuditEvent(**{"action": "claim.paid", "target": target, "actor": "user:42"} | values)


def record(conn: Connection, *events: AuditEvent) -> None:
    """Records events."""
    AuditLog(Settings()).record(conn, *events)


def refused(conn: Connection, match: str = "without an audit event") -> psycopg.Error:
    """Asserts that the transaction cannot be committed, and returns the error."""
    with pytest.raises(psycopg.Error, match=match) as error:
        conn.commit()
    assert error.value.sqlstate == "PA002"
    conn.rollback()
    return error.value


def statuses(conn: Connection) -> list[str]:
    """Returns the status of each claim."""
    return [status for (status,) in conn.execute("SELECT status FROM claims ORDER BY id").fetchall()]
