"""Statements that change rows of a tracked class without a flush: refused, unless a trigger captures the table.

SQLAlchemy's own ones are seen, whether a session or a connection executes them: ``insert``, ``update`` and ``delete``
of a class or table, also as a CTE, and the methods ``bulk_…`` of a session. SQL as text is not seen.
"""

from collections.abc import Iterator
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy import Connection, Delete, Engine, Insert, Table, Update, event
from sqlalchemy.sql.compiler import SQLCompiler

from pgaudit.errors import UntrackedChange
from pgaudit.recording.connections.sqlalchemy_ import SqlalchemyTransaction
from pgaudit.recording.row_values import Operation
from pgaudit.settings import Mode
from pgaudit.sqlalchemy.classes import name_of, tracked_table

REFUSED: Final = (
    "this statement would {operation} rows of {table} without an event for each object: {name} is tracked in the "
    "session's flush, which does not see it. Capture the table (pgaudit capture add {table} …), or change the objects "
    "one by one"
)
OPERATIONS: Final[dict[type, Operation]] = {Insert: "insert", Update: "update", Delete: "delete"}

flushing: Final[WeakSet[Connection]] = WeakSet()  # that a flush of tracked objects writes through right now


def watch() -> None:
    """Looks at each statement from now on. A second call does nothing."""
    if not event.contains(Engine, "before_cursor_execute", _refuse):
        event.listen(Engine, "before_cursor_execute", _refuse)


def _refuse(conn: Connection, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:  # noqa: FBT001 - SQLAlchemy's signature
    compiled = getattr(context, "compiled", None)
    if not isinstance(compiled, SQLCompiler) or conn in flushing:
        return
    for operation, table in changed_tables(compiled):
        found = tracked_table(table)
        if found and found[1].audit.settings.mode != Mode.OFF:
            name = name_of(conn, table)
            if operation not in SqlalchemyTransaction(conn).captured_operations(name):
                raise UntrackedChange(REFUSED.format(operation=operation, table=name, name=found[0]))


def changed_tables(compiled: SQLCompiler) -> Iterator[tuple[Operation, Table]]:
    """Yields the tables that a compiled statement changes, and how."""
    statements: list[Any] = [compiled.statement, *(cte.element for cte in compiled.ctes or ())]
    for statement in statements:
        for kind, operation in OPERATIONS.items():
            if isinstance(statement, kind):
                table: Any = getattr(statement, "table")  # noqa: B009 - a type checker takes it for any object
                yield operation, table
