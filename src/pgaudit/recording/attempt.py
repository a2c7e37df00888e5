"""Recording that leaves the caller's transaction usable when it fails, for ``PGAUDIT_ON_FAILURE=spool``."""

from typing import Any, Final

import psycopg

from pgaudit._db_errors import REFUSED
from pgaudit.errors import InvalidEvent
from pgaudit.recording.connections.transaction import AsyncTransaction, Transaction
from pgaudit.recording.spool import Origin

# Asked first: this query needs no right, and a call of a missing function would break the transaction.
PERMITTED: Final = """
    SELECT count(*) = 1
      FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid
     WHERE n.nspname = 'pgaudit' AND p.proname = 'try_record'
       AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
"""
NOT_PERMITTED: Final = "pgaudit.try_record is missing, or this role may not execute it"
# The timeline is the beginning of the name of the file that Postgres writes its log to.
ORIGIN: Final = """
    SELECT pg_current_xact_id()::text, system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8)
      FROM pg_control_system()
"""


def try_record(transaction: Transaction, document: str, *, inline: bool, receipts: bool) -> Exception | None:
    """Records a JSON array of events. Returns the failure, after which the transaction can still be committed.

    :raises InvalidEvent: the database refuses an event; the transaction can still be committed, too.
    :raises Exception: of the driver, where the transaction is lost: no connection, a deadlock, a cancelled statement.
    """
    if not transaction.fetch_row(PERMITTED)[0]:
        return psycopg.errors.InsufficientPrivilege(NOT_PERMITTED)
    return _failure(*transaction.try_record(document, inline=inline, receipts=receipts))


async def try_record_async(
    transaction: AsyncTransaction, document: str, *, inline: bool, receipts: bool
) -> Exception | None:
    """``try_record`` for asynchronous connections."""
    if not (await transaction.fetch_row(PERMITTED))[0]:
        return psycopg.errors.InsufficientPrivilege(NOT_PERMITTED)
    return _failure(*await transaction.try_record(document, inline=inline, receipts=receipts))


def origin_of(transaction: Transaction) -> Origin:
    """Returns which transaction of which cluster it is."""
    return Origin(*transaction.fetch_row(ORIGIN))


async def origin_of_async(transaction: AsyncTransaction) -> Origin:
    """``origin_of`` for asynchronous connections."""
    return Origin(*await transaction.fetch_row(ORIGIN))


def _failure(sqlstate: str | None, message: Any) -> Exception | None:
    """Returns the error of that SQLSTATE; None without one. Raises InvalidEvent when an event is refused."""
    if sqlstate is None:
        return None
    if sqlstate == REFUSED:
        raise InvalidEvent(message)
    try:
        return psycopg.errors.lookup(sqlstate)(message)
    except KeyError:
        return psycopg.DatabaseError(f"SQLSTATE {sqlstate}")
