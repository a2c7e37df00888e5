"""Statements that change rows of a tracked class without a flush: refused, unless a trigger captures the table.

SQLAlchemy's own ones are seen, whether a session or a connection executes them: ``insert``, ``update`` and ``delete``
of a class or table, also as a CTE, and the methods ``bulk_…`` of a session. SQL as text is not seen.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Delete, Engine, Insert, Table, Update, event
from sqlalchemy.sql.compiler import SQLCompiler

from pgaudit.errors import UntrackedChange
from pgaudit.recording.connections.sqlalchemy_ import SqlalchemyTransaction
from pgaudit.recording.row_values import Operation
from pgaudit.settings import Mode
from pgaudit.sqlalchemy.classes import TrackedTable, name_of, tracked_table
from pgaudit.sqlalchemy.relations import RowBetween, unexplained
from pgaudit.sqlalchemy.rows import Written

REFUSED: Final = (
    "this statement would {operation} rows of {table} without an event for each object: {name} is tracked in the "
    "session's flush, which does not see it. Capture the table (pgaudit capture add {table} …), or {instead}"
)
ONE_BY_ONE: Final = "change the objects one by one"
THROUGH_RELATION: Final = "change the many-to-many relation of each {name} as well"
OPERATIONS: Final[dict[type, Operation]] = {Insert: "insert", Update: "update", Delete: "delete"}

# The connections that flushes of tracked objects write through right now, and the rows of relations written there.
flushing: Final[WeakKeyDictionary[Connection, list[RowBetween]]] = WeakKeyDictionary()


def watch() -> None:
    """Looks at each statement from now on. A second call does nothing."""
    if not event.contains(Engine, "before_cursor_execute", _refuse):
        event.listen(Engine, "before_cursor_execute", _refuse)


def _refuse(conn: Connection, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:  # noqa: FBT001 - SQLAlchemy's signature
    compiled = getattr(context, "compiled", None)
    if not isinstance(compiled, SQLCompiler):
        return
    for operation, table in changed_tables(compiled):
        found = tracked_table(table)
        if found is None or found.tracked.audit.settings.mode == Mode.OFF:
            continue
        if conn in flushing and found.is_relation:
            flushing[conn] += [RowBetween(table, operation, row) for row in context.compiled_parameters]
        elif conn not in flushing or not is_for_objects(context):
            refuse_uncaptured(conn, operation, table, found)


def is_for_objects(context: Any) -> bool:
    """Returns whether a flush sends a statement for its objects, and not a mapper event: those have a cache apart."""
    return context.execution_options.get("compiled_cache") is not None


def refuse_unexplained(conn: Connection, objects: Sequence[Written]) -> None:
    """Refuses rows of many-to-many relations that the flush has written, but that are no change of its objects."""
    for row in unexplained(flushing.get(conn, ()), objects):
        if found := tracked_table(row.table):
            refuse_uncaptured(conn, row.operation, row.table, found)


def refuse_uncaptured(conn: Connection, operation: Operation, table: Table, found: TrackedTable) -> None:
    """Refuses a statement, unless a trigger captures the table."""
    name = name_of(conn, table)
    if operation not in SqlalchemyTransaction(conn).captured_operations(name):
        instead = THROUGH_RELATION.format(name=found.name) if found.is_relation else ONE_BY_ONE
        raise UntrackedChange(REFUSED.format(operation=operation, table=name, name=found.name, instead=instead))


def changed_tables(compiled: SQLCompiler) -> Iterator[tuple[Operation, Table]]:
    """Yields the tables that a compiled statement changes, and how."""
    statements: list[Any] = [compiled.statement, *(cte.element for cte in compiled.ctes or ())]
    for statement in statements:
        for kind, operation in OPERATIONS.items():
            if isinstance(statement, kind):
                table: Any = getattr(statement, "table")  # noqa: B009 - a type checker takes it for any object
                yield operation, table
