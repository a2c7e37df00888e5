"""Whether the schema's owner has more rights than it should."""

from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

# The catalog of roles is readable for everyone.
POWERS: Final = """
    SELECT rolname, CASE WHEN rolsuper THEN 'a superuser' WHEN rolbypassrls THEN 'exempt from row security (BYPASSRLS)' END
      FROM pg_catalog.pg_namespace JOIN pg_catalog.pg_roles r ON r.oid = nspowner WHERE nspname = 'pgaudit'
"""
IS_OWNER: Final = "SELECT pg_has_role(%s, nspowner, 'MEMBER') FROM pg_catalog.pg_namespace WHERE nspname = 'pgaudit'"


def sentence(role: str | None, power: str | None) -> str | None:
    """Returns a warning about an owner with that power; None when it has none."""
    if power is None:
        return None
    return (
        f"The owner of the schema pgaudit, {role}, is {power}: functions of the schema run with its rights. "
        "Give the schema to a plain role."
    )


def warning(conn: psycopg.Connection[Any]) -> str | None:
    """Returns a warning when the schema's owner is a superuser or has BYPASSRLS; None otherwise."""
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        return sentence(*(cursor.execute(POWERS).fetchone() or (None, None)))


def includes(conn: psycopg.Connection[Any], role: str) -> bool:
    """Returns whether a role owns the schema, or can become its owner."""
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        (member,) = cursor.execute(IS_OWNER, [role]).fetchone() or (False,)
    return bool(member)
