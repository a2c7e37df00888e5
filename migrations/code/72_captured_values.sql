-- Values of the application's tables as JSON. The functions of 74_capture.sql are generated from these expressions.

-- try_jsonb(value): returns the value, or NULL where jsonb cannot hold it, such as "\u0000" in a column of type json.
CREATE OR REPLACE FUNCTION pgaudit.try_jsonb(value text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN value::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
    RETURN NULL;
END $$;

-- capturable(value): returns a value that consists of others (JSON, arrays, composites, ranges) as an event can hold
-- it: its text as a string if it is nested too deep, has a reserved key or a number of more than 4,000 digits.
CREATE OR REPLACE FUNCTION pgaudit.capturable(value text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    parsed jsonb := try_jsonb(value);
BEGIN
    IF parsed IS NULL OR parsed @? '$.**{55}' OR parsed @? '$.**."_sd"' OR parsed @? '$.**."..."'
       OR has_long_number(parsed) THEN
        RETURN to_json(value);
    END IF;
    RETURN value;
END $$;

-- omitted_value(value): returns what stands for a value that is too large for an event: its size and hash.
CREATE OR REPLACE FUNCTION pgaudit.omitted_value(value text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT jsonb_build_object('omitted', true, 'bytes', octet_length(value),
                              'sha256', encode(sha256(convert_to(value, 'UTF8')), 'hex'))
$$;

-- fitting_event(content): returns the event. While it is larger than max_event_bytes, its largest value is omitted; if
-- all are small, changes are.
CREATE OR REPLACE FUNCTION pgaudit.fitting_event(content text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    event   jsonb := content::jsonb;
    allowed integer := (SELECT max_event_bytes FROM settings);
    path    text[];
    value   jsonb;
BEGIN
    WHILE octet_length(event::text) > allowed LOOP
        SELECT ARRAY['changes', (position - 1)::text, side], change->side INTO path, value
          FROM jsonb_array_elements(event->'changes') WITH ORDINALITY AS given (change, position),
               unnest('{before,after}'::text[]) side
         WHERE change ? side ORDER BY octet_length(change->>side) DESC NULLS LAST LIMIT 1;
        IF octet_length(event #>> path) < 200 THEN  -- a table of a thousand columns
            RETURN with_fewer_changes(event, allowed);
        END IF;
        event := jsonb_set(event, path, omitted_value(event #>> path));
    END LOOP;
    RETURN event;
END $$;

-- with_fewer_changes(event, allowed): returns a captured event with as many of its changes as fit into that many bytes.
-- data.omitted_changes says how many are left out, with the size and hash of their text.
CREATE OR REPLACE FUNCTION pgaudit.with_fewer_changes(event jsonb, allowed integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT event || jsonb_build_object('changes', coalesce(jsonb_agg(change ORDER BY n) FILTER (WHERE fits), '[]'),
               'data', jsonb_build_object('omitted_changes', jsonb_build_object('count', count(*) FILTER (WHERE NOT fits))
                   || omitted_value((jsonb_agg(change ORDER BY n) FILTER (WHERE NOT fits))::text)))
      FROM (SELECT change, n, sum(octet_length(change::text) + 2) OVER (ORDER BY n)
                              <= allowed - 300 - octet_length((event - 'changes')::text) AS fits  -- 300: data
              FROM jsonb_array_elements(event->'changes') WITH ORDINALITY AS given (change, n)) measured
$$;

-- fitting_key(value): returns the id of a target: of 1 to 500 characters. A longer one ends with its hash.
CREATE OR REPLACE FUNCTION pgaudit.fitting_key(value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN value IS NULL THEN 'NULL' WHEN value = '' THEN '""' WHEN length(value) <= 500 THEN value
                ELSE left(value, 400) || '…' || encode(sha256(convert_to(value, 'UTF8')), 'hex') END
$$;

-- key_part(value): returns one of the values of a composite key; they are joined with commas.
CREATE OR REPLACE FUNCTION pgaudit.key_part(value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS
$$ SELECT coalesce(replace(replace(value, '!', '!!'), ',', '!,'), 'NULL') $$;

-- base_type(type): returns the type below a domain; another one as it is.
CREATE OR REPLACE FUNCTION pgaudit.base_type(type oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    WITH RECURSIVE base (oid, below) AS (
        SELECT t.oid, typbasetype FROM pg_type t WHERE t.oid = type
        UNION ALL SELECT t.oid, t.typbasetype FROM base JOIN pg_type t ON t.oid = below)
    SELECT oid FROM base WHERE below = 0
$$;

-- parts_of(type): returns the types that a value consists of: itself, or the base type of a domain, elements and
-- attributes.
CREATE OR REPLACE FUNCTION pgaudit.parts_of(type oid) RETURNS TABLE (part oid, kind text)
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    WITH RECURSIVE parts (oid) AS (
        SELECT base_type(type)
        UNION SELECT base_type(inner_type) FROM parts JOIN pg_type t ON t.oid = parts.oid, LATERAL (
            SELECT typelem AS inner_type WHERE typcategory = 'A'
            UNION ALL SELECT atttypid FROM pg_attribute WHERE attrelid = typrelid AND typtype = 'c' AND attnum > 0 AND NOT attisdropped
        ) inside)
    SELECT oid, CASE WHEN typtype = 'c' THEN 'composite' WHEN typcategory = 'A' THEN 'array' ELSE 'scalar' END
      FROM parts JOIN pg_type t USING (oid)
$$;

-- has_foreign_parts(type): returns whether a value has parts of types that are not PostgreSQL's. to_json and ::text
-- would call a cast that the owner of such a type has made, with the rights of the schema's owner; their text is safe.
CREATE OR REPLACE FUNCTION pgaudit.has_foreign_parts(type oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS
$$ SELECT EXISTS (SELECT FROM parts_of(type) WHERE kind = 'scalar' AND part >= 16384) $$;

-- text_expression(type, value): returns the SQL expression of a value's text, without calling a cast that a user has
-- made.
CREATE OR REPLACE FUNCTION pgaudit.text_expression(type oid, value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format(CASE WHEN kind = 'scalar' AND part < 16384 THEN '%1$s::text'
                       ELSE 'CASE WHEN %1$s IS DISTINCT FROM NULL THEN pg_catalog.format(''%%s'', %1$s) END' END, value)
      FROM parts_of(type) LIMIT 1
$$;

-- json_expression(type, value): returns the SQL expression of a column's value as JSON text. value is the expression of
-- the column, such as new.amount. The functions in which it stands fix the settings that the text of a value depends
-- on.
CREATE OR REPLACE FUNCTION pgaudit.json_expression(type oid, value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN typlen = -1 THEN format('CASE WHEN pg_catalog.pg_column_size(%s) > 100000 '
                                             'THEN pgaudit.omitted_value(%s)::text ELSE %s END', value, as_text, short)
                ELSE short END
      FROM (SELECT typlen, as_text, format(CASE
                WHEN oid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN '%1$s::text'
                WHEN oid = 'numeric'::regtype
                    THEN 'CASE WHEN pg_catalog.abs(%1$s) < ''1e1000'' AND pg_catalog.scale(%1$s) < 1000 THEN %1$s::text '
                         'ELSE pg_catalog.to_json(%1$s::text)::text END'
                WHEN oid IN ('bytea'::regtype, 'xml'::regtype) OR has_foreign_parts(oid) THEN 'pg_catalog.to_json(%2$s)::text'
                WHEN oid = 'json'::regtype THEN 'pgaudit.capturable(%1$s::text)'
                WHEN oid <> 'uuid'::regtype AND typcategory IN ('A', 'C', 'U', 'R')
                    THEN 'pgaudit.capturable(pg_catalog.to_json(%1$s)::text)'
                ELSE 'pg_catalog.to_json(%1$s)::text' END, value, as_text) AS short
              FROM pg_type t, text_expression(t.oid, value) as_text WHERE t.oid = base_type(type)) expression
$$;

-- changed_expression(type, before, after): returns the SQL condition under which a column was changed. Where "=" takes
-- different values for equal, as it does 1.0 and 1.00, or does not exist, the bytes are compared. COLLATE "C": in the
-- column's own collation "a" and "A" may be equal.
CREATE OR REPLACE FUNCTION pgaudit.changed_expression(type oid, before text, after text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format(CASE
        WHEN base_type(type) = ANY ('{bool,int2,int4,int8,oid,uuid,date,time,timestamp,timestamptz,bytea}'::regtype[]::oid[])
            THEN '%s IS DISTINCT FROM %s'
        WHEN base_type(type) = ANY ('{text,varchar}'::regtype[]::oid[]) THEN '%s IS DISTINCT FROM (%s COLLATE "C")'
        ELSE 'pg_catalog.record_image_ne(ROW(%s), ROW(%s))' END, before, after)
$$;
