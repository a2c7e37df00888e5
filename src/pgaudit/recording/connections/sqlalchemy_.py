"""Connections and sessions of SQLAlchemy 2, whatever driver is below."""

# isinstance() leaves open what rows a connection returns.
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session, scoped_session

from pgaudit.recording.connections.transaction import (
    XID,
    not_in_transaction,
    refuse_asynchronous,
    refuse_synchronous,
    refuse_unknown,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

# As text: JSON means the same to every driver below.
RECORD: Final = text("SELECT pgaudit.record(CAST(CAST(:events AS text) AS jsonb))")
RECORD_INLINE: Final = text("SELECT pgaudit.record_inline(CAST(CAST(:events AS text) AS jsonb))")


class SqlalchemyTransaction:
    """The transaction of a Connection or Session."""

    def __init__(self, conn: Connection | Session) -> None:
        self._conn = conn

    def record(self, events: str, *, inline: bool) -> None:
        self._conn.execute(RECORD_INLINE if inline else RECORD, {"events": events})

    def savepoint(self) -> AbstractContextManager[Any]:
        return self._conn.begin_nested()

    def xid(self) -> str:
        return str(self._conn.execute(text(XID)).scalar_one())


class AsyncSqlalchemyTransaction:
    """The transaction of an AsyncConnection or AsyncSession."""

    def __init__(self, conn: AsyncConnection | AsyncSession) -> None:
        self._conn = conn

    async def record(self, events: str, *, inline: bool) -> None:
        await self._conn.execute(RECORD_INLINE if inline else RECORD, {"events": events})

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        return self._conn.begin_nested()

    async def xid(self) -> str:
        return str((await self._conn.execute(text(XID))).scalar_one())


def sync_transaction(conn: object) -> SqlalchemyTransaction:
    """Returns the transaction that a Connection or Session is in."""
    if isinstance(conn, scoped_session):
        return sync_transaction(conn())
    # It needs greenlet, which SQLAlchemy alone does not install. A connection of it exists only if it was imported.
    asyncio = sys.modules.get("sqlalchemy.ext.asyncio")
    if asyncio and isinstance(conn, asyncio.AsyncConnection | asyncio.AsyncSession | asyncio.async_scoped_session):
        refuse_asynchronous(conn)
    if not isinstance(conn, Connection | Session):
        refuse_unknown(conn)
    require_transaction(conn.connection() if isinstance(conn, Session) else conn)
    return SqlalchemyTransaction(conn)


async def async_transaction(conn: object) -> AsyncSqlalchemyTransaction:
    """Returns the transaction that an AsyncConnection or AsyncSession is in."""
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session  # noqa: PLC0415 - as above

    if isinstance(conn, async_scoped_session):
        return await async_transaction(conn())
    if isinstance(conn, Connection | Session | scoped_session):
        refuse_synchronous(conn)
    if not isinstance(conn, AsyncConnection | AsyncSession):
        refuse_unknown(conn)
    connection = await conn.connection() if isinstance(conn, AsyncSession) else conn
    require_transaction(connection.sync_connection)
    return AsyncSqlalchemyTransaction(conn)


def require_transaction(connection: Connection | None) -> None:
    """Raises unless the connection leads to Postgres and is in a transaction. Asks the driver alone, without I/O."""
    if connection is not None and connection.dialect.name != "postgresql":
        refuse_unknown(connection)
    driver = connection.connection.dbapi_connection if connection is not None else None
    if driver is not None and driver.autocommit:
        raise not_in_transaction("with engine.begin() as conn:")
