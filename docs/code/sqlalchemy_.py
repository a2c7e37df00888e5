"""SQLAlchemy: a Session or a Connection, synchronous or not."""

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from pgaudit import AuditEvent, AuditLog
from pgaudit.sqlalchemy import identify_transactions

audit = AuditLog()
APPROVE = text("UPDATE claims SET status = 'approved' WHERE id = :id")


def approve(session: Session, claim: int) -> None:
    """With the ORM; the caller commits the session."""
    session.execute(APPROVE, {"id": claim})
    audit.record(session, AuditEvent(action="claim.approved", actor="user:42", target=f"claim:{claim}"))


def approve_with_core(conn: Connection, claim: int) -> None:
    """Inside ``with engine.begin() as conn``."""
    conn.execute(APPROVE, {"id": claim})
    audit.record(conn, AuditEvent(action="claim.approved", actor="user:42", target=f"claim:{claim}"))


async def approve_async(session: AsyncSession, claim: int) -> None:
    """An AsyncSession, whether psycopg or asyncpg is below."""
    await session.execute(APPROVE, {"id": claim})
    await audit.record_async(session, AuditEvent(action="claim.approved", actor="user:42", target=f"claim:{claim}"))


def identified_engine(url: str) -> Engine:
    """Each transaction that writes tells the database what is bound; the same for an AsyncEngine."""
    engine = create_engine(url)
    identify_transactions(engine)
    return engine
