"""``PGAUDIT["IDENTIFY"]``: statements that write name who makes the change, for the triggers that capture it.

It travels in the same message, in front of the statement. Statements that only read, and those that write while
nothing is bound, stay as they are.
"""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

import psycopg
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.sql import Composable

from pgaudit import _tracing
from pgaudit.django.options import options
from pgaudit.recording.identification import bound
from pgaudit.recording.setting import UNLESS_EXPLICIT, in_front_of, setting_of
from pgaudit.recording.writing import may_commit, writes

Execute = Callable[..., Any]
IDENTIFY: Final = "SELECT set_config('audit.context', %s, true)" + UNLESS_EXPLICIT


def install() -> None:
    """Identifies the writes of every connection to the database of ``PGAUDIT["ALIAS"]``. A second call does nothing."""
    _tracing.is_installed()  # imports OpenTelemetry now, not in a statement
    connection_created.connect(identify_writes, dispatch_uid="pgaudit.identified_writes")
    for conn in connections.all(initialized_only=True):
        identify_writes(conn)


def identify_writes(connection: Any, **_signal: Any) -> None:
    """Adds an IdentifiedWrites to the connection, unless it has one."""
    wrappers = connection.execute_wrappers
    if connection.alias == options().alias and not any(isinstance(other, IdentifiedWrites) for other in wrappers):
        # Not at the end: connection.execute_wrapper() removes the last one when its block ends.
        wrappers.insert(0, IdentifiedWrites())


class IdentifiedWrites:
    """Sees all statements of one connection, as one of Django's execute wrappers."""

    def __init__(self) -> None:
        self._identified = False  # whether the current transaction may have an actor

    def __call__(self, execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001 - as Django calls it
        cursor = context["cursor"].cursor
        statement = text_of(sql, cursor)
        setting = self._setting(statement, cursor.connection)
        if setting is None:
            return execute(sql, params, many, context)
        if not many and takes_two_statements(cursor):
            done = execute(in_front_of(statement, setting), params, many, context)
            cursor.nextset()  # from the result of the setting to that of the statement
            return done
        with in_transaction(context["connection"]), context["connection"].cursor() as other:
            other.execute(IDENTIFY, [setting])
            return execute(sql, params, many, context)

    def _setting(self, statement: str, conn: psycopg.Connection[Any]) -> str | None:
        """Returns the value of audit.context that a statement needs; None if none has to be set."""
        alone = conn.info.transaction_status == TransactionStatus.IDLE
        self._identified = self._identified and not alone
        if not writes(statement) or (conn.autocommit and alone and may_commit(statement)):
            return None
        if (found := bound()) is None:
            return None
        setting = setting_of(found)
        if not setting and not self._identified:
            return None
        self._identified = True
        return setting


def text_of(sql: Any, cursor: Any) -> str:
    """Returns a statement as text; an empty one for what no two statements can be made of."""
    if not isinstance(cursor, psycopg.Cursor) or isinstance(cursor, psycopg.ServerCursor):
        return ""
    if isinstance(sql, Composable):
        return sql.as_string(cursor)
    return sql if isinstance(sql, str) else ""


def takes_two_statements(cursor: psycopg.Cursor[Any]) -> bool:
    """Returns whether one message can hold two statements: not with parameters apart, as in ``server_side_binding``."""
    return isinstance(cursor, psycopg.ClientCursor) and cursor.connection.info.pipeline_status == PipelineStatus.OFF


def in_transaction(conn: Any) -> Any:
    """Returns the context of a transaction, opened if the next statement would be one of its own."""
    if conn.get_autocommit() and conn.connection.info.transaction_status == TransactionStatus.IDLE:
        return transaction.atomic(using=conn.alias)
    return nullcontext()
