"""The psycopg connection below a test's connection."""

import inspect
from typing import Any, Final

import psycopg

from pgaudit.errors import UnknownConnection

STEPS: Final = 4  # a SQLAlchemy session, its connection, its pool's, psycopg's


def driver_of(conn: object) -> psycopg.Connection[Any]:
    """Returns the psycopg connection itself, or the one of a cursor, of Django or of SQLAlchemy.

    :raises UnknownConnection: there is none below it, or it is asynchronous.
    """
    below = conn
    for _ in range(STEPS):
        if isinstance(below, psycopg.Connection):
            return below
        below = next_below(below)
    raise UnknownConnection(
        f"{type(conn).__name__} has no synchronous psycopg connection below it: "
        "open one for the test, as with psycopg.connect(audit_database.dsn)",
    )


def next_below(conn: Any) -> object:
    """Returns what the connection is made of; None when it does not say."""
    if hasattr(conn, "ensure_connection"):  # Django connects when it has to
        conn.ensure_connection()
    below = getattr(conn, "driver_connection", None) or getattr(conn, "connection", None)
    if inspect.iscoroutinefunction(below):
        return None
    return below() if inspect.ismethod(below) else below
