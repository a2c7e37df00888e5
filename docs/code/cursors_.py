"""Reads the log on from where it has ended, without a worker and without a destination."""

from collections.abc import AsyncIterator

import psycopg

import pgaudit
from pgaudit import trail


def count_approvals(conn: psycopg.Connection) -> int:
    """Counts what is new, and moves the cursor, in one transaction: each event counts once."""
    with conn.transaction():
        cursor = trail.cursor(conn, "approvals", "action:claim.approved", start=0)
        new = cursor.read(500)
        conn.execute("UPDATE approvals SET number = number + %s", [len(new)])
        cursor.advance()
    return len(new)


async def watch(last_seen: int) -> AsyncIterator[str]:
    """Yields what happens from now on; the caller keeps the index of the last event that it has handled."""
    async for entry in pgaudit.stream(from_index=last_seen + 1, query="action:claim.*"):
        yield f"{entry.index} {entry.action}"
