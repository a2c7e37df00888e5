-- The columns of captured and guarded tables: what they are, and what those are called now that options name.

-- shape_of(relation): returns a number for the columns of a table with their types, in any order: a generated function
-- fits as long as it is the same. No sort, and no cast to text, because each changing statement pays for it.
CREATE OR REPLACE FUNCTION pgaudit.shape_of(relation oid) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.bit_xor(pg_catalog.hashnameextended(attname, atttypid::bigint)) FROM pg_catalog.pg_attribute
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;

-- deep_shape_of(relation): returns shape_of, and that of the composite types among its columns, in one text.
CREATE OR REPLACE FUNCTION pgaudit.deep_shape_of(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT concat_ws(';', shape_of(relation), (
        SELECT string_agg(DISTINCT part || ' ' || shape_of(typrelid), ';')
          FROM pg_attribute, LATERAL parts_of(atttypid), pg_type t
         WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND t.oid = part AND kind = 'composite'))
$$;

-- shape_condition(relation): returns the SQL condition under which the columns are no longer those that a function was
-- generated for. The query of shape_of stands in it, because calling that function takes longer than the query.
CREATE OR REPLACE FUNCTION pgaudit.shape_condition(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN deep_shape_of(relation) = shape_of(relation)::text
                THEN format('(SELECT pg_catalog.bit_xor(pg_catalog.hashnameextended(attname, atttypid::bigint)) '
                            'FROM pg_catalog.pg_attribute WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped) '
                            'IS DISTINCT FROM %s', shape_of(relation))
                ELSE format('pgaudit.deep_shape_of(TG_RELID) <> %L', deep_shape_of(relation)) END
$$;

-- numbered_columns(relation): returns the numbers of a table's columns by their names.
CREATE OR REPLACE FUNCTION pgaudit.numbered_columns(relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT jsonb_object_agg(attname, attnum) FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;

-- restored_numbers(known, present): returns the numbers that known columns have now by their names at that time. A
-- restore closes the gaps that dropped columns have left: then columns have lower numbers, in the same order.
CREATE OR REPLACE FUNCTION pgaudit.restored_numbers(known jsonb, present jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM jsonb_each(known) k JOIN jsonb_each(present) p USING (key) WHERE k.value > p.value)
                THEN (SELECT jsonb_object_agg(key, n) FROM (
                        SELECT key, row_number() OVER (ORDER BY value::integer) AS n FROM jsonb_each(known)) ranked)
                ELSE known END
$$;

-- columns_now(known, relation): returns what columns of a table are called now: their name, if there is such a column,
-- and the new name of the column with their number. Both, if a column was renamed and another one took its name.
--   known  the numbers of all columns at the time when they had the names known_name
CREATE OR REPLACE FUNCTION pgaudit.columns_now(known jsonb, relation oid)
RETURNS TABLE (known_name text, present_name text, is_renamed boolean)
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT k.key, p.key, p.key <> k.key
      FROM numbered_columns(relation) present, jsonb_each(restored_numbers(known, present)) k
      JOIN jsonb_each(present) p ON p.key = k.key OR p.value = k.value AND NOT known ? p.key
$$;

-- names_now(names, known, relation): returns the present names of columns, without those that were dropped. A renamed
-- column remains masked, excluded or chosen beside another one that took its name.
CREATE OR REPLACE FUNCTION pgaudit.names_now(names text[], known jsonb, relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN names IS NOT NULL THEN array(
        SELECT present_name
          FROM unnest(names) WITH ORDINALITY AS given (name, n) JOIN columns_now(known, relation) ON known_name = name
         ORDER BY n, is_renamed) END
$$;

-- key_now(names, known, relation): returns the present names of the columns of a key, without those that were dropped.
CREATE OR REPLACE FUNCTION pgaudit.key_now(names text[], known jsonb, relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT array(SELECT present_name FROM (
        SELECT DISTINCT ON (n) n, present_name
          FROM unnest(names) WITH ORDINALITY AS given (name, n) JOIN columns_now(known, relation) ON known_name = name
         ORDER BY n, is_renamed) found ORDER BY n)
$$;

-- renamed_now(renamed, known, relation): returns the present names of the columns that a condition calls otherwise.
--   renamed  the same at the time of known
CREATE OR REPLACE FUNCTION pgaudit.renamed_now(renamed jsonb, known jsonb, relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(jsonb_object_agg(name, present_name), '{}') FROM (
        SELECT DISTINCT ON (name) coalesce(r.key, known_name) AS name, present_name
          FROM columns_now(known, relation) LEFT JOIN jsonb_each_text(renamed) r ON r.value = known_name
         ORDER BY name, is_renamed) found WHERE name <> present_name
$$;

-- columns_to_capture(relation, columns, excluded): returns the columns whose values go into events: the chosen ones, or
-- all where columns is NULL. Virtual generated columns are left out: triggers do not see their values.
CREATE OR REPLACE FUNCTION pgaudit.columns_to_capture(relation oid, columns text[], excluded text[])
RETURNS TABLE (name text, type oid)
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT attname, atttypid FROM pg_attribute
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'
       AND (columns IS NULL OR attname = ANY (columns)) AND attname <> ALL (excluded)
     ORDER BY attnum
$$;
