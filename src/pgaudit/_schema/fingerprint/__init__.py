"""Compares the schema with what this version installs, to find changes made by hand.

The catalog is compared with ``migrations/fingerprint.json``, by the client: a function of the database could be
replaced by one that lies. Any role can do it.
"""

from collections.abc import Iterable
from typing import Any

import psycopg

from pgaudit._schema.fingerprint.catalog import Row, read, read_async
from pgaudit._schema.fingerprint.comparing import compare
from pgaudit._schema.fingerprint.expected import load

__all__ = ["Row", "differences", "differences_in", "foreign_objects", "read", "read_async"]


def differences(conn: psycopg.Connection[Any]) -> list[str]:
    """Returns a sentence for each difference: which object it is, and what to do. Takes some milliseconds.

    >>> differences(conn)
    []
    """
    return differences_in(read(conn))


def differences_in(rows: Iterable[Row]) -> list[str]:
    """Returns a sentence for each difference between what was read and a fresh installation."""
    return list(compare(list(rows), load()))


def foreign_objects(conn: psycopg.Connection[Any]) -> list[str]:
    """Returns the tables, views and functions of the schema that pgaudit did not create."""
    known = load()
    return [
        f"{kind} {name}"
        for kind, name, _ in read(conn)
        if kind in {"table", "view", "function"} and name not in known[kind]
    ]
