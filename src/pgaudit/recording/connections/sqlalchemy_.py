"""Connections and sessions of SQLAlchemy 2, whatever driver is below."""

# isinstance() leaves open what rows a connection returns.
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final, LiteralString

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.orm import Session, scoped_session

from pgaudit.recording.connections.transaction import (
    CAPTURED_OPERATIONS,
    not_in_transaction,
    refuse_asynchronous,
    refuse_synchronous,
    refuse_unknown,
    statement,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

# As text: JSON means the same to every driver below.
EVENTS: Final = "CAST(CAST(:events AS text) AS jsonb)"
RECORD: Final = "SELECT pgaudit.record(CAST(CAST(:events AS text) AS jsonb))"
RECORD_INLINE: Final = "SELECT pgaudit.record_inline(CAST(CAST(:events AS text) AS jsonb))"
TRY_RECORD: Final = "SELECT * FROM pgaudit.try_record(CAST(CAST(:events AS text) AS jsonb), :inline)"
IDENTIFY: Final = text("SELECT set_config('audit.context', :setting, true)")
RECORD_UNCAPTURED: Final = "SELECT pgaudit.record_uncaptured(CAST(CAST(:events AS text) AS jsonb))"
CAPTURED: Final = CAPTURED_OPERATIONS + "to_regclass(CAST(:table AS text))"


class SqlalchemyTransaction:
    """The transaction of a Connection; for a Session, the Connection that it uses: the session itself would flush."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def record(self, events: str, *, inline: bool, receipts: bool) -> None:
        self._conn.execute(clause(RECORD_INLINE if inline else RECORD, receipts=receipts), {"events": events})

    def try_record(self, events: str, *, inline: bool, receipts: bool) -> Sequence[Any]:
        return self._conn.execute(clause(TRY_RECORD, receipts=receipts), {"events": events, "inline": inline}).one()

    def identify(self, setting: str) -> None:
        self._conn.execute(IDENTIFY, {"setting": setting})

    def record_uncaptured(self, changes: str, *, receipts: bool) -> None:
        self._conn.execute(clause(RECORD_UNCAPTURED, receipts=receipts), {"events": changes})

    def captured_operations(self, table: str) -> list[str]:
        return str(self._conn.execute(text(CAPTURED), {"table": table}).scalar_one()).split(",")

    def fetch_row(self, query: LiteralString) -> Sequence[Any]:
        return self._conn.exec_driver_sql(query).one()


class AsyncSqlalchemyTransaction:
    """The transaction of an AsyncConnection; for an AsyncSession, the AsyncConnection that it uses."""

    def __init__(self, conn: AsyncConnection) -> None:
        self._conn = conn

    async def record(self, events: str, *, inline: bool, receipts: bool) -> None:
        await self._conn.execute(clause(RECORD_INLINE if inline else RECORD, receipts=receipts), {"events": events})

    async def try_record(self, events: str, *, inline: bool, receipts: bool) -> Sequence[Any]:
        return (
            await self._conn.execute(clause(TRY_RECORD, receipts=receipts), {"events": events, "inline": inline})
        ).one()

    async def identify(self, setting: str) -> None:
        await self._conn.execute(IDENTIFY, {"setting": setting})

    async def fetch_row(self, query: LiteralString) -> Sequence[Any]:
        return (await self._conn.exec_driver_sql(query)).one()


@cache
def clause(query: LiteralString, *, receipts: bool) -> TextClause:
    """Returns the query as SQLAlchemy takes it, with receipts if they are wanted."""
    return text(statement(query, EVENTS, receipts=receipts))


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
    connection = conn.connection() if isinstance(conn, Session) else conn
    require_transaction(connection)
    return SqlalchemyTransaction(connection)


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
    return AsyncSqlalchemyTransaction(connection)


def require_transaction(connection: Connection | None) -> None:
    """Raises unless the connection leads to Postgres and is in a transaction. Asks the driver alone, without I/O."""
    if connection is not None and connection.dialect.name != "postgresql":
        refuse_unknown(connection)
    driver = connection.connection.dbapi_connection if connection is not None else None
    if driver is not None and driver.autocommit:
        raise not_in_transaction("with engine.begin() as conn:")
