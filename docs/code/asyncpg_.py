"""asyncpg: the transaction is the block."""

import asyncpg

from pgaudit import AuditEvent, AuditLog

audit = AuditLog()


async def approve(pool: asyncpg.Pool, claim: int) -> None:
    """Both are committed at the end of the inner block, or neither."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE claims SET status = 'approved' WHERE id = $1", claim)
        await audit.record_async(conn, AuditEvent(action="claim.approved", actor="user:42", target=f"claim:{claim}"))
