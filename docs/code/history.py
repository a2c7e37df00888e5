"""Imports an old log."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, TypedDict
from uuid import UUID, uuid5

import psycopg

from pgaudit import AuditEvent, AuditLog

audit = AuditLog()
OLD_LOG: Final = UUID("3f0a8f6e-6f0a-4c39-9f0b-0a4a3c1f7d52")


class OldRow(TypedDict):
    """A row of the old log."""

    id: str
    action: str
    user_id: str
    claim_id: str
    created_at: datetime
    payload: dict[str, Any]


def bring_in(conn: psycopg.Connection[Any], old: Iterable[OldRow]) -> None:
    """Records rows of the old log. Call it with some thousand rows at a time; each call is one transaction."""
    events = [
        AuditEvent(
            id=uuid5(OLD_LOG, row["id"]),
            action=row["action"],
            occurred_at=row["created_at"],
            actor=f"user:{row['user_id']}",
            target=f"claim:{row['claim_id']}",
            data=row["payload"],
        )
        for row in old
    ]
    with conn.transaction():
        audit.record(conn, *events)
