"""``identify_transactions``: the first statement of a transaction that writes is preceded by who makes the change."""

# isinstance() leaves open what rows a connection returns.
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.util import await_only

from pgaudit import _tracing
from pgaudit.errors import UnknownConnection
from pgaudit.recording.connections.psycopg_ import IDENTIFY as IDENTIFY_PSYCOPG
from pgaudit.recording.context import fields_of
from pgaudit.recording.identification import NOTHING, bound, bound_async
from pgaudit.recording.setting import UNLESS_EXPLICIT, in_front_of, setting_of
from pgaudit.recording.writing import ends_transaction, may_commit, writes

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ExecutionContext
    from sqlalchemy.ext.asyncio import AsyncEngine

    from pgaudit.events import AuditEvent

IDENTIFY: Final = text("SELECT set_config('audit.context', :setting, true)" + UNLESS_EXPLICIT)
KEY: Final = "pgaudit.identified"  # in Connection.info: the identity that its transaction has
UNKNOWN: Final = object()


def identify_transactions(engine: Engine | AsyncEngine) -> None:
    """Gives the bound actor, tenant and context to transactions of an engine, for the triggers that capture changes.

    That happens before the first statement that writes, and again where the binding has changed. On psycopg and
    psycopg2 it takes no message of its own, elsewhere one for each transaction that writes. In ``AUTOCOMMIT`` it works
    on these two drivers only. A second call does nothing.

    A SELECT that calls a function which writes is not recognized: call ``pgaudit.identify(conn)`` before it.

    :raises UnknownConnection: it is not an engine, such as a ``sessionmaker``, or not one of PostgreSQL.
    """
    engine = getattr(engine, "sync_engine", engine)
    if not isinstance(engine, Engine) or engine.dialect.name != "postgresql":
        raise UnknownConnection(
            f"{type(engine).__name__} is not an Engine or AsyncEngine of PostgreSQL: pass that of your sessions"
        )
    if event.contains(engine, "begin", begun):
        return
    _tracing.is_installed()  # imports OpenTelemetry now, not in a statement
    event.listen(engine, "begin", begun)
    event.listen(engine, "begin_twophase", begun)
    event.listen(engine, "do_execute", execute)
    event.listen(engine, "do_execute_no_params", execute_without_parameters)
    event.listen(engine, "do_executemany", before_many)


def begun(conn: Connection, *_details: object) -> None:
    """Forgets the identity of the transaction before."""
    conn.info.pop(KEY, None)


def execute(cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    """Executes a statement, and the identity in front of it, in one message. Returns False where the driver cannot."""
    conn = context.root_connection
    if (found := identity_for(conn, statement)) is None:
        return False
    together = in_one_message(cursor, statement, conn)
    if together is None:
        identify(conn, found)
        return False
    with together as pipeline:
        if pipeline:
            psycopg.Cursor(cursor.connection).execute(IDENTIFY_PSYCOPG + UNLESS_EXPLICIT, [setting_of(found)])
        else:
            statement = in_front_of(statement, setting_of(found))
        conn.dialect.do_execute(cursor, statement, parameters, context)
    conn.info[KEY] = comparable(found)
    return True


def execute_without_parameters(cursor: Any, statement: str, context: ExecutionContext) -> bool:
    """``execute`` of a statement without parameters."""
    return execute(cursor, statement, None, context)


def before_many(_cursor: Any, statement: str, _parameters: Any, context: ExecutionContext) -> None:
    """Identifies the transaction of a statement that is executed several times."""
    conn = context.root_connection
    if (found := identity_for(conn, statement)) is not None:
        identify(conn, found)


def identify(conn: Connection, found: AuditEvent) -> None:
    """Identifies the transaction. Does nothing in AUTOCOMMIT, where the setting would end with its statement."""
    if not is_autocommit(conn):
        conn.execute(IDENTIFY, {"setting": setting_of(found)}, execution_options={"stream_results": False})
        conn.info[KEY] = comparable(found)


def identity_for(conn: Connection, statement: str) -> AuditEvent | None:
    """Returns an event with the actor, tenant and context that a statement needs; None if its transaction has them."""
    if ends_transaction(statement) or "audit.context" in statement:
        conn.info[KEY] = UNKNOWN  # such as what it was at a savepoint
    if not writes(statement):
        return None
    found = await_only(bound_async()) if conn.dialect.is_async else bound()
    if found is None or (is_autocommit(conn) and may_commit(statement)):
        return None
    present = comparable(NOTHING) if is_autocommit(conn) else conn.info.get(KEY, comparable(NOTHING))
    return None if comparable(found) == present else found


def comparable(event: AuditEvent) -> tuple[object, ...]:
    """Returns the parts of an identity whose change has to be sent: not the span, which each statement may have."""
    context = fields_of(event.context)
    context.pop("span_id", None)
    return event.actor, event.tenant, context


def in_one_message(cursor: Any, statement: str, conn: Connection) -> AbstractContextManager[Any] | None:
    """Returns a context that sends two statements together, yielding a pipeline, or None where they are one text."""
    if conn.dialect.driver == "psycopg2" and cursor.name is None:
        return nullcontext()
    if not isinstance(cursor, psycopg.Cursor) or isinstance(cursor, psycopg.ServerCursor) or ";" in statement:
        return None  # a pipeline takes no text of several statements
    return cursor.connection.pipeline() if psycopg.Pipeline.is_supported() else None


def is_autocommit(conn: Connection) -> bool:
    """Returns whether each statement is a transaction. Asks the driver alone, without I/O."""
    driver = conn.connection.dbapi_connection
    return driver is not None and bool(driver.autocommit)
