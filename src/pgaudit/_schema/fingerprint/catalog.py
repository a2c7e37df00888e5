"""Reads what the schema consists of. Needs no right to it: the catalog is readable for everyone."""

from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import tuple_row

from pgaudit._driver import plain

# What names and definitions look like must not depend on the session, nor what the names in OBJECTS mean: the owner of
# the database can put a schema before pg_catalog, for every session. Rolled back with the transaction around it.
PLAIN: Final[LiteralString] = """
    SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
           pg_catalog.set_config('quote_all_identifiers', 'off', true),
           pg_catalog.set_config('DateStyle', 'ISO, MDY', true),
           pg_catalog.set_config('IntervalStyle', 'postgres', true), pg_catalog.set_config('TimeZone', 'UTC', true),
           pg_catalog.set_config('jit', 'off', true)
"""
OBJECTS: Final[LiteralString] = """
WITH our_schema AS (
    SELECT oid, nspowner, nspacl FROM pg_namespace WHERE nspname = 'pgaudit'
), log_partition AS (
    SELECT inhrelid AS oid FROM pg_inherits
     WHERE inhparent = (SELECT c.oid FROM pg_class c JOIN our_schema s ON s.oid = relnamespace
                         WHERE relname = 'audit_log')
), relation AS (
    SELECT c.*, c.oid::regclass::text AS name, c.oid IN (SELECT oid FROM log_partition) AS is_partition
      FROM pg_class c
     WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
       AND (relnamespace = (SELECT oid FROM our_schema) OR c.oid IN (SELECT oid FROM log_partition))
), ours AS (
    SELECT * FROM relation WHERE NOT is_partition AND relkind <> 'S'
), rights AS (
    SELECT 'schema pgaudit' AS object, nspacl AS acl, nspowner AS owner, false AS is_function FROM our_schema
    UNION ALL SELECT CASE relkind WHEN 'S' THEN 'sequence ' ELSE 'table ' END || name, relacl, relowner, false
      FROM relation
    UNION ALL SELECT format('table %s, column %I', name, attname), attacl, relowner, false
      FROM relation, LATERAL (SELECT attname, attacl FROM pg_attribute
                               WHERE attrelid = relation.oid AND attnum > 0 AND attacl IS NOT NULL
                              OFFSET 0) granted  -- by the index, however many columns the database has
    UNION ALL SELECT 'function ' || p.oid::regprocedure, coalesce(proacl, acldefault('f', proowner)), proowner, true
      FROM pg_proc p WHERE pronamespace = (SELECT oid FROM our_schema)
)
SELECT 'schema' AS kind, 'pgaudit' AS name,
       jsonb_build_object('owner', pg_get_userbyid(nspowner),
                          'major', current_setting('server_version_num')::integer / 10000)
  FROM our_schema
UNION ALL
SELECT 'function', p.oid::regprocedure::text, jsonb_build_object(
           'body', md5(prosrc), 'SECURITY DEFINER', prosecdef, 'settings', proconfig, 'language', lanname,
           'volatility', provolatile, 'strictness', proisstrict, 'parallel safety', proparallel,
           'leakproof', proleakproof,
           'arguments', pg_get_function_arguments(p.oid), 'result', pg_get_function_result(p.oid),
           'owner', pg_get_userbyid(proowner))
  FROM pg_proc p JOIN pg_language l ON l.oid = prolang WHERE pronamespace = (SELECT oid FROM our_schema)
UNION ALL
SELECT CASE WHEN relkind IN ('v', 'm') THEN 'view' ELSE 'table' END, name, jsonb_build_object(
           'kind', relkind, 'persistence', relpersistence, 'owner', pg_get_userbyid(relowner),
           'row security', relrowsecurity, 'forced row security', relforcerowsecurity,
           'partition key', CASE relkind WHEN 'p' THEN pg_get_partkeydef(oid) END,
           'definition', CASE WHEN relkind IN ('v', 'm') THEN md5(pg_get_viewdef(oid)) END,
           'options', CASE WHEN relkind IN ('v', 'm') THEN reloptions END,
           'parents', (SELECT jsonb_agg(inhparent::regclass::text ORDER BY inhseqno)
                         FROM pg_inherits WHERE inhrelid = ours.oid),
           'columns', (SELECT jsonb_object_agg(attname, concat_ws(' ', format_type(atttypid, atttypmod),
                                  'COLLATE ' || nullif(attcollation, typcollation)::regcollation::text,
                                  CASE WHEN attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(adbin, adrelid),
                                  'identity ' || nullif(attidentity::text, ''),
                                  'generated ' || nullif(attgenerated::text, '')))
                         FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
                         LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                        WHERE attrelid = ours.oid AND attnum > 0 AND NOT attisdropped AND relkind NOT IN ('v', 'm')),
           'constraints', (SELECT jsonb_object_agg(conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c
                            WHERE conrelid = ours.oid AND contype IN ('c', 'f', 'p', 'u', 'x')),
           'indexes', (SELECT jsonb_object_agg(indexrelid::regclass::text, pg_get_indexdef(indexrelid)
                                               || CASE WHEN indisvalid THEN '' ELSE ' (invalid)' END)
                         FROM pg_index WHERE indrelid = ours.oid),
           'triggers', (SELECT jsonb_object_agg(tgname, jsonb_build_array(pg_get_triggerdef(t.oid), tgenabled))
                          FROM pg_trigger t WHERE tgrelid = ours.oid AND NOT tgisinternal))
  FROM ours
UNION ALL
SELECT 'partition', name, jsonb_build_object(
           'kind', relkind, 'persistence', relpersistence, 'owner', pg_get_userbyid(relowner),
           'row security', relrowsecurity, 'forced row security', relforcerowsecurity, 'triggers', triggers,
           'bound', pg_get_expr(relpartbound, oid))
  FROM relation
  LEFT JOIN (SELECT tgrelid, jsonb_object_agg(tgname, jsonb_build_array(
                        concat_ws(' ', tgfoid::regproc, tgtype, tgattr, CASE WHEN tgqual IS NOT NULL THEN 'WHEN' END),
                        tgenabled)) AS triggers
               FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM log_partition)
              GROUP BY 1) guards ON tgrelid = oid
 WHERE is_partition
UNION ALL
SELECT 'rule', rulename, jsonb_build_object('table', name)
  FROM pg_rewrite JOIN relation ON relation.oid = ev_class WHERE rulename <> '_RETURN'
UNION ALL
SELECT 'policy', polname, jsonb_build_object('table', name) FROM pg_policy JOIN relation ON relation.oid = polrelid
UNION ALL
SELECT 'right', object, jsonb_build_object('privileges', string_agg(DISTINCT privilege_type, ', '), 'role',
                                           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
  FROM rights, aclexplode(acl)
 WHERE grantee <> owner
   AND (grantee = 0 OR privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'CREATE'))
 GROUP BY object, grantee
"""

Row = tuple[str, str, dict[str, Any]]


def read(conn: psycopg.Connection[Any]) -> list[Row]:
    """Returns kind, name and facts of each object, and of each right that may be one too many."""
    with conn.transaction(force_rollback=True), psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        cursor.execute(PLAIN)
        return plain(cursor).execute(OBJECTS).fetchall()


async def read_async(conn: psycopg.AsyncConnection[Any]) -> list[Row]:
    """``read`` for asynchronous connections."""
    async with conn.transaction(force_rollback=True), psycopg.AsyncCursor(conn, row_factory=tuple_row) as cursor:
        await cursor.execute(PLAIN)
        await plain(cursor).execute(OBJECTS)
        return await cursor.fetchall()
