"""Connections and cursors of psycopg 3."""

# isinstance() leaves open what rows a connection returns.
# pyright: reportUnknownArgumentType=false

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from pgaudit.recording.connections.transaction import (
    XID,
    not_in_transaction,
    refuse_asynchronous,
    refuse_synchronous,
    refuse_unknown,
)

RECORD: Final = "SELECT pgaudit.record(%s)"
RECORD_INLINE: Final = "SELECT pgaudit.record_inline(%s)"


class PsycopgTransaction:
    """The transaction of a Connection."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn

    def record(self, events: str, *, inline: bool) -> None:
        with psycopg.Cursor(self._conn) as cursor:  # the connection's own may be a raw one
            cursor.execute(RECORD_INLINE if inline else RECORD, [events])

    def savepoint(self) -> AbstractContextManager[Any]:
        return self._conn.transaction()

    def xid(self) -> str:
        with psycopg.Cursor(self._conn, row_factory=tuple_row) as cursor:
            (xid,) = cursor.execute(XID).fetchone() or ("",)
        return str(xid)


class AsyncPsycopgTransaction:
    """The transaction of an AsyncConnection."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self._conn = conn

    async def record(self, events: str, *, inline: bool) -> None:
        async with psycopg.AsyncCursor(self._conn) as cursor:
            await cursor.execute(RECORD_INLINE if inline else RECORD, [events])

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        return self._conn.transaction()

    async def xid(self) -> str:
        async with psycopg.AsyncCursor(self._conn, row_factory=tuple_row) as cursor:
            (xid,) = await (await cursor.execute(XID)).fetchone() or ("",)
        return str(xid)


def sync_transaction(conn: object) -> PsycopgTransaction:
    """Returns the transaction that a Connection, or a cursor's connection, is in."""
    if isinstance(conn, psycopg.Cursor):
        conn = conn.connection
    if isinstance(conn, psycopg.AsyncConnection | psycopg.AsyncCursor):
        refuse_asynchronous(conn)
    if not isinstance(conn, psycopg.Connection):
        refuse_unknown(conn)
    refuse_autocommit(conn)
    return PsycopgTransaction(conn)


async def async_transaction(conn: object) -> AsyncPsycopgTransaction:
    """Returns the transaction that an AsyncConnection, or a cursor's connection, is in."""
    if isinstance(conn, psycopg.AsyncCursor):
        conn = conn.connection
    if isinstance(conn, psycopg.Connection | psycopg.Cursor):
        refuse_synchronous(conn)
    if not isinstance(conn, psycopg.AsyncConnection):
        refuse_unknown(conn)
    refuse_autocommit(conn)
    return AsyncPsycopgTransaction(conn)


def refuse_autocommit(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Raises NotInTransaction when the connection would commit the event on its own."""
    if conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        raise not_in_transaction("with conn.transaction():")
