"""Replaces methods of psycopg, and of Django's TestCase, while a test is watched."""

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from pgaudit.testing.guarding import REFUSED, AuditGuard

Method = Callable[..., Any]


@contextmanager
def watching(test: Path) -> Generator[AuditGuard]:
    """Watches what is run through the synchronous connections of psycopg inside.

    :param test: file of the test.
    """
    guard = AuditGuard(test)
    with ExitStack() as stack:
        stack.callback(guard.remove_added)
        for owner, name, replacement in replacements(guard):
            stack.enter_context(replaced(owner, name, replacement))
        yield guard


def replacements(guard: AuditGuard) -> Generator[tuple[type, str, Method]]:
    """Returns the methods that are replaced, and what by."""
    for name in ("execute", "executemany"):
        yield psycopg.Cursor, name, watched(guard, getattr(psycopg.Cursor, name))
    yield psycopg.Cursor, "copy", watched_copy(guard, psycopg.Cursor.copy)
    yield psycopg.Connection, "commit", examined(guard, psycopg.Connection.commit)
    yield psycopg.Transaction, "__exit__", examined_block(guard, psycopg.Transaction.__exit__)
    if "django.test" in sys.modules:
        case = sys.modules["django.test"].TestCase
        yield case, "_fixture_teardown", examined_case(guard, case._fixture_teardown)  # noqa: SLF001 - where it rolls back


@contextmanager
def replaced(owner: type, name: str, replacement: Method) -> Generator[None]:
    """Replaces a method inside."""
    original = owner.__dict__[name]
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)


def watched(guard: AuditGuard, original: Method) -> Method:
    """Returns a method that runs statements, watched."""

    def run(cursor: psycopg.Cursor[Any], query: object, *arguments: Any, **options: Any) -> Any:
        guard.before(cursor.connection)
        result = original(cursor, query, *arguments, **options)
        guard.after(cursor.connection, text_of(query))
        return result

    return run


def watched_copy(guard: AuditGuard, original: Method) -> Method:
    """Returns the method that runs a COPY, watched."""

    @contextmanager
    def copy(cursor: psycopg.Cursor[Any], query: object, *arguments: Any, **options: Any) -> Generator[Any]:
        guard.before(cursor.connection)
        with original(cursor, query, *arguments, **options) as running:
            yield running
        guard.after(cursor.connection, text_of(query))

    return copy


def examined(guard: AuditGuard, original: Method) -> Method:
    """Returns the method that commits; the transaction is examined before."""

    def commit(conn: psycopg.Connection[Any]) -> None:
        with guard.committing(conn):
            original(conn)

    return commit


def examined_block(guard: AuditGuard, original: Method) -> Method:
    """Returns the method that ends a block of a transaction, which is examined before; a savepoint is not."""

    def leave(block: psycopg.Transaction, kind: object, error: object, traceback: object) -> Any:
        if error is not None or block.savepoint_name:
            return original(block, kind, error, traceback)
        with guard.committing(block.connection):
            return original(block, kind, error, traceback)

    return leave


def examined_case(guard: AuditGuard, original: Method) -> Method:
    """Returns the method in which Django's TestCase rolls back; what the test has done is examined before.

    Django checks all constraints there, too. Its error does not name the statement, and may come after ours.
    """

    def tear_down(case: object) -> None:
        guard.examine_all()
        try:
            original(case)
        except Exception as error:
            if getattr(error.__cause__, "sqlstate", None) != REFUSED:
                raise
            if verdict := guard.verdict():
                raise AssertionError(verdict) from None

    return tear_down


def text_of(query: object) -> str:
    """Returns a query as text."""
    if isinstance(query, sql.Composable):
        return query.as_string()
    return query.decode(errors="replace") if isinstance(query, bytes) else str(query)
