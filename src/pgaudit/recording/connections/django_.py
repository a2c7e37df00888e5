"""Connections of Django: ``django.db.connection`` or ``django.db.connections[alias]``."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Sequence
from typing import Any, Final, LiteralString, NoReturn, cast

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionProxy

from pgaudit.recording.connections.transaction import not_in_transaction, refuse_synchronous, refuse_unknown

RECORD: Final = "SELECT pgaudit.record(%s::text::jsonb)"
RECORD_INLINE: Final = "SELECT pgaudit.record_inline(%s::text::jsonb)"
TRY_RECORD: Final = "SELECT * FROM pgaudit.try_record(%s::text::jsonb, %s)"


class DjangoTransaction:
    """The transaction of a Django connection."""

    def __init__(self, conn: BaseDatabaseWrapper) -> None:
        self._conn = conn

    def record(self, events: str, *, inline: bool) -> None:
        with self._conn.cursor() as cursor:
            cursor.execute(RECORD_INLINE if inline else RECORD, [events])

    def try_record(self, events: str, *, inline: bool) -> Sequence[Any]:
        return self._fetch_row(TRY_RECORD, [events, inline])

    def fetch_row(self, query: LiteralString) -> Sequence[Any]:
        return self._fetch_row(query)

    def _fetch_row(self, query: LiteralString, parameters: Sequence[Any] | None = None) -> Sequence[Any]:
        with self._conn.cursor() as cursor:
            cursor.execute(query, parameters)
            return cast("Sequence[Any]", cursor.fetchone())


def sync_transaction(conn: object) -> DjangoTransaction:
    """Returns the transaction that a Django connection is in."""
    if isinstance(conn, ConnectionProxy):
        conn = conn._connections[conn._alias]  # noqa: SLF001 - the proxy has no other way to what it stands for
    if not isinstance(conn, BaseDatabaseWrapper) or conn.vendor != "postgresql":
        refuse_unknown(conn)
    if conn.get_autocommit():
        raise not_in_transaction("with transaction.atomic():")
    return DjangoTransaction(conn)


async def async_transaction(conn: object) -> NoReturn:
    """Raises UnknownConnection: Django's connections are synchronous, in asynchronous views, too."""
    refuse_synchronous(conn)
