"""Connections of asyncpg, also those of its pool."""

# pyright: basic, reportMissingTypeStubs=false
# asyncpg ships no types.

from collections.abc import Sequence
from typing import Any, Final, LiteralString, NoReturn

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from pgaudit.recording.connections.transaction import not_in_transaction, refuse_asynchronous, refuse_unknown, statement

# As text: the application may have set a codec of its own for jsonb.
EVENTS: Final = "$1::text::jsonb"
RECORD: Final = "SELECT pgaudit.record($1::text::jsonb)"
RECORD_INLINE: Final = "SELECT pgaudit.record_inline($1::text::jsonb)"
TRY_RECORD: Final = "SELECT * FROM pgaudit.try_record($1::text::jsonb, $2)"
IDENTIFY: Final = "SELECT set_config('audit.context', $1, true)"


class AsyncpgTransaction:
    """The transaction of an asyncpg connection."""

    def __init__(self, conn: asyncpg.Connection | PoolConnectionProxy) -> None:
        self._conn = conn

    async def record(self, events: str, *, inline: bool, receipts: bool) -> None:
        await self._conn.execute(statement(RECORD_INLINE if inline else RECORD, EVENTS, receipts=receipts), events)

    async def try_record(self, events: str, *, inline: bool, receipts: bool) -> Sequence[Any]:
        (row,) = await self._conn.fetch(statement(TRY_RECORD, EVENTS, receipts=receipts), events, inline)
        return tuple(row)

    async def identify(self, setting: str) -> None:
        await self._conn.fetch(IDENTIFY, setting)

    async def fetch_row(self, query: LiteralString) -> Sequence[Any]:
        (row,) = await self._conn.fetch(query)
        return tuple(row)


def sync_transaction(conn: object) -> NoReturn:
    """Raises UnknownConnection: asyncpg has no synchronous connections."""
    refuse_asynchronous(conn)


async def async_transaction(conn: object) -> AsyncpgTransaction:
    """Returns the transaction that an asyncpg connection is in."""
    if not isinstance(conn, asyncpg.Connection | PoolConnectionProxy):
        refuse_unknown(conn)
    if not conn.is_in_transaction():
        raise not_in_transaction("async with conn.transaction():")
    return AsyncpgTransaction(conn)
