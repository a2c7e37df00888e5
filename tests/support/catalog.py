"""The definitions of all objects in a schema, without the schema's name, so that two schemas can be compared."""

from typing import Any

import psycopg

QUERIES = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
               pg_get_expr(d.adbin, d.adrelid)
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'c')""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = %(schema)s""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = %(schema)s::regnamespace AND contype <> 'n'""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
         WHERE pronamespace = %(schema)s::regnamespace AND prokind = 'f'""",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(t.oid), tgenabled::text
          FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
         WHERE c.relnamespace = %(schema)s::regnamespace AND NOT tgisinternal""",
    "enums": """
        SELECT t.typname, array_agg(enumlabel::text ORDER BY enumsortorder)
          FROM pg_enum e JOIN pg_type t ON t.oid = enumtypid
         WHERE t.typnamespace = %(schema)s::regnamespace GROUP BY 1""",
    "views": """
        SELECT viewname, definition FROM pg_views WHERE schemaname = %(schema)s""",
    "relations": """
        SELECT relname, relkind::text, reloptions, pg_get_expr(relpartbound, oid)
          FROM pg_class WHERE relnamespace = %(schema)s::regnamespace""",
    "rights": """
        SELECT relname, relacl::text FROM pg_class WHERE relnamespace = %(schema)s::regnamespace
        UNION ALL SELECT proname, proacl::text FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace""",
    "comments": """
        SELECT coalesce(c.relname, p.proname), objsubid, description
          FROM pg_description LEFT JOIN pg_class c ON c.oid = objoid AND classoid = 'pg_class'::regclass
          LEFT JOIN pg_proc p ON p.oid = objoid AND classoid = 'pg_proc'::regclass
         WHERE coalesce(c.relnamespace, p.pronamespace) = %(schema)s::regnamespace""",
}  # fmt: skip

Catalog = dict[str, list[str]]


def catalog(conn: psycopg.Connection[Any], schema: str = "pgaudit") -> Catalog:
    """Returns the definitions of the schema's objects by kind. The order of columns is left out."""
    conn.execute("SET search_path = ''")
    found = {kind: conn.execute(query, {"schema": schema}).fetchall() for kind, query in QUERIES.items()}
    conn.execute("RESET search_path")
    return {kind: sorted(repr(row).replace(f"{schema}.", "") for row in rows) for kind, rows in found.items()}
