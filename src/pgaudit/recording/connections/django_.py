"""Connections of Django: ``django.db.connection`` or ``django.db.connections[alias]``."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Sequence
from typing import Any, Final, LiteralString, NoReturn, cast

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionProxy

from pgaudit.errors import NotInTransaction
from pgaudit.recording.connections.transaction import (
    CAPTURED_OPERATIONS,
    not_in_transaction,
    refuse_synchronous,
    refuse_unknown,
    statement,
)

EVENTS: Final = "%s::text::jsonb"
RECORD: Final = "SELECT pgaudit.record(%s::text::jsonb)"
RECORD_INLINE: Final = "SELECT pgaudit.record_inline(%s::text::jsonb)"
TRY_RECORD: Final = "SELECT * FROM pgaudit.try_record(%s::text::jsonb, %s)"
IDENTIFY: Final = "SELECT set_config('audit.context', %s, true)"
RECORD_UNCAPTURED: Final = "SELECT pgaudit.record_uncaptured(%s::text::jsonb)"
CAPTURED: Final = CAPTURED_OPERATIONS + "to_regclass(%s)"
TESTCASE_ONLY: Final = (
    "only the transaction of the test case is open: in production the change would be committed before its event. Put "
    "both into `with transaction.atomic():`; for a receiver of post_save, that is around the call of save(), which "
    "pgaudit.django does with PGAUDIT = {'ATOMIC_SAVES': True}"
)


class DjangoTransaction:
    """The transaction of a Django connection."""

    def __init__(self, conn: BaseDatabaseWrapper) -> None:
        self._conn = conn

    def record(self, events: str, *, inline: bool, receipts: bool) -> None:
        with self._conn.cursor() as cursor:
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

    def _fetch_row(self, query: LiteralString, parameters: Sequence[Any] | None = None) -> Sequence[Any]:
        with self._conn.cursor() as cursor:
            cursor.execute(query, parameters)
            return cast("Sequence[Any]", cursor.fetchone())


def sync_transaction(conn: object) -> DjangoTransaction:
    """Returns the transaction that a Django connection is in."""
    wrapper = wrapper_of(conn)
    if wrapper.vendor != "postgresql":
        refuse_unknown(wrapper)
    refuse_outside_transaction(wrapper)
    return DjangoTransaction(wrapper)


def refuse_outside_transaction(conn: object) -> None:
    """Raises NotInTransaction when Django would commit the event on its own. Asks Django alone, without I/O."""
    wrapper = wrapper_of(conn)
    if not wrapper.in_atomic_block:
        if wrapper.autocommit if wrapper.connection else wrapper.settings_dict["AUTOCOMMIT"]:
            raise not_in_transaction("with transaction.atomic():")
    elif wrapper.atomic_blocks and all(block._from_testcase for block in wrapper.atomic_blocks):  # noqa: SLF001 - as `durable` does
        raise NotInTransaction(TESTCASE_ONLY)


def wrapper_of(conn: Any) -> BaseDatabaseWrapper:
    """Returns a connection of Django, or the one that ``django.db.connection`` stands for."""
    wrapper = conn._connections[conn._alias] if isinstance(conn, ConnectionProxy) else conn  # noqa: SLF001 - nothing public leads there
    if not isinstance(wrapper, BaseDatabaseWrapper):
        refuse_unknown(wrapper)
    return wrapper


async def async_transaction(conn: object) -> NoReturn:
    """Raises UnknownConnection: Django's connections are synchronous, in asynchronous views, too."""
    refuse_synchronous(conn)
