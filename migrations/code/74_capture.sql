-- Capture: triggers on the application's tables that record an event for each changed row, whoever changed it. Their
-- functions are generated for each table, because comparing two rows of unknown columns takes three times as long.

-- is_trusted_type(type): returns whether only a superuser or the schema's owner can make casts and operators for a type.
-- A condition that uses another one might call them, with the rights of the schema's owner.
CREATE OR REPLACE FUNCTION pgaudit.is_trusted_type(type oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT rolsuper OR typowner = (SELECT nspowner FROM pg_namespace WHERE nspname = 'pgaudit')
      FROM pg_type t JOIN pg_roles r ON r.oid = typowner WHERE t.oid = base_type(type)
$$;

-- condition_row(relation, renamed, row): returns the query of a row as a condition sees it. Columns of types that are not
-- trusted are text.
--   renamed  the present names of columns that the condition calls otherwise
--   row      old or new; NULL for a row without values
CREATE OR REPLACE FUNCTION pgaudit.condition_row(relation oid, renamed jsonb, "row" text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT 'SELECT ' || string_agg(format('%s AS %I',
        CASE WHEN "row" IS NULL
             THEN format('NULL::%s', CASE WHEN trusted THEN format_type(base_type(atttypid), NULL) ELSE 'text' END)
             WHEN trusted THEN format('%s.%I', "row", attname)
             ELSE text_expression(atttypid, format('%s.%I', "row", attname)) END, coalesce(name, attname)), ', ' ORDER BY attnum)
      FROM pg_attribute LEFT JOIN jsonb_each_text(renamed) AS other (name, present_name) ON present_name = attname,
           LATERAL is_trusted_type(atttypid) trusted
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'
       AND (name IS NOT NULL OR NOT renamed ? attname)
$$;

-- condition_expression(capture, relation): returns the SQL expression of a capture's condition; NULL if it has none.
CREATE OR REPLACE FUNCTION pgaudit.condition_expression(capture pgaudit.captured_table, relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN capture.condition IS NOT NULL
                THEN format(E'(SELECT (%s\n) FROM (%s) old, (%s) new)', capture.condition,
                            condition_row(relation, capture.renamed_columns, 'old'),
                            condition_row(relation, capture.renamed_columns, 'new')) END
$$;

-- key_expression(relation, key, row): returns the SQL expression of a row's key: the id of the target.
CREATE OR REPLACE FUNCTION pgaudit.key_expression(relation oid, key text[], "row" text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN cardinality(key) > 1
                THEN 'pgaudit.fitting_key(' || string_agg(format('pgaudit.key_part(%s)', value), $s$ || ',' || $s$ ORDER BY n) || ')'
                WHEN bool_and(atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype))
                THEN format('coalesce(%s, ''NULL'')', min(value))
                ELSE min(format('pgaudit.fitting_key(%s)', value)) END
      FROM unnest(key) WITH ORDINALITY AS part (name, n)
      JOIN pg_attribute ON attrelid = relation AND attname = name AND NOT attisdropped,
           LATERAL text_expression(atttypid, format('%s.%I', "row", name)) value
$$;

-- change_expression(column, operation, masked): returns the SQL expression of a column's change, in JSON after a comma;
-- it is NULL where there is none. Of a masked column it says that it was changed, but not its values.
CREATE OR REPLACE FUNCTION pgaudit.change_expression(name text, type oid, operation text, masked boolean)
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE operation
        WHEN 'UPDATE' THEN format($s$CASE WHEN %s THEN %L || coalesce(%s, 'null') || ',"after":' || coalesce(%s, 'null') || '}' END$s$,
            changed_expression(type, o, n), format(',{"path":%s,"before":', to_json(name)),
            CASE WHEN masked THEN hidden ELSE json_expression(type, o) END,
            CASE WHEN masked THEN hidden ELSE json_expression(type, n) END)
        WHEN 'INSERT' THEN format($s$CASE WHEN %s IS DISTINCT FROM NULL THEN %L || %s || '}' END$s$,
            n, format(',{"path":%s,"after":', to_json(name)), CASE WHEN masked THEN hidden ELSE json_expression(type, n) END)
        WHEN 'DELETE' THEN format($s$CASE WHEN %s IS DISTINCT FROM NULL THEN %L || %s || '}' END$s$,
            o, format(',{"path":%s,"before":', to_json(name)), CASE WHEN masked THEN hidden ELSE json_expression(type, o) END)
        END
      FROM (SELECT format('old.%I', name) AS o, format('new.%I', name) AS n, $s$'"***"'$s$ AS hidden) row
$$;

-- changes_expression(…): returns the SQL expression of the changes of a row, in JSON with a comma before each. A
-- function call takes at most 100 arguments.
CREATE OR REPLACE FUNCTION pgaudit.changes_expression(relation oid, columns text[], excluded text[], masked text[],
                                                      operation text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(string_agg(portion, ' || '), $s$''$s$)
      FROM (SELECT format('pg_catalog.concat(%s)', string_agg(change_expression(
                       name, type, operation, name = ANY (masked)), E',\n               ' ORDER BY n)) AS portion
              FROM columns_to_capture(relation, columns, excluded) WITH ORDINALITY AS c (name, type, n)
             GROUP BY n / 100) portions
$$;

-- changed_condition(…): returns the SQL condition under which an UPDATE has changed any recorded column.
CREATE OR REPLACE FUNCTION pgaudit.changed_condition(relation oid, columns text[], excluded text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(string_agg(changed_expression(type, format('old.%I', name), format('new.%I', name)), ' OR '), 'false')
      FROM columns_to_capture(relation, columns, excluded)
$$;

-- rows_of(operation, level, old_row, new_row): returns the SQL of the changed rows: old before, new after. The two
-- transition tables of an UPDATE have its rows in the same order. Their number is called ctid, as no column of a table
-- can be.
--   level  statement or row: what the trigger fires for; single: a statement that has changed one row, or none
CREATE OR REPLACE FUNCTION pgaudit.rows_of(operation text, level text, old_row text, new_row text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE level || ' ' || operation
        WHEN 'single INSERT' THEN 'new_rows new'
        WHEN 'single DELETE' THEN 'old_rows old'
        WHEN 'single UPDATE' THEN 'old_rows old, new_rows new'
        WHEN 'statement INSERT' THEN 'new_rows new'
        WHEN 'statement DELETE' THEN 'old_rows old'
        WHEN 'statement UPDATE' THEN '(SELECT pg_catalog.row_number() OVER () AS ctid, * FROM old_rows) old '
                                     'JOIN (SELECT pg_catalog.row_number() OVER () AS ctid, * FROM new_rows) new USING (ctid)'
        WHEN 'row INSERT' THEN format('(SELECT %s.*) new', new_row)
        WHEN 'row DELETE' THEN format('(SELECT %s.*) old', old_row)
        WHEN 'row UPDATE' THEN format('(SELECT %s.*) old, (SELECT %s.*) new', old_row, new_row) END
$$;

-- event_expression(capture, head, key, new_key, changes): returns the SQL expression of an event's text, of those for its
-- parts; changes are in JSON, with commas between them.
CREATE OR REPLACE FUNCTION pgaudit.event_expression(capture pgaudit.captured_table, head text, key text, new_key text, changes text)
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($expression$%1$s || pg_catalog.substr(pg_catalog.gen_random_uuid()::text, 16)
           || %2$L || pg_catalog.to_json(%4$s)::text || CASE WHEN %4$s = %5$s THEN '}' ELSE %3$L || pg_catalog.to_json(%5$s)::text || ',"role":"new"}' END
           || '],"changes":[' || %6$s || ']}'$expression$, head, '","targets":[' || target, '},' || target, key, new_key, changes)
      FROM format('{"type":%s,"id":', to_json(capture.target_type)) target
$$;

-- fitting_expression(content): returns the SQL expression of an event of which that expression is the text.
CREATE OR REPLACE FUNCTION pgaudit.fitting_expression(content text) RETURNS text
LANGUAGE sql IMMUTABLE AS
$$ SELECT format('CASE WHEN pg_catalog.octet_length(%1$s) > 8000 THEN pgaudit.fitting_event(%1$s) ELSE %1$s::jsonb END', content) $$;

-- hash_expression(content, receipts): returns the SQL expression of an event's leaf hash.
CREATE OR REPLACE FUNCTION pgaudit.hash_expression(content text, receipts text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format($expression$CASE WHEN %2$s IS NULL THEN pg_catalog.sha256(pg_catalog.decode('00', 'hex') || pg_catalog.convert_to(%1$s, 'UTF8'))
                         ELSE pgaudit.hash_with_receipt(%1$s, %2$s) END$expression$, content, receipts)
$$;

-- change_query(capture, relation, operation, level, names): returns the query of the changed rows of a table: key,
-- new_key (another one if the key was changed), and content, the text of the event.
--   relation  the table, or its partition or child
--   level     what rows_of takes
--   names     of the results of captured_head and receipt_prefix, and of OLD and NEW, in the query: variables of a
--             generated function, or parameters
CREATE OR REPLACE FUNCTION pgaudit.change_query(capture pgaudit.captured_table, relation oid, operation text, level text,
                                                names text[] DEFAULT '{captured.head,captured.receipts,OLD,NEW}')
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($query$SELECT c.key, c.new_key, %1$s AS content
      FROM (SELECT %2$s AS key, %3$s AS new_key,
               %4$s AS changes
              FROM %5$s
             WHERE %6$s
            OFFSET 0) c
     WHERE %7$s
    OFFSET 0$query$,
        event_expression(capture, names[1], 'c.key', 'c.new_key', 'pg_catalog.substr(c.changes, 2)'),
        key_expression(relation, capture.key_columns, CASE operation WHEN 'INSERT' THEN 'new' ELSE 'old' END),
        key_expression(relation, capture.key_columns, CASE operation WHEN 'DELETE' THEN 'old' ELSE 'new' END),
        changes_expression(relation, capture.columns, capture.excluded, capture.masked, operation),
        rows_of(operation, level, names[3], names[4]),
        coalesce(CASE WHEN operation = 'UPDATE' THEN condition_expression(capture, relation) END, 'true'),
        CASE operation WHEN 'UPDATE' THEN $s$c.changes <> ''$s$ ELSE 'true' END)
$$;

-- key_query(…): returns the query of the keys of the changed rows alone: key and new_key; takes what change_query
-- takes.
CREATE OR REPLACE FUNCTION pgaudit.key_query(capture pgaudit.captured_table, relation oid, operation text, level text, names text[])
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format('SELECT %s AS key, %s AS new_key FROM %s WHERE %s',
        key_expression(relation, capture.key_columns, CASE operation WHEN 'INSERT' THEN 'new' ELSE 'old' END),
        key_expression(relation, capture.key_columns, CASE operation WHEN 'DELETE' THEN 'old' ELSE 'new' END),
        rows_of(operation, level, names[3], names[4]),
        CASE operation WHEN 'UPDATE' THEN format('%s AND (%s)', coalesce(condition_expression(capture, relation), 'true'),
                                                 changed_condition(relation, capture.columns, capture.excluded)) ELSE 'true' END)
$$;

-- capture_query(…): returns the statement that records an event for each changed row; takes what change_query takes.
CREATE OR REPLACE FUNCTION pgaudit.capture_query(capture pgaudit.captured_table, relation oid, operation text, level text,
                                                 names text[] DEFAULT '{captured.head,captured.receipts,OLD,NEW}')
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($query$INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
    SELECT e.event, %1$s, pg_catalog.octet_length(e.content)
      FROM (SELECT f.event, f.event::text AS content
              FROM (SELECT %2$s AS event
                      FROM (%3$s) t
                    OFFSET 0) f
            OFFSET 0) e$query$, hash_expression('e.content', names[2]), fitting_expression('t.content'),
        change_query(capture, relation, operation, level, names))
$$;
