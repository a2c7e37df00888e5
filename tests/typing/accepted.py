"""What users may write: type-checked, never run."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import assert_type
from uuid import UUID

import psycopg

from pgaudit import Actor, AuditContext, AuditEvent, AuditLog, Change, Mode, Settings, Target, bind, health, worker

audit = AuditLog()
quiet = AuditLog(Settings(mode=Mode.OFF, batch_size=200))


def approve(conn: psycopg.Connection, claim: int) -> None:
    """References as strings, one target, an event of few fields."""
    with bind(actor="user:42", tenant="acme", request_id="r-1"):
        audit.record(conn, AuditEvent(action="claim.approved", target=f"claim:{claim}"))
    with conn.cursor() as cursor:
        audit.record(cursor, AuditEvent(action="claim.approved", actor="user:42", targets=["claim:7", "policy:3"]))
    audit.record_autonomous(AuditEvent(action="login.failed", outcome="denied", reason="wrong password"))


async def pay(conn: psycopg.AsyncConnection) -> None:
    """References as models, several targets, every field."""
    event = AuditEvent(
        id=UUID(int=7),
        action="claim.paid",
        occurred_at=datetime.now(UTC),
        actor=Actor(type="user", id="42", name="Ada", on_behalf_of="user:1"),
        targets=(Target(type="claim", id="7", role="paid"), "policy:3"),
        outcome="success",
        changes=[Change(path="status", before="open", after={"paid": Decimal("1.50")})],
        context=AuditContext(request_id="r-1", ip="::1"),
        data={"amount": Decimal("1.50"), "lines": [1, None]},
    )
    await audit.record_async(conn, event, AuditEvent(action="claim.closed", actor=None))
    await audit.record_autonomous_async(event)


@asynccontextmanager
async def lifespan(_application: object) -> AsyncGenerator[None]:
    """A worker in the application's event loop."""
    async with worker.running(Settings(dsn="dbname=claims")):
        yield


def look(event: AuditEvent, conn: psycopg.Connection) -> None:
    """Fields have one type, whatever they were made of."""
    assert_type(event.actor, Actor | None)
    assert_type(event.targets, tuple[Target, ...])
    assert_type(event.changes, tuple[Change, ...])
    assert_type(event.id, UUID)
    assert_type(audit.settings, Settings)
    assert_type(health.check(conn).status, health.Status)
    with worker.start_in_thread() as thread:
        assert_type(thread, worker.WorkerThread)
