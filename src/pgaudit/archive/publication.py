"""The publication on the primary: it publishes inserts, but no updates, deletes or truncates."""

from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from pgaudit._driver import fetch
from pgaudit.errors import ArchiveRefused

NAME: Final = "pgaudit_archive"
# The log, and what belongs to it, so that the archive can be searched and verified as the primary is. Their rows are
# never changed, but for batches, which are merged after a day: the archive keeps each one.
TABLES: Final = (
    "audit_log", "event_key", "event_target", "event_sighting", "event_conflict", "batch", "tile", "checkpoint",
    "target_period", "target_tile", "acknowledged_jobs",
)  # fmt: skip
NAMES: Final = [f"pgaudit.{name}" for name in TABLES]
WAL_LEVEL: Final = "SELECT current_setting('wal_level')"
IS_AS_IT_SHOULD_BE: Final = """
    SELECT pubinsert AND pubviaroot AND NOT (pubupdate OR pubdelete OR pubtruncate OR puballtables)
           AND (SELECT array_agg(prrelid ORDER BY prrelid) FROM pg_publication_rel WHERE prpubid = p.oid)
               = (SELECT array_agg(relation::oid ORDER BY relation::oid) FROM unnest(%(tables)s::regclass[]) relation)
           AND NOT EXISTS (SELECT FROM pg_publication_rel
                            WHERE prpubid = p.oid AND (prqual IS NOT NULL OR prattrs IS NOT NULL))
      FROM pg_publication p WHERE pubname = %(name)s
"""
IS_ROLE: Final = "SELECT true FROM pg_roles WHERE rolname = %(role)s"
MAY_NOT_READ: Final = """
    SELECT relation::text FROM unnest(%(tables)s::regclass[]) relation JOIN pg_roles ON rolname = %(role)s
     WHERE NOT (has_schema_privilege(rolname, 'pgaudit', 'USAGE') AND has_table_privilege(rolname, relation, 'SELECT'))
     ORDER BY 1
"""
OPTIONS: Final = sql.SQL("(publish = 'insert', publish_via_partition_root = true)")

Connection = psycopg.Connection[Any]


def require_readable(primary: Connection, role: str) -> None:
    """Checks that a role may read what is published: otherwise the first copy would be tried again for ever.

    :param role: empty if a service of the archive's server names it: then nothing is checked.
    :raises ArchiveRefused: it may not, or there is no such role.
    """
    if role and not fetch(primary, scalar_row, IS_ROLE, {"role": role}):
        raise ArchiveRefused(f"the primary has no role {role}, which the source names")
    unreadable = fetch(primary, scalar_row, MAY_NOT_READ, {"role": role, "tables": NAMES})
    if unreadable:
        raise ArchiveRefused(
            f"{role} may not read {', '.join(unreadable)}: as the owner of the schema, `pgaudit grant --reader {role}`"
        )


def publish(primary: Connection) -> bool:
    """Creates the publication, or corrects it. Returns whether there was something to do.

    :raises ArchiveRefused: the server does not write what logical replication needs.
    """
    (level,) = fetch(primary, scalar_row, WAL_LEVEL)
    if level != "logical":
        raise ArchiveRefused(
            f"wal_level of the primary is {level}: as a superuser, ALTER SYSTEM SET wal_level = 'logical', and restart"
        )
    state = published(primary)
    name = sql.Identifier(NAME)
    tables = sql.SQL(", ").join(sql.Identifier("pgaudit", table) for table in TABLES)
    if state is None:
        statement = sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH {}").format(name, tables, OPTIONS)
        primary.execute(statement)
    elif not state:
        with primary.transaction():
            primary.execute(sql.SQL("ALTER PUBLICATION {} SET TABLE {}").format(name, tables))
            primary.execute(sql.SQL("ALTER PUBLICATION {} SET {}").format(name, OPTIONS))
    return not state


def published(primary: Connection) -> bool | None:
    """Returns whether the publication is as it should be; None if there is none."""
    found = fetch(primary, scalar_row, IS_AS_IT_SHOULD_BE, {"name": NAME, "tables": NAMES})
    return bool(found[0]) if found else None
