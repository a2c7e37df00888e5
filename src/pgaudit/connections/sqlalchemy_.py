"""Connections and sessions of SQLAlchemy 2, whatever driver is below."""

# isinstance() leaves open what rows a connection returns.
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, LiteralString

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.orm import Session, scoped_session

from pgaudit.connections.transaction import (
    XID,
    not_in_transaction,
    refuse_asynchronous,
    refuse_synchronous,
    refuse_unknown,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession


class SqlalchemyTransaction:
    """The transaction of a Connection or Session."""

    def __init__(self, conn: Connection | Session) -> None:
        self._conn = conn

    def execute(self, query: LiteralString, parameters: Sequence[Any]) -> None:
        statement, values = bound(query, parameters)
        self._conn.execute(statement, values)

    def savepoint(self) -> AbstractContextManager[Any]:
        return self._conn.begin_nested()

    def xid(self) -> str:
        return str(self._conn.execute(text(XID)).scalar_one())


class AsyncSqlalchemyTransaction:
    """The transaction of an AsyncConnection or AsyncSession."""

    def __init__(self, conn: AsyncConnection | AsyncSession) -> None:
        self._conn = conn

    async def execute(self, query: LiteralString, parameters: Sequence[Any]) -> None:
        statement, values = bound(query, parameters)
        await self._conn.execute(statement, values)

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        return self._conn.begin_nested()

    async def xid(self) -> str:
        return str((await self._conn.execute(text(XID))).scalar_one())


def bound(query: LiteralString, parameters: Sequence[Any]) -> tuple[TextClause, dict[str, Any]]:
    """The statement with named parameters. Sent as text, JSON means the same to every driver below."""
    values = {f"p{number}": value for number, value in enumerate(parameters)}
    for name in values:
        query = query.replace("%s", f"CAST(CAST(:{name} AS text) AS jsonb)", 1)  # pyright: ignore[reportAssignmentType] - a constant with a constant in it
    return text(query), values


def sync_transaction(conn: object) -> SqlalchemyTransaction:
    """The transaction that a Connection or Session is in."""
    if isinstance(conn, scoped_session):
        return sync_transaction(conn())
    # It needs greenlet, which SQLAlchemy alone does not bring: who has not imported it has nothing of it.
    asyncio = sys.modules.get("sqlalchemy.ext.asyncio")
    if asyncio and isinstance(conn, asyncio.AsyncConnection | asyncio.AsyncSession | asyncio.async_scoped_session):
        refuse_asynchronous(conn)
    if not isinstance(conn, Connection | Session):
        refuse_unknown(conn)
    refuse_unfit(conn.connection() if isinstance(conn, Session) else conn)
    return SqlalchemyTransaction(conn)


async def async_transaction(conn: object) -> AsyncSqlalchemyTransaction:
    """The transaction that an AsyncConnection or AsyncSession is in."""
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session  # noqa: PLC0415 - as above

    if isinstance(conn, async_scoped_session):
        return await async_transaction(conn())
    if isinstance(conn, Connection | Session | scoped_session):
        refuse_synchronous(conn)
    if not isinstance(conn, AsyncConnection | AsyncSession):
        refuse_unknown(conn)
    connection = await conn.connection() if isinstance(conn, AsyncSession) else conn
    refuse_unfit(connection.sync_connection)
    return AsyncSqlalchemyTransaction(conn)


def refuse_unfit(connection: Connection | None) -> None:
    """Raises when it leads elsewhere than to Postgres, or would commit the event on its own; asks the driver alone."""
    if connection is not None and connection.dialect.name != "postgresql":
        refuse_unknown(connection)
    driver = connection.connection.dbapi_connection if connection is not None else None
    if driver is not None and driver.autocommit:
        raise not_in_transaction("with engine.begin() as conn:")
