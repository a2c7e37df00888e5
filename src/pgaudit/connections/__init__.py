"""The caller's connection, whatever library it is of: one statement, in the caller's transaction."""

import importlib
from typing import Final, cast

from pgaudit.connections.transaction import ACCEPTED, AsyncTransaction, Transaction
from pgaudit.errors import UnknownConnection

__all__ = ["AsyncTransaction", "Transaction", "async_transaction_of", "transaction_of"]

# Each has sync_transaction() and async_transaction(); none is imported unless its library is there already.
LIBRARIES: Final = ("psycopg", "sqlalchemy", "django", "asyncpg")


def transaction_of(conn: object) -> Transaction:
    """The transaction that a synchronous connection is in.

    :raises UnknownConnection: it is not a connection that pgaudit knows, or an asynchronous one.
    :raises NotInTransaction: it is in autocommit, outside a transaction.
    """
    return cast("Transaction", importlib.import_module(library_of(conn)).sync_transaction(conn))


async def async_transaction_of(conn: object) -> AsyncTransaction:
    """The transaction that an asynchronous connection is in; raises as ``transaction_of`` does."""
    return cast("AsyncTransaction", await importlib.import_module(library_of(conn)).async_transaction(conn))


def library_of(conn: object) -> str:
    """Our module for the library that the connection's class, or one of its bases, comes from."""
    for base in type(conn).__mro__:
        library = base.__module__.partition(".")[0]
        if library in LIBRARIES:
            return f"{__name__}.{library}_"
    raise UnknownConnection(f"{type(conn).__name__} is not a connection that pgaudit knows; it takes {ACCEPTED}")
