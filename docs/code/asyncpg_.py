"""asyncpg: the transaction is the block."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg

from pgaudit import AuditEvent, AuditLog, bind, identify_async, worker

audit = AuditLog()


async def approve(pool: asyncpg.Pool, claim: int) -> None:
    """Both are committed at the end of the inner block, or neither."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE claims SET status = 'approved' WHERE id = $1", claim)
        await audit.record_async(conn, AuditEvent(action="claim.approved", actor="user:42", target=f"claim:{claim}"))


async def approve_captured(pool: asyncpg.Pool, claim: int) -> None:
    """What a trigger captures after identify_async() has the actor that is bound."""
    with bind(actor="user:42"):
        async with pool.acquire() as conn, conn.transaction():
            await identify_async(conn)
            await conn.execute("UPDATE claims SET status = 'approved' WHERE id = $1", claim)


@asynccontextmanager
async def serving(dsn: str) -> AsyncGenerator[asyncpg.Pool]:
    """The application's pool, and a worker beside it."""
    async with asyncpg.create_pool(dsn) as pool, worker.running():
        yield pool
