"""Lists the chosen indexes from the catalog alone, which every role of pgaudit may read."""

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from pgaudit._driver import fetch, reading
from pgaudit.indexes.expressions import Choice

# The names of the indexes that a search can use: a row for each that is complete. The comment of an index is its name.
# With row-level security there are none: Postgres applies JSON operators only to rows that it has let through.
CHOSEN_NAMES: Final = """
    SELECT description AS name
      FROM pg_catalog.pg_index
      JOIN pg_catalog.pg_class c ON c.oid = indexrelid
      JOIN pg_catalog.pg_description ON objoid = c.oid AND objsubid = 0 AND classoid = 'pg_catalog.pg_class'::regclass
     WHERE indrelid = 'pgaudit.audit_log'::regclass AND indisvalid AND starts_with(relname, 'audit_log_chosen_')
       AND NOT row_security_active('pgaudit.audit_log')
     ORDER BY name
"""
LISTED: Final = """
    SELECT description AS name, pg_get_indexdef(indexrelid) AS definition, indisvalid AS complete,
           (SELECT coalesce(sum(pg_relation_size(inhrelid)), 0)::bigint
              FROM pg_catalog.pg_inherits WHERE inhparent = indexrelid) AS bytes
      FROM pg_catalog.pg_index
      JOIN pg_catalog.pg_class c ON c.oid = indexrelid
      JOIN pg_catalog.pg_description ON objoid = c.oid AND objsubid = 0 AND classoid = 'pg_catalog.pg_class'::regclass
     WHERE indrelid = 'pgaudit.audit_log'::regclass AND starts_with(relname, 'audit_log_chosen_')
     ORDER BY name
"""
# The partitions without the index, the newest first, and what an interrupted build may have left on them.
LACKING: Final = """
    SELECT n.nspname::text AS schema, t.relname::text AS name, t.oid::bigint, built.indisvalid AS is_valid
      FROM pg_catalog.pg_inherits p
      JOIN pg_catalog.pg_class t ON t.oid = p.inhrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
      LEFT JOIN (pg_catalog.pg_index built JOIN pg_catalog.pg_class b ON b.oid = built.indexrelid)
             ON built.indrelid = t.oid AND b.relname = format('%%s_%%s', %(relation)s::text, t.oid)
     WHERE p.inhparent = 'pgaudit.audit_log'::regclass AND NOT p.inhdetachpending
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits a JOIN pg_catalog.pg_index i ON i.indexrelid = a.inhrelid
                        WHERE i.indrelid = t.oid AND a.inhparent = to_regclass('pgaudit.' || %(relation)s))
     ORDER BY t.oid DESC
"""


@dataclass(frozen=True, slots=True)
class ChosenIndex:
    """An index that was chosen; ``complete`` when every partition has it. Until then no search uses it."""

    name: str
    definition: str
    bytes: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition without the index; ``is_valid`` of an index that is not attached yet, None if there is none."""

    schema: str
    name: str
    oid: int
    is_valid: bool | None


def list_indexes(conn: object) -> list[ChosenIndex]:
    """Returns the chosen indexes, by name.

    >>> unusable = [index.name for index in list_indexes(conn) if not index.complete]
    """
    return fetch(reading(conn), class_row(ChosenIndex), LISTED)


def lacking(driver: psycopg.Connection[Any], choice: Choice) -> list[Partition]:
    """Returns the partitions that do not have the index yet."""
    return fetch(driver, class_row(Partition), LACKING, {"relation": choice.relation})
