"""Recording in a transaction of its own, beside the caller's."""

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pgaudit.recording.connections.psycopg_ import AsyncPsycopgTransaction, PsycopgTransaction

CONNECT_SECONDS: Final = 5
# How long an autonomous event waits for the end of the audit log: the caller's own transaction may hold it.
LOG_TIMEOUT: Final = "SET LOCAL lock_timeout = '2s'"


def record(conninfo: str, documents: Sequence[str], *, inline: bool, receipts: bool) -> None:
    """Opens a connection, records JSON arrays of events in one transaction, and commits."""
    with psycopg.connect(conninfo, **_limits(conninfo)) as conn:
        if inline and _append(conn, documents, receipts=receipts):
            return
        for document in documents:
            PsycopgTransaction(conn).record(document, inline=False, receipts=receipts)


async def record_async(conninfo: str, documents: Sequence[str], *, inline: bool, receipts: bool) -> None:
    """``record`` without blocking the event loop."""
    async with await psycopg.AsyncConnection.connect(conninfo, **_limits(conninfo)) as conn:
        if inline and await _append_async(conn, documents, receipts=receipts):
            return
        for document in documents:
            await AsyncPsycopgTransaction(conn).record(document, inline=False, receipts=receipts)


def _limits(conninfo: str) -> dict[str, Any]:
    """Returns the time limit of connecting, unless the conninfo has one: a request waits for it."""
    return {} if "connect_timeout" in conninfo_to_dict(conninfo) else {"connect_timeout": CONNECT_SECONDS}


def _append(conn: psycopg.Connection[Any], documents: Sequence[str], *, receipts: bool) -> bool:
    """Appends the events to the audit log. Returns False while another transaction holds it: they have to be queued."""
    conn.execute(LOG_TIMEOUT)
    try:
        with conn.transaction():
            for document in documents:
                PsycopgTransaction(conn).record(document, inline=True, receipts=receipts)
    except psycopg.errors.LockNotAvailable:
        return False
    return True


async def _append_async(conn: psycopg.AsyncConnection[Any], documents: Sequence[str], *, receipts: bool) -> bool:
    """``_append`` for asynchronous connections."""
    await conn.execute(LOG_TIMEOUT)
    try:
        async with conn.transaction():
            for document in documents:
                await AsyncPsycopgTransaction(conn).record(document, inline=True, receipts=receipts)
    except psycopg.errors.LockNotAvailable:
        return False
    return True
