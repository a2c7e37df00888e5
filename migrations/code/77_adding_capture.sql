-- Adding capture to tables of the application, pausing and removing it.

-- add_capture(relation, target, key, …): records an event for each change of a table from now on; replaces what was
-- added before. Its children are captured, too. For the role that owns schema and table.
--   target     type of the target, such as claim; its id is the row's key
--   key        columns of the key
--   action     what the actions begin with: claim.created, claim.updated …; the target's type when left out
--   columns    columns to record; all when left out
--   excluded   columns that are not recorded, such as a search vector; a change of these alone is no event
--   masked     columns whose changes are recorded without their values
--   condition  an UPDATE is recorded only where this SQL holds: new.status IS DISTINCT FROM old.status
--   renamed_columns  the present names of columns that the condition calls otherwise, because they were renamed
-- Raises:
--   22023  the table cannot be captured in this way; the message says why
CREATE OR REPLACE FUNCTION pgaudit.add_capture(relation regclass, target text, key text[], action text DEFAULT NULL,
    columns text[] DEFAULT NULL, excluded text[] DEFAULT '{}', masked text[] DEFAULT '{}', condition text DEFAULT NULL,
    renamed_columns jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    capture captured_table;
    child   regclass;
BEGIN
    PERFORM check_captured(add_capture.relation, add_capture.target, add_capture.key, coalesce(add_capture.action, add_capture.target),
                           add_capture.key || add_capture.columns || add_capture.excluded || add_capture.masked, 'captured');
    PERFORM check_condition(add_capture.relation, add_capture.condition, add_capture.renamed_columns, 'captured');
    INSERT INTO captured_table AS c (relation, target_type, key_columns, action, columns, excluded, masked, condition,
                                     renamed_columns, known_columns)
    VALUES (add_capture.relation, target, key, coalesce(add_capture.action, target), add_capture.columns, add_capture.excluded,
            add_capture.masked, add_capture.condition, add_capture.renamed_columns, numbered_columns(add_capture.relation))
    ON CONFLICT (relation) DO UPDATE SET
        target_type = excluded.target_type, key_columns = excluded.key_columns, action = excluded.action, columns = excluded.columns,
        excluded = excluded.excluded, masked = excluded.masked, condition = excluded.condition,
        renamed_columns = excluded.renamed_columns, known_columns = excluded.known_columns,
        added_at = clock_timestamp(), added_by = session_user, paused_at = NULL, paused_by = NULL
    RETURNING c.* INTO capture;
    PERFORM install_triggers('capture', capture.relation, capture.id, capture_body(capture), to_jsonb(capture));
    FOR child IN SELECT children_of(capture.relation) LOOP
        PERFORM add_capture(child, target, key, add_capture.action, add_capture.columns, add_capture.excluded, add_capture.masked,
                            add_capture.condition, add_capture.renamed_columns);
    END LOOP;
END $$;

-- check_captured(relation, target, key, action, columns, purpose): raises if a table cannot be captured or guarded in this
-- way.
--   columns  all that are named anywhere
--   purpose  captured or guarded
CREATE OR REPLACE FUNCTION pgaudit.check_captured(relation regclass, target text, key text[], action text, columns text[], purpose text)
RETURNS void LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    found   pg_class := (SELECT c FROM pg_class c WHERE oid = relation);
    problem text := CASE
        WHEN found.relkind NOT IN ('r', 'p') THEN 'it is not a table'
        WHEN found.relnamespace IN ('pgaudit'::regnamespace, 'pg_catalog'::regnamespace) THEN 'it is not a table of the application'
        WHEN found.relpersistence = 't' THEN 'it is temporary'
        WHEN NOT pg_has_role(found.relowner, 'USAGE')
            THEN format('it belongs to %s, and only a role that owns schema and table can do this: GRANT %1$I TO %I',
                        pg_get_userbyid(found.relowner), current_user)
        WHEN coalesce(cardinality(key), 0) = 0 THEN 'the key has no column'
        WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attname = ANY (key) AND attgenerated = 'v')
            THEN 'a column of the key is virtual: triggers do not see its value'
        WHEN coalesce(length(target) NOT BETWEEN 1 AND 100, true) THEN 'the target type must have 1 to 100 characters'
        WHEN coalesce(action !~ '^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)*$' OR length(action) > 180, true)
            THEN format('%L cannot begin an action: choose lower-case letters, digits and _, such as claim', action)
        ELSE (SELECT format('it has no column %s; its columns are %s', coalesce(name, 'NULL'),
                              (SELECT string_agg(known, ', ' ORDER BY known) FROM jsonb_object_keys(present) known))
                FROM unnest(columns) name, numbered_columns(relation) present WHERE (present ? name) IS NOT TRUE LIMIT 1) END;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be %: %', relation, purpose, problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;

-- check_condition(relation, condition, renamed_columns, purpose): raises if the condition is not valid for rows of the table:
-- otherwise the first UPDATE would fail. The query does not name the table: planning it might call a function in a
-- policy that the table's owner has made.
CREATE OR REPLACE FUNCTION pgaudit.check_condition(relation regclass, condition text, renamed_columns jsonb, purpose text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    unused record;
BEGIN
    IF condition IS NOT NULL THEN
        FOR unused IN EXECUTE format(E'SELECT FROM (%s) old, (%1$s) new WHERE false AND (%s\n)',
                                         condition_row(relation, renamed_columns, NULL), condition) LOOP
        END LOOP;  -- not EXECUTE alone, which takes several statements
    END IF;
EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
    RAISE EXCEPTION '% cannot be %: the condition is not valid: %', relation, purpose, SQLERRM USING ERRCODE = 'invalid_parameter_value',
        HINT = 'Name columns as new.status and old.status, and functions, types and operators that are not of PostgreSQL '
               'with their schema, such as public.is_large(new.amount).';
END $$;

-- remove_capture(relation): ends the capture of a table and its children. Returns whether there was one.
CREATE OR REPLACE FUNCTION pgaudit.remove_capture(relation regclass) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    number integer;
BEGIN
    PERFORM remove_capture(child) FROM children_of(relation) child;
    DELETE FROM captured_table c WHERE c.relation = remove_capture.relation RETURNING id INTO number;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM remove_triggers('capture', relation, number);
    RETURN true;
END $$;

-- pause_capture(relation, paused): interrupts the capture of a table, or resumes it. Returns whether there is one.
CREATE OR REPLACE FUNCTION pgaudit.pause_capture(relation regclass, paused boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE captured_table c SET paused_at = CASE WHEN paused THEN clock_timestamp() END, paused_by = CASE WHEN paused THEN session_user END
     WHERE c.relation = pause_capture.relation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM pause_triggers('capture', relation, paused);
    RETURN true;
END $$;

-- renew_capture(relation): adds the capture of a table again with the same options, which adapts triggers and function
-- to what the table is now. A pause goes on. Returns whether there is one.
CREATE OR REPLACE FUNCTION pgaudit.renew_capture(relation regclass) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    capture captured_table;
BEGIN
    SELECT current.* INTO capture FROM captured_table c, current_capture(c.id) current WHERE c.relation = renew_capture.relation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM add_capture(relation, capture.target_type, capture.key_columns, capture.action, capture.columns, capture.excluded,
                        capture.masked, capture.condition, capture.renamed_columns);
    IF capture.paused_at IS NOT NULL THEN
        PERFORM pause_capture(relation, true);
    END IF;
    RETURN true;
END $$;
