"""The caller's connection, whatever library it is of: one statement, in the caller's transaction."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, LiteralString, Protocol

import psycopg
from psycopg.pq import TransactionStatus

from pgaudit.errors import NotInTransaction, UnknownConnection

XID = "SELECT pg_current_xact_id()::text"
ACCEPTED = "a psycopg Connection, AsyncConnection, or a cursor of one"


class Transaction(Protocol):
    """What recording needs of a synchronous connection."""

    def execute(self, query: LiteralString, parameters: Sequence[Any]) -> None:
        """Runs one statement."""
        ...

    def savepoint(self) -> AbstractContextManager[Any]:
        """A part of the transaction that an error rolls back alone."""
        ...

    def xid(self) -> str:
        """Number of the transaction."""
        ...


class AsyncTransaction(Protocol):
    """The same of an asynchronous one."""

    async def execute(self, query: LiteralString, parameters: Sequence[Any]) -> None:
        """Runs one statement."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        """A part of the transaction that an error rolls back alone."""
        ...

    async def xid(self) -> str:
        """Number of the transaction."""
        ...


class PsycopgTransaction:
    """The transaction of a psycopg connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        refuse_autocommit(connection)
        self._connection = connection

    def execute(self, query: LiteralString, parameters: Sequence[Any]) -> None:
        with psycopg.Cursor(self._connection) as cursor:  # the connection's own may be a raw one
            cursor.execute(query, parameters)

    def savepoint(self) -> AbstractContextManager[Any]:
        return self._connection.transaction()

    def xid(self) -> str:
        with psycopg.Cursor(self._connection) as cursor:
            (xid,) = cursor.execute(XID).fetchone() or ("",)
        return str(xid)


class AsyncPsycopgTransaction:
    """The transaction of an asynchronous psycopg connection."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        refuse_autocommit(connection)
        self._connection = connection

    async def execute(self, query: LiteralString, parameters: Sequence[Any]) -> None:
        async with psycopg.AsyncCursor(self._connection) as cursor:
            await cursor.execute(query, parameters)

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        return self._connection.transaction()

    async def xid(self) -> str:
        async with psycopg.AsyncCursor(self._connection) as cursor:
            (xid,) = await (await cursor.execute(XID)).fetchone() or ("",)
        return str(xid)


def refuse_autocommit(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Raises NotInTransaction when the connection would commit the event on its own."""
    if connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE:
        raise NotInTransaction(
            "the connection is in autocommit and outside a transaction: put the change and its event into "
            "`with conn.transaction():`, or use record_autonomous for an event without a change",
        )


def transaction_of(conn: object) -> Transaction:
    """The transaction that a synchronous connection is in.

    :raises UnknownConnection: it is no connection that pgaudit knows.
    :raises NotInTransaction: it is in autocommit, outside a transaction.
    """
    if isinstance(conn, psycopg.Cursor):
        return PsycopgTransaction(conn.connection)
    if isinstance(conn, psycopg.Connection):
        return PsycopgTransaction(conn)
    if isinstance(conn, psycopg.AsyncConnection | psycopg.AsyncCursor):
        raise UnknownConnection(f"{type(conn).__name__} is asynchronous: await audit.record_async(conn, ...)")
    raise UnknownConnection(f"{type(conn).__name__} is no connection that pgaudit knows; it takes {ACCEPTED}")


def async_transaction_of(conn: object) -> AsyncTransaction:
    """The transaction that an asynchronous connection is in; raises as ``transaction_of`` does."""
    if isinstance(conn, psycopg.AsyncCursor):
        return AsyncPsycopgTransaction(conn.connection)
    if isinstance(conn, psycopg.AsyncConnection):
        return AsyncPsycopgTransaction(conn)
    if isinstance(conn, psycopg.Connection | psycopg.Cursor):
        raise UnknownConnection(f"{type(conn).__name__} is synchronous: audit.record(conn, ...)")
    raise UnknownConnection(f"{type(conn).__name__} is no connection that pgaudit knows; it takes {ACCEPTED}")
