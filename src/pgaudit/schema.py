"""Which revision of the schema a database has, without loading Alembic."""

from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

NEWEST: Final = "0001"
VERSION_TABLE: Final = "SELECT to_regclass('pgaudit.alembic_version')"
VERSION: Final = "SELECT version_num FROM pgaudit.alembic_version"


def version_of(conn: psycopg.Connection[Any]) -> str | None:
    """The revision that the database has; None when pgaudit is not installed in it."""
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        (table,) = cursor.execute(VERSION_TABLE).fetchone() or (None,)
        row = cursor.execute(VERSION).fetchone() if table else None
    return str(row[0]) if row else None
