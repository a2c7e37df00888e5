"""Statements that change rows of a tracked model without its signals: refused, unless a trigger captures the table.

Django's own ones are seen: ``bulk_create``, ``bulk_update``, ``QuerySet.update``, ``_raw_delete``, what ``on_delete``
does to other models, and the table of a many-to-many relation. SQL as text is not seen.
"""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.db import models
from django.db.models.deletion import Collector
from django.db.models.sql import DeleteQuery
from django.db.models.sql.compiler import SQLDeleteCompiler, SQLInsertCompiler, SQLUpdateCompiler

from pgaudit.django.classes import OF_MIGRATIONS, TrackedTable, table_of, tables, tracked_as
from pgaudit.errors import UntrackedChange
from pgaudit.recording.connections.django_ import DjangoTransaction
from pgaudit.settings import Mode

REFUSED: Final = (
    "this statement would {operation} rows of {table} without an event for each instance: {model} is tracked by "
    "Django's signals, which it does not send. Capture the table (pgaudit capture add {table} …), or save and delete "
    "the instances one by one"
)
COMPILERS: Final = {"insert": SQLInsertCompiler, "update": SQLUpdateCompiler, "delete": SQLDeleteCompiler}

# Writes whose signals were sent: (operation, table). "collect" stands for relations of instances that are deleted.
_announced: Final[ContextVar[tuple[tuple[str, str], ...]]] = ContextVar("pgaudit.announced", default=())
# Tables of relations, by the transaction.atomic() of Django's that changes them and sends m2m_changed.
_relations: Final[WeakKeyDictionary[Any, set[str]]] = WeakKeyDictionary()


def install() -> None:
    """Looks at each statement from now on. A second call does nothing."""
    if hasattr(SQLInsertCompiler.execute_sql, "__wrapped__"):
        return
    for operation, compiler in COMPILERS.items():
        compiler.execute_sql = _checking(compiler.execute_sql, operation)
    models.Model._do_insert = _announcing(models.Model._do_insert, "insert")  # noqa: SLF001 - the signals stand around them
    models.Model._do_update = _announcing(models.Model._do_update, "update")  # noqa: SLF001
    DeleteQuery.delete_batch = _announcing_deletes(DeleteQuery.delete_batch)
    Collector.delete = _collecting(Collector.delete)


def announce_relation(conn: Any, table: str, *, enclosing: int) -> None:
    """Lets the statements of a relation through until Django's own transaction around its signals ends.

    :param enclosing: which of the open blocks it is, from the end.
    """
    blocks = conn.atomic_blocks
    _relations.setdefault(blocks[-min(enclosing, len(blocks))], set()).add(table)


@contextmanager
def _announce(operation: str, table: str) -> Generator[None]:
    token = _announced.set((*_announced.get(), (operation, table)))
    try:
        yield
    finally:
        _announced.reset(token)


def _announcing(original: Any, operation: str) -> Any:
    """Wraps the methods with which a model writes its row."""

    @wraps(original)
    def write(self: Any, rows: Any, *arguments: Any, **given: Any) -> Any:
        if tracked_as(type(self)) is None:
            return original(self, rows, *arguments, **given)
        with _announce(operation, table_of(rows.model)):
            return original(self, rows, *arguments, **given)

    return write


def _announcing_deletes(original: Any) -> Any:
    """Wraps the method that deletes instances whose signals were sent; no receiver has those of a migration."""

    @wraps(original)
    def delete_batch(self: DeleteQuery, *arguments: Any, **given: Any) -> Any:
        if self.model.__module__ == OF_MIGRATIONS or tracked_as(self.model) is None:
            return original(self, *arguments, **given)
        with _announce("delete", table_of(self.model)):
            return original(self, *arguments, **given)

    return delete_batch


def _collecting(original: Any) -> Any:
    """Wraps the method that deletes instances, and before them their rows in the tables of relations."""

    @wraps(original)
    def delete(self: Collector, *arguments: Any, **given: Any) -> Any:
        if all(_has_relations(model) for model in self.data):
            return original(self, *arguments, **given)
        with _announce("collect", ""):
            return original(self, *arguments, **given)

    return delete


def _has_relations(model: Any) -> bool:
    """Returns whether a model is that of a tracked relation, whose rows are not deleted for something else then."""
    found = tables.get(table_of(model))
    return found is not None and found.is_relation


def _checking(original: Any, operation: str) -> Any:
    @wraps(original)
    def execute_sql(self: Any, *arguments: Any, **given: Any) -> Any:
        table = table_of(self.query.model)
        if found := tables.get(table):
            _refuse_unseen(self.connection, found, table, operation)
        return original(self, *arguments, **given)

    return execute_sql


def _refuse_unseen(conn: Any, found: TrackedTable, table: str, operation: str) -> None:
    """Raises UntrackedChange unless signals were sent for the statement, or a trigger captures what it does."""
    if found.tracked.audit.settings.mode == Mode.OFF or _is_announced(conn, found, table, operation):
        return
    name = conn.ops.quote_name(table)
    captured = DjangoTransaction(conn).captured_operations(name) if conn.vendor == "postgresql" else []
    if operation not in captured:
        model = found.tracked.model.__name__
        raise UntrackedChange(REFUSED.format(operation=operation, table=table, model=model))


def _is_announced(conn: Any, found: TrackedTable, table: str, operation: str) -> bool:
    announced = _announced.get()
    if (operation, table) in announced:
        return True
    if not found.is_relation:
        return False
    return ("collect", "") in announced or any(table in _relations.get(block, ()) for block in conn.atomic_blocks)
