"""Whether the schema's owner has more rights than it should."""

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import class_row, tuple_row

# The catalog of roles is readable for everyone.
POWERS: Final = """
    SELECT rolname AS role,
           CASE WHEN rolsuper THEN 'a superuser'
                WHEN rolbypassrls THEN 'exempt from row security (BYPASSRLS)' END AS power
      FROM pg_catalog.pg_namespace JOIN pg_catalog.pg_roles r ON r.oid = nspowner WHERE nspname = 'pgaudit'
"""
OWNER: Final = """
    SELECT pg_get_userbyid(nspowner), pg_has_role(nspowner, 'USAGE')
      FROM pg_catalog.pg_namespace WHERE nspname = 'pgaudit'
"""
IS_OWNER: Final = "SELECT pg_has_role(%s, nspowner, 'MEMBER') FROM pg_catalog.pg_namespace WHERE nspname = 'pgaudit'"


@dataclass(frozen=True, slots=True)
class Owner:
    """The role that owns the schema, and what makes it more than a plain one."""

    role: str
    power: str | None

    @property
    def warning(self) -> str | None:
        """Returns a warning when the owner is a superuser or has BYPASSRLS; None otherwise."""
        if self.power is None:
            return None
        return (
            f"The owner of the schema pgaudit, {self.role}, is {self.power}: functions of the schema run with its "
            "rights. Give the schema to a plain role."
        )


def warning(conn: psycopg.Connection[Any]) -> str | None:
    """Returns a warning about the schema's owner; None when it is a plain role, or there is no schema."""
    with psycopg.Cursor(conn, row_factory=class_row(Owner)) as cursor:
        found = cursor.execute(POWERS).fetchone()
    return found.warning if found else None


def includes(conn: psycopg.Connection[Any], role: str) -> bool:
    """Returns whether a role owns the schema, or can become its owner."""
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        (member,) = cursor.execute(IS_OWNER, [role]).fetchone() or (False,)
    return bool(member)


def require(conn: psycopg.Connection[Any], action: str) -> None:
    """Raises InsufficientPrivilege, with the owner's name, when the connection's role is not the schema's owner.

    :param action: what only the owner can do: "grant".
    """
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        role, is_owner = cursor.execute(OWNER).fetchone() or (None, True)
    if not is_owner:
        raise InsufficientPrivilege(f"only the owner of the schema pgaudit can {action}: connect as {role}")
