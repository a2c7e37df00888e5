"""What recording needs of a connection."""

from collections.abc import Sequence
from typing import Any, Final, LiteralString, NoReturn, Protocol

from pgaudit.errors import NotInTransaction, UnknownConnection

ACCEPTED: Final = (
    "a psycopg Connection, AsyncConnection or cursor, a SQLAlchemy Connection, Session, AsyncConnection or "
    "AsyncSession, a Django connection, or an asyncpg Connection"
)

# As pgaudit.captured_operations does. It needs neither the schema nor a right in it.
CAPTURED_OPERATIONS: Final = """
    SELECT coalesce(string_agg(substr(tgname, 19), ','), '') FROM pg_catalog.pg_trigger
     WHERE NOT tgisinternal AND starts_with(tgname, '0_pgaudit_capture_') AND tgenabled = 'A' AND tgrelid =
"""


class Transaction(Protocol):
    """The transaction of a synchronous connection. No statement of it goes through an ORM."""

    def record(self, events: str, *, inline: bool, receipts: bool) -> None:
        """Records a JSON array of events: calls ``pgaudit.record``, or ``pgaudit.record_inline``.

        :param receipts: whether the statement also writes a receipt of each event into the WAL
        """
        ...

    def try_record(self, events: str, *, inline: bool, receipts: bool) -> Sequence[Any]:
        """Calls ``pgaudit.try_record``. Returns SQLSTATE and message of the failure, or two None."""
        ...

    def identify(self, setting: str) -> None:
        """Sets ``audit.context`` until the transaction ends."""
        ...

    def record_uncaptured(self, changes: str, *, receipts: bool) -> None:
        """Calls ``pgaudit.record_uncaptured``."""
        ...

    def captured_operations(self, table: str) -> list[str]:
        """Returns the operations on a table that triggers capture, such as ``insert``."""
        ...

    def fetch_row(self, query: LiteralString) -> Sequence[Any]:
        """Returns the one row of a query without parameters."""
        ...


class AsyncTransaction(Protocol):
    """The transaction of an asynchronous connection."""

    async def record(self, events: str, *, inline: bool, receipts: bool) -> None:
        """``Transaction.record``."""
        ...

    async def try_record(self, events: str, *, inline: bool, receipts: bool) -> Sequence[Any]:
        """``Transaction.try_record``."""
        ...

    async def identify(self, setting: str) -> None:
        """``Transaction.identify``."""
        ...

    async def fetch_row(self, query: LiteralString) -> Sequence[Any]:
        """``Transaction.fetch_row``."""
        ...


def statement(query: LiteralString, events: LiteralString, *, receipts: bool) -> LiteralString:
    """Returns the query. With receipts, what stands for the events in it passes through ``pgaudit.with_receipts``."""
    return query.replace(events, "pgaudit.with_receipts(" + events + ")", 1) if receipts else query


def not_in_transaction(how: str) -> NotInTransaction:
    """Returns the error for a connection in autocommit; ``how`` opens a transaction with its library."""
    return NotInTransaction(
        f"the connection is in autocommit and outside a transaction: put the change and its event into `{how}`, "
        "or use record_autonomous for an event without a change",
    )


def refuse_synchronous(conn: object) -> NoReturn:
    """Raises UnknownConnection: an asynchronous connection was expected."""
    raise UnknownConnection(
        f"{type(conn).__name__} is synchronous: audit.record(conn, ...), identify(conn), "
        "or signal.send(conn=conn, ...) to an AuditListener"
    )


def refuse_asynchronous(conn: object) -> NoReturn:
    """Raises UnknownConnection: a synchronous connection was expected."""
    raise UnknownConnection(
        f"{type(conn).__name__} is asynchronous: await audit.record_async(conn, ...), await identify_async(conn), "
        "or await signal.send_async(conn=conn, ...) to an AsyncAuditListener"
    )


def refuse_unknown(conn: object) -> NoReturn:
    """Raises UnknownConnection: it is of a library that pgaudit knows, but not a connection, or not to Postgres."""
    raise UnknownConnection(
        f"{type(conn).__name__} is not a connection to Postgres that makes a change; record() takes {ACCEPTED}"
    )
