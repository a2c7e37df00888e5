"""The caller's transaction, in whichever library it was opened."""

import importlib
from typing import Final, cast

from pgaudit.errors import UnknownConnection
from pgaudit.recording.connections.transaction import ACCEPTED, AsyncTransaction, Transaction

__all__ = ["AsyncTransaction", "Transaction", "async_transaction_of", "refuse_outside_transaction", "transaction_of"]

# Each has sync_transaction() and async_transaction(); none is imported unless its library is there already.
LIBRARIES: Final = ("psycopg", "sqlalchemy", "django", "asyncpg")


def transaction_of(conn: object) -> Transaction:
    """Returns the transaction that a synchronous connection is in.

    :raises UnknownConnection: it is not a connection that pgaudit knows, or an asynchronous one.
    :raises NotInTransaction: it is in autocommit, outside a transaction.
    """
    return cast("Transaction", importlib.import_module(adapter_for(conn)).sync_transaction(conn))


async def async_transaction_of(conn: object) -> AsyncTransaction:
    """Returns the transaction that an asynchronous connection is in; raises as ``transaction_of`` does."""
    return cast("AsyncTransaction", await importlib.import_module(adapter_for(conn)).async_transaction(conn))


def refuse_outside_transaction(conn: object) -> None:
    """Raises NotInTransaction for a connection of Django outside a transaction, where nothing is sent, too.

    Django's test cases are transactions: a test with ``PGAUDIT_MODE=off``, or with its events in memory, would not find
    what fails in production.
    """
    if library_of(conn) == "django":
        importlib.import_module(f"{__name__}.django_").refuse_outside_transaction(conn)


def adapter_for(conn: object) -> str:
    """Returns the name of our module for the library of a connection."""
    if library := library_of(conn):
        return f"{__name__}.{library}_"
    raise UnknownConnection(f"{type(conn).__name__} is not a connection that pgaudit knows; it takes {ACCEPTED}")


def library_of(conn: object) -> str | None:
    """Returns the library that the connection's class, or one of its bases, comes from.

    ``__class__`` and not ``type``: a transparent proxy, as tracing agents make, stands for what it wraps.
    """
    libraries = (base.__module__.partition(".")[0] for base in conn.__class__.__mro__)
    return next((library for library in libraries if library in LIBRARIES), None)
