"""Connections and cursors of psycopg 3."""

# isinstance() leaves open what rows a connection returns.
# pyright: reportUnknownArgumentType=false

from collections.abc import Sequence
from typing import Any, Final, LiteralString

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from pgaudit.recording.connections.transaction import (
    CAPTURED_OPERATIONS,
    not_in_transaction,
    refuse_asynchronous,
    refuse_synchronous,
    refuse_unknown,
    statement,
)

EVENTS: Final = "%s"
RECORD: Final = "SELECT pgaudit.record(%s)"
RECORD_INLINE: Final = "SELECT pgaudit.record_inline(%s)"
TRY_RECORD: Final = "SELECT * FROM pgaudit.try_record(%s, %s)"
IDENTIFY: Final = "SELECT set_config('audit.context', %s, true)"
RECORD_UNCAPTURED: Final = "SELECT pgaudit.record_uncaptured(%s)"
CAPTURED: Final = CAPTURED_OPERATIONS + "to_regclass(%s)"


class PsycopgTransaction:
    """The transaction of a Connection."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn

    def record(self, events: str, *, inline: bool, receipts: bool) -> None:
        with psycopg.Cursor(self._conn) as cursor:  # the connection's own may be a raw one
            cursor.execute(statement(RECORD_INLINE if inline else RECORD, EVENTS, receipts=receipts), [events])

    def try_record(self, events: str, *, inline: bool, receipts: bool) -> Sequence[Any]:
        return self._fetch_row(statement(TRY_RECORD, EVENTS, receipts=receipts), [events, inline])

    def identify(self, setting: str) -> None:
        self._fetch_row(IDENTIFY, [setting])

    def record_uncaptured(self, changes: str, *, receipts: bool) -> None:
        self._fetch_row(statement(RECORD_UNCAPTURED, EVENTS, receipts=receipts), [changes])

    def captured_operations(self, table: str) -> list[str]:
        return str(self._fetch_row(CAPTURED, [table])[0]).split(",")

    def fetch_row(self, query: LiteralString) -> Sequence[Any]:
        return self._fetch_row(query)

    def _fetch_row(self, query: LiteralString, parameters: Sequence[Any] = ()) -> Sequence[Any]:
        with psycopg.Cursor(self._conn, row_factory=tuple_row) as cursor:
            return cursor.execute(query, parameters).fetchone() or ()


class AsyncPsycopgTransaction:
    """The transaction of an AsyncConnection."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self._conn = conn

    async def record(self, events: str, *, inline: bool, receipts: bool) -> None:
        async with psycopg.AsyncCursor(self._conn) as cursor:
            await cursor.execute(statement(RECORD_INLINE if inline else RECORD, EVENTS, receipts=receipts), [events])

    async def try_record(self, events: str, *, inline: bool, receipts: bool) -> Sequence[Any]:
        return await self._fetch_row(statement(TRY_RECORD, EVENTS, receipts=receipts), [events, inline])

    async def identify(self, setting: str) -> None:
        await self._fetch_row(IDENTIFY, [setting])

    async def fetch_row(self, query: LiteralString) -> Sequence[Any]:
        return await self._fetch_row(query)

    async def _fetch_row(self, query: LiteralString, parameters: Sequence[Any] = ()) -> Sequence[Any]:
        async with psycopg.AsyncCursor(self._conn, row_factory=tuple_row) as cursor:
            return await (await cursor.execute(query, parameters)).fetchone() or ()


def sync_transaction(conn: object) -> PsycopgTransaction:
    """Returns the transaction that a Connection, or a cursor's connection, is in."""
    if isinstance(conn, psycopg.Cursor):
        conn = conn.connection
    if isinstance(conn, psycopg.AsyncConnection | psycopg.AsyncCursor):
        refuse_asynchronous(conn)
    if not isinstance(conn, psycopg.Connection):
        refuse_unknown(conn)
    if is_undecided(conn):
        with conn.pipeline():  # leaving it waits for the results
            pass
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
    if is_undecided(conn):
        async with conn.pipeline():
            pass
    refuse_autocommit(conn)
    return AsyncPsycopgTransaction(conn)


def is_undecided(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Returns whether only results that a pipeline has not read yet tell if the connection is in a transaction."""
    in_pipeline = conn.info.pipeline_status != PipelineStatus.OFF
    return conn.autocommit and in_pipeline and conn.info.transaction_status == TransactionStatus.ACTIVE


def refuse_autocommit(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Raises NotInTransaction when the connection would commit the event on its own."""
    if conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        raise not_in_transaction("with conn.transaction():")
