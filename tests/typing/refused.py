"""Mistakes that a type checker finds: every ignore here is needed, or the check fails. Never run."""

import psycopg

from pgaudit import Actor, AuditEvent, AuditLog, Change, bind

audit = AuditLog()
event = AuditEvent(action="claim.approved")

AuditLog("dbname=claims")  # type: ignore[arg-type]
AuditEvent()  # type: ignore[call-arg]
AuditEvent(action="claim.approved", actr="user:42")  # type: ignore[call-arg]
AuditEvent(action="claim.approved", actor=42)  # type: ignore[arg-type]
AuditEvent(action="claim.approved", outcome="maybe")  # type: ignore[arg-type]
AuditEvent(action="claim.approved", changes=[{"path": "status"}])  # type: ignore[list-item]
Actor(type="user")  # type: ignore[call-arg]
Change(before="open", after="approved")  # type: ignore[call-arg]
event.action = "claim.rejected"  # type: ignore[misc]


def record(conn: psycopg.Connection) -> None:
    """Not an event, or several in a list."""
    audit.record(conn, "claim.approved")  # type: ignore[arg-type]
    audit.record(conn, [event])  # type: ignore[arg-type]
    audit.record()  # type: ignore[call-arg]
    with bind(actor=42):  # type: ignore[arg-type]
        audit.record_autonomous({"action": "claim.approved"})  # type: ignore[arg-type]


async def forget(conn: psycopg.AsyncConnection) -> None:
    """Without an await nothing is recorded."""
    audit.record_async(conn, event)  # type: ignore[unused-coroutine]
