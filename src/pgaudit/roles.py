"""Which role may do what, and taking rights away again; ``pgaudit.grants`` gives them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row, scalar_row

from pgaudit import grants

KINDS: Final[Mapping[str, tuple[LiteralString, ...]]] = {
    "writer": grants.WRITER,
    "inline": grants.INLINE,
    "worker": grants.WORKER,
    "operator": grants.OPERATOR,
    "reader": grants.READER,
}
# By the catalogs alone, which every role can read; grants.SETS says what makes a role one of its kind.
ROLES: Final = """
    SELECT role, can_log_in, superuser, owner, writer, inline, worker, operator, reader
      FROM (SELECT oid, rolname::text AS role, rolcanlogin AS can_log_in, rolsuper AS superuser FROM pg_catalog.pg_roles
            UNION ALL SELECT 0, 'PUBLIC', false, false) r,
           pg_catalog.pg_namespace n,
           LATERAL (SELECT r.oid <> 0 AND pg_has_role(r.oid, nspowner, 'USAGE') AS owner) owning,
           LATERAL (SELECT coalesce(bool_or(allowed) FILTER (WHERE proname = 'record'), false) AS writer,
                           coalesce(bool_or(allowed) FILTER (WHERE proname = 'record_inline'), false) AS inline,
                           coalesce(bool_or(allowed) FILTER (WHERE proname = 'persist'), false) AS worker,
                           coalesce(bool_or(allowed) FILTER (WHERE proname = 'acknowledge_job'), false) AS operator
                      FROM (SELECT proname, has_function_privilege(r.oid, oid, 'EXECUTE') AS allowed
                              FROM pg_catalog.pg_proc WHERE pronamespace = n.oid) functions) executing,
           LATERAL (SELECT coalesce(bool_or(has_table_privilege(r.oid, oid, 'SELECT')), false) AS reader
                      FROM pg_catalog.pg_class WHERE relnamespace = n.oid AND relname = 'audit_log') reading
     WHERE nspname = 'pgaudit' AND NOT starts_with(role, 'pg_') AND has_schema_privilege(r.oid, n.oid, 'USAGE')
       AND (owner OR writer OR inline OR worker OR operator OR reader)
     ORDER BY role
"""
MARKERS: Final = """
    SELECT name FROM (SELECT proname, proacl FROM pg_catalog.pg_proc WHERE pronamespace = 'pgaudit'::regnamespace
                      UNION ALL
                      SELECT relname, relacl FROM pg_catalog.pg_class WHERE relnamespace = 'pgaudit'::regnamespace
                     ) AS object (name, acl), aclexplode(acl) JOIN pg_catalog.pg_roles r ON r.oid = grantee
     WHERE rolname = %s AND privilege_type IN ('EXECUTE', 'SELECT')
"""
IS_OWNER: Final = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'pgaudit' AND pg_get_userbyid(nspowner) = %s)
"""


@dataclass(frozen=True, slots=True)
class Rights:
    """What a role may do, directly, as a member of another role, or as everyone (PUBLIC) may."""

    role: str
    can_log_in: bool
    superuser: bool
    owner: bool
    writer: bool
    inline: bool
    worker: bool
    operator: bool
    reader: bool

    @property
    def kinds(self) -> list[str]:
        """The kinds of role that it is, as the options of ``pgaudit grant`` name them."""
        return [kind for kind in KINDS if getattr(self, kind)]


def rights(conn: psycopg.Connection[Any]) -> list[Rights]:
    """Returns the roles that may do something in the schema, by name. Any role may ask.

    >>> [found.role for found in rights(conn) if found.owner]
    ['postgres']
    """
    with psycopg.Cursor(conn, row_factory=class_row(Rights)) as cursor:
        return cursor.execute(ROLES).fetchall()


def revoke(conn: psycopg.Connection[Any], **revoked: grants.Roles) -> None:
    """Takes from each role what ``grants.grant`` gave it, in the caller's transaction. Safe to repeat.

    A role keeps what its other kinds need: a worker is a writer, too, until both are revoked.

    :param revoked: roles by kind: writer, inline, worker, operator or reader.
    :raises ValueError: a role owns the schema, and would lose its own rights.
    :raises psycopg.errors.UndefinedObject: there is no such role.
    :raises psycopg.errors.InsufficientPrivilege: the connection's role does not own the schema.
    """
    grants.refuse_others(conn)
    kinds_by_role: dict[str, set[str]] = {}
    for kind, roles in revoked.items():
        for role in grants.listed(roles):
            kinds_by_role.setdefault(role, set()).add(kind)
    for role, kinds in kinds_by_role.items():
        revoke_from(conn, role, kinds)


def revoke_from(conn: psycopg.Connection[Any], role: str, kinds: set[str]) -> None:
    """Takes all rights of these kinds from a role, and gives it back what the kinds that it keeps need."""
    with psycopg.Cursor(conn, row_factory=scalar_row) as cursor:
        if cursor.execute(IS_OWNER, [role]).fetchone():
            raise ValueError(f"{role} owns the schema pgaudit: its rights cannot be revoked")
        held = set(cursor.execute(MARKERS, [role]).fetchall())
    kept = [kind for kind, (marker, _) in zip(KINDS, grants.SETS, strict=True) if marker in held and kind not in kinds]
    name = sql.Identifier(role)
    for kind in kinds:
        for statement in KINDS[kind]:
            conn.execute(sql.SQL(opposite(statement)).format(role=name))
    for kind in kept:
        for statement in KINDS[kind]:
            conn.execute(sql.SQL(statement).format(role=name))


def opposite(statement: LiteralString) -> LiteralString:
    """Returns the REVOKE of a GRANT."""
    return statement.replace("GRANT ", "REVOKE ", 1).replace(" TO {role}", " FROM {role}")
