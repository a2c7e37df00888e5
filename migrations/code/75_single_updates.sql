-- Capture of an UPDATE of one row, which most statements are: Postgres prepares each expression anew in each transaction,
-- which takes longer than to evaluate it. So the values are given to json_build_object. It cannot hold those of unusual
-- size: they are left to the statement for any number of rows.

-- argument_expression(type, value): returns the SQL expression of a column's value as an argument of json_build_object,
-- which makes of it what json_expression does, if it is not unusual.
CREATE OR REPLACE FUNCTION pgaudit.argument_expression(type oid, value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN oid IN ('bytea'::regtype, 'xml'::regtype) OR has_foreign_parts(oid) THEN text_expression(oid, value)
                WHEN oid = 'json'::regtype THEN format('pgaudit.capturable(%s::text)::json', value)
                WHEN oid <> 'uuid'::regtype AND typcategory IN ('A', 'C', 'U', 'R')
                    THEN format('pgaudit.capturable(pg_catalog.to_json(%s)::text)::json', value)
                ELSE value END
      FROM pg_type t WHERE t.oid = base_type(type)
$$;

-- unusual_expression(type, value): returns the SQL condition under which a value needs json_expression: it is large, or a
-- number of many digits; NULL if no value of the type does.
CREATE OR REPLACE FUNCTION pgaudit.unusual_expression(type oid, value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN oid = 'numeric'::regtype
                THEN format('pg_catalog.abs(%1$s) >= ''1e1000'' OR pg_catalog.scale(%1$s) >= 1000', value)
                WHEN typlen = -1 THEN format('pg_catalog.pg_column_size(%s) > 100000', value) END
      FROM pg_type t WHERE t.oid = base_type(type)
$$;

-- single_changes(capture): returns the SQL expression of the changes of the row, in JSON with commas between them. A
-- function call takes at most 100 arguments.
CREATE OR REPLACE FUNCTION pgaudit.single_changes(capture pgaudit.captured_table) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format('pg_catalog.concat_ws('','', %s)', coalesce(string_agg(portion, E',\n               ' ORDER BY first), 'NULL'))
      FROM (SELECT CASE WHEN count(*) OVER () = 1 THEN list ELSE format('nullif(pg_catalog.concat_ws('','', %s), '''')', list) END AS portion, first
              FROM (SELECT string_agg(format('CASE WHEN %s THEN pg_catalog.json_build_object(''path'', %L, ''before'', %s, ''after'', %s) END',
                               changed_expression(type, o, n), name,
                               CASE WHEN masked THEN $s$'***'$s$ ELSE argument_expression(type, o) END,
                               CASE WHEN masked THEN $s$'***'$s$ ELSE argument_expression(type, n) END), E',\n               ' ORDER BY number) AS list, min(number) AS first
                      FROM columns_to_capture(capture.relation, capture.columns, capture.excluded) WITH ORDINALITY AS c (name, type, number),
                           LATERAL (SELECT format('old.%I', name) AS o, format('new.%I', name) AS n,
                                           name = ANY (capture.masked) AS masked) row
                     GROUP BY number / 90) lists) portions
$$;

-- unusual_row(capture): returns the SQL condition under which a value of the row before or after is unusual.
CREATE OR REPLACE FUNCTION pgaudit.unusual_row(capture pgaudit.captured_table) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(string_agg(condition, ' OR '), 'false')
      FROM columns_to_capture(capture.relation, capture.columns, capture.excluded),
           unnest('{old,new}'::text[]) side, LATERAL unusual_expression(type, format('%I.%I', side, name)) condition
     WHERE name <> ALL (capture.masked)
$$;

-- single_update(capture, many): returns the commands of a statement's trigger for UPDATE.
--   many  the statement for any number of rows
CREATE OR REPLACE FUNCTION pgaudit.single_update(capture pgaudit.captured_table, many text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($commands$<<single>>
    DECLARE
        key     text;
        new_key text;
        changes text;  -- NULL: several rows, or unusual ones; empty: nothing to record
        content text;
        event   jsonb;
    BEGIN
        SELECT %1$s, %2$s,
               CASE WHEN EXISTS (SELECT FROM old_rows OFFSET 1) THEN NULL WHEN (%3$s) IS NOT TRUE THEN '' WHEN %4$s THEN NULL ELSE %5$s END
          INTO single.key, single.new_key, single.changes FROM old_rows old, new_rows new;
        IF single.changes <> '' THEN
            single.content := %6$s;
            single.event := %7$s;
            single.content := single.event::text;
            INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
            VALUES (single.event, %8$s, pg_catalog.octet_length(single.content));
        ELSIF FOUND AND single.changes IS NULL THEN
            %9$s;
        END IF;
    END$commands$,
        key_expression(capture.relation, capture.key_columns, 'old'), key_expression(capture.relation, capture.key_columns, 'new'),
        coalesce(condition_expression(capture, capture.relation), 'true'), unusual_row(capture), single_changes(capture),
        event_expression(capture, 'captured.head', 'single.key', 'single.new_key', 'single.changes'),
        fitting_expression('single.content'), hash_expression('single.content', 'captured.receipts'), many)
$$;
