"""psycopg: several events at once, an asynchronous connection, and an event that must survive a rollback."""

from typing import Any

import psycopg

from pgaudit import AuditEvent, AuditLog, bind, identify

audit = AuditLog()


def approve_all(conn: psycopg.Connection[Any], claims: list[int]) -> None:
    """One statement records all the events."""
    with conn.transaction():
        conn.execute("UPDATE claims SET status = 'approved' WHERE id = ANY (%s)", [claims])
        audit.record(conn, *(AuditEvent(action="claim.approved", target=f"claim:{claim}") for claim in claims))


def approve_batch(conn: psycopg.Connection[Any], claims: list[int]) -> None:
    """Every event that is recorded inside has this actor and this id, unless it sets its own."""
    with bind(actor="service:import", correlation_id="batch-17"):
        approve_all(conn, claims)


async def approve(conn: psycopg.AsyncConnection[Any], claim: int) -> None:
    """The same with an asynchronous connection."""
    async with conn.transaction():
        await conn.execute("UPDATE claims SET status = 'approved' WHERE id = %s", [claim])
        await audit.record_async(conn, AuditEvent(action="claim.approved", target=f"claim:{claim}"))


def approve_captured(conn: psycopg.Connection[Any], claim: int) -> None:
    """What a trigger captures after identify() has the actor that is bound."""
    with bind(actor="user:42"), conn.transaction():
        identify(conn)
        conn.execute("UPDATE claims SET status = 'approved' WHERE id = %s", [claim])


def refuse(user: str, claim: int) -> None:
    """There is no change to record this with: it opens a connection of its own to PGAUDIT_DSN, and commits."""
    audit.record_autonomous(
        AuditEvent(action="claim.approved", actor=f"user:{user}", target=f"claim:{claim}", outcome="denied")
    )
