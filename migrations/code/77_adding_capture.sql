-- Adding capture to tables of the application, and removing it: triggers, and their generated functions.

-- level_of_capture(relation): returns what its triggers fire for. Transition tables make one statement of a bulk change,
-- but a statement fires only the triggers of the table that it names, after all row triggers: where rows may come through
-- other tables, or row triggers may change them again, each row is captured by itself, before other triggers see it.
CREATE OR REPLACE FUNCTION pgaudit.level_of_capture(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM pg_class WHERE oid = relation AND relkind = 'p')
                  OR EXISTS (SELECT FROM pg_inherits WHERE relation IN (inhrelid, inhparent))
                  OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relation AND NOT tgisinternal AND tgtype & 1 = 1
                                AND tgtype & 2 = 0 AND NOT starts_with(tgname, '0_pgaudit')) THEN 'row' ELSE 'statement' END
$$;

-- triggers_of(relation, purpose): returns the names of its triggers for the purpose: capture or guard.
CREATE OR REPLACE FUNCTION pgaudit.triggers_of(relation oid, purpose text) RETURNS SETOF name
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT tgname FROM pg_trigger WHERE tgrelid = relation AND NOT tgisinternal
       AND tgname = ANY (array(SELECT format('0_pgaudit_%s_%s', purpose, operation)
                                 FROM unnest('{insert,update,delete,truncate}'::text[]) operation)::name[])
$$;

-- tables_of(relation): returns a table and its partitions.
CREATE OR REPLACE FUNCTION pgaudit.tables_of(relation regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT relation UNION SELECT relid FROM pg_partition_tree(relation)
$$;

-- create_triggers(relation, purpose, function, level): creates the triggers of a table. Their names come first, because
-- triggers fire in the order of their names. PostgreSQL copies row triggers to each partition, but not that of TRUNCATE.
CREATE OR REPLACE FUNCTION pgaudit.create_triggers(relation regclass, purpose text, function text, level text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    operation text;
    member    regclass;
BEGIN
    PERFORM drop_triggers(relation, purpose);
    FOREACH operation IN ARRAY '{insert,update,delete}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH %s EXECUTE FUNCTION pgaudit.%I()',
                       format('0_pgaudit_%s_%s', purpose, operation), operation, relation,
                       CASE WHEN level = 'statement' THEN 'REFERENCING' || CASE WHEN operation <> 'insert' THEN ' OLD TABLE AS old_rows' ELSE '' END
                            || CASE WHEN operation <> 'delete' THEN ' NEW TABLE AS new_rows' ELSE '' END END, level, function);
    END LOOP;
    FOR member IN SELECT tables_of(relation) LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.%I()',
                       format('0_pgaudit_%s_truncate', purpose), member, function);
    END LOOP;
    PERFORM enable_triggers(relation, purpose, true);
END $$;

-- enable_triggers(relation, purpose, enabled): ENABLE ALWAYS, so that session_replication_role does not switch them off.
CREATE OR REPLACE FUNCTION pgaudit.enable_triggers(relation regclass, purpose text, enabled boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    member  regclass;
    trigger name;
BEGIN
    FOR member, trigger IN SELECT m, t FROM tables_of(relation) m, triggers_of(m, purpose) t LOOP
        EXECUTE format('ALTER TABLE %s %s TRIGGER %I', member, CASE WHEN enabled THEN 'ENABLE ALWAYS' ELSE 'DISABLE' END, trigger);
    END LOOP;
END $$;

-- drop_triggers(relation, purpose): drops those of the partitions with them, of which PostgreSQL drops only its copies.
CREATE OR REPLACE FUNCTION pgaudit.drop_triggers(relation regclass, purpose text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    member  regclass;
    trigger name;
BEGIN
    FOR member, trigger IN SELECT m, t FROM tables_of(relation) m, triggers_of(m, purpose) t
                            WHERE m = relation OR t = format('0_pgaudit_%s_truncate', purpose) LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger, member);
    END LOOP;
END $$;

-- create_trigger_function(name, body): creates a generated function, or replaces it. What the text of a value depends on is fixed. Rows of transition tables
-- are joined by their numbers: a plan made for one row must not be a nested loop over a million.
CREATE OR REPLACE FUNCTION pgaudit.create_trigger_function(name text, body text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    EXECUTE format($function$CREATE OR REPLACE FUNCTION pgaudit.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pgaudit, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'postgres'
        SET bytea_output = 'hex' SET extra_float_digits = 1 SET lc_monetary = 'C' SET enable_nestloop = off SET plan_cache_mode = force_generic_plan SET jit = off AS %L$function$,
        name, body);
    EXECUTE format('REVOKE ALL ON FUNCTION pgaudit.%I() FROM PUBLIC', name);
    EXECUTE format('COMMENT ON FUNCTION pgaudit.%I() IS %L', name, generated_comment(body));
END $$;

-- generated_comment(body): returns the comment of a generated function, by which one is known that was altered since.
CREATE OR REPLACE FUNCTION pgaudit.generated_comment(body text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS
$$ SELECT 'Generated by pgaudit: ' || encode(sha256(convert_to(body, 'UTF8')), 'hex') $$;

-- snapshot_check(level): returns the commands that compare the columns in the transaction's snapshot with those of a row.
-- In READ COMMITTED each command has a snapshot of its own.
CREATE OR REPLACE FUNCTION pgaudit.snapshot_check(level text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format($body$IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        IF TG_OP = 'DELETE' THEN
            captured.sample := %s;
        ELSE
            captured.sample := %s;
        END IF;
        IF captured.sample IS NULL THEN
            RETURN NULL;
        END IF;
        PERFORM pgaudit.check_columns(TG_RELID, captured.sample);
    END IF;$body$,
        CASE level WHEN 'row' THEN 'pg_catalog.row_to_json(OLD)' ELSE '(SELECT pg_catalog.row_to_json(r) FROM old_rows r LIMIT 1)' END,
        CASE level WHEN 'row' THEN 'pg_catalog.row_to_json(NEW)' ELSE '(SELECT pg_catalog.row_to_json(r) FROM new_rows r LIMIT 1)' END)
$$;

-- one_or_many(operation, one, many): returns the command of a statement's trigger: one for a single row, or none; many for any
-- number. Most statements change one row, for which windows and joins take longer than all else.
CREATE OR REPLACE FUNCTION pgaudit.one_or_many(operation text, one text, many text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format(E'IF NOT EXISTS (SELECT FROM %s OFFSET 1) THEN\n    %s;\n    ELSE\n    %s;\n    END IF',
                  CASE operation WHEN 'INSERT' THEN 'new_rows' ELSE 'old_rows' END, one, many)
$$;

-- capture_body(capture): returns the body of the trigger function of a table.
CREATE OR REPLACE FUNCTION pgaudit.capture_body(capture pgaudit.captured_table) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($body$
-- Generated by pgaudit for the table of %2$s. Replaced when its columns change.
#variable_conflict use_column
<<captured>>
DECLARE
    head     text;
    receipts text := CASE WHEN pg_catalog.current_setting('audit.wal_receipts', true) = 'on' THEN pgaudit.receipt_prefix() END;
    sample   json;
BEGIN
    IF pg_catalog.current_setting('session_replication_role') = 'replica' AND pgaudit.is_replicated() THEN
        RETURN NULL;
    END IF;
    captured.head := pgaudit.captured_head(CASE TG_OP WHEN 'INSERT' THEN %3$L WHEN 'UPDATE' THEN %4$L WHEN 'DELETE' THEN %5$L ELSE %6$L END);
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pgaudit.record_about_table(%6$L, TG_RELID);
        RETURN NULL;
    END IF;
    %13$s
    IF pgaudit.%14$s(TG_RELID) <> %7$L THEN
        PERFORM pgaudit.regenerate_capture(%1$s);
        EXECUTE pgaudit.capture_query(pgaudit.current_capture(%1$s), TG_RELID, TG_OP, %8$L, '{$1,$2,$3,$4}')
          USING captured.head, captured.receipts%9$s;
    ELSIF TG_OP = 'INSERT' THEN
    %10$s;
    ELSIF TG_OP = 'UPDATE' THEN
    %11$s;
    ELSE
    %12$s;
    END IF;
    RETURN NULL;
END $body$,
        capture.id, 'captured_table ' || capture.id, capture.action || '.created', capture.action || '.updated', capture.action || '.deleted',
        capture.action || '.truncated',
        deep_shape_of(capture.relation), level, CASE level WHEN 'row' THEN ', OLD, NEW' ELSE '' END,
        capture_query(capture, capture.relation, 'INSERT', level),
        CASE level WHEN 'row' THEN capture_query(capture, capture.relation, 'UPDATE', level)
                   ELSE one_or_many('UPDATE', capture_query(capture, capture.relation, 'UPDATE', 'single'),
                                    capture_query(capture, capture.relation, 'UPDATE', level)) END,
        capture_query(capture, capture.relation, 'DELETE', level), snapshot_check(level), shape)
      FROM level_of_capture(capture.relation) level, shape_function(capture.relation) shape
$$;

-- current_key(names, known, relation): returns the present names of the columns of a key.
CREATE OR REPLACE FUNCTION pgaudit.current_key(names text[], known jsonb, relation regclass) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    present text[] := current_names(names, known, relation);
BEGIN
    IF cardinality(present) < cardinality(names) THEN
        RAISE EXCEPTION 'a key column of the table % no longer exists', relation
            USING ERRCODE = 'undefined_column', HINT = 'Name the new key: pgaudit capture add, or pgaudit guard add.';
    END IF;
    RETURN present;
END $$;

-- current_capture(id): returns how a table is captured, with the present names of its columns.
CREATE OR REPLACE FUNCTION pgaudit.current_capture(id integer) RETURNS pgaudit.captured_table
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    capture captured_table := (SELECT c FROM captured_table c WHERE c.id = current_capture.id);
BEGIN
    capture.key_columns := current_key(capture.key_columns, capture.known_columns, capture.relation);
    capture.columns := current_names(capture.columns, capture.known_columns, capture.relation);
    capture.excluded := current_names(capture.excluded, capture.known_columns, capture.relation);
    capture.masked := current_names(capture.masked, capture.known_columns, capture.relation);
    RETURN capture;
END $$;

-- regenerate_capture(id): adapts a captured table's function to its columns, unless another transaction does so right now, or
-- this one does not see what others commit. Until somebody does, changes are captured by a statement made for the moment.
CREATE OR REPLACE FUNCTION pgaudit.regenerate_capture(id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    capture captured_table;
BEGIN
    PERFORM FROM captured_table c WHERE c.id = regenerate_capture.id AND current_setting('transaction_isolation') = 'read committed'
        FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        capture := current_capture(id);
        UPDATE captured_table c SET key_columns = capture.key_columns, columns = capture.columns, excluded = capture.excluded,
               masked = capture.masked, known_columns = numbered_columns(capture.relation) WHERE c.id = regenerate_capture.id;
        PERFORM create_trigger_function('capture_' || id, capture_body(capture));
        PERFORM record_about_table('audit.columns_changed', capture.relation, jsonb_build_object(
            'columns', (SELECT jsonb_agg(name ORDER BY name) FROM jsonb_object_keys(numbered_columns(capture.relation)) name)));
    END IF;
END $$;

-- children_of(relation): returns the tables that inherit from a table, without its partitions.
CREATE OR REPLACE FUNCTION pgaudit.children_of(relation regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = relation AND NOT relispartition
$$;

-- add_capture(relation, target, key, …): records an event for each change of a table from now on; replaces what was added
-- before. Its children are captured, too. For the role that owns schema and table.
--   target     type of the target, such as claim; its id is the row's key
--   key        columns of the key
--   action     what the actions begin with: claim.created, claim.updated …; the target's type when left out
--   columns    columns to record; all when left out
--   excluded   columns that are not recorded, such as a search vector; a change of these alone is no event
--   masked     columns whose changes are recorded without their values
--   condition  an UPDATE is recorded only where this SQL holds: new.status IS DISTINCT FROM old.status
-- Raises:
--   22023  what is asked for cannot be captured; the message says why
CREATE OR REPLACE FUNCTION pgaudit.add_capture(relation regclass, target text, key text[], action text DEFAULT NULL,
    columns text[] DEFAULT NULL, excluded text[] DEFAULT '{}', masked text[] DEFAULT '{}', condition text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    capture captured_table;
    child   regclass;
BEGIN
    PERFORM check_captured(add_capture.relation, add_capture.target, add_capture.key, coalesce(add_capture.action, add_capture.target),
                           add_capture.key || add_capture.columns || add_capture.excluded || add_capture.masked);
    PERFORM check_condition(add_capture.relation, add_capture.condition);
    INSERT INTO captured_table AS c (relation, target_type, key_columns, action, columns, excluded, masked, condition, known_columns)
    VALUES (add_capture.relation, target, key, coalesce(add_capture.action, target), add_capture.columns, add_capture.excluded,
            add_capture.masked, add_capture.condition, numbered_columns(add_capture.relation))
    ON CONFLICT (relation) DO UPDATE SET
        target_type = excluded.target_type, key_columns = excluded.key_columns, action = excluded.action, columns = excluded.columns,
        excluded = excluded.excluded, masked = excluded.masked, condition = excluded.condition, known_columns = excluded.known_columns,
        added_at = clock_timestamp(), added_by = session_user, paused_at = NULL, paused_by = NULL
    RETURNING c.* INTO capture;
    PERFORM create_trigger_function('capture_' || capture.id, capture_body(capture));
    PERFORM create_triggers(capture.relation, 'capture', 'capture_' || capture.id, level_of_capture(capture.relation));
    PERFORM record_about_table('audit.capture_added', capture.relation,
        jsonb_strip_nulls(to_jsonb(capture) - '{id,relation,known_columns,added_at,added_by}'::text[]));
    FOR child IN SELECT children_of(capture.relation) LOOP
        PERFORM add_capture(child, target, key, add_capture.action, add_capture.columns, add_capture.excluded, add_capture.masked,
                            add_capture.condition);
    END LOOP;
END $$;

-- check_captured(relation, target, key, action, columns): raises if a table cannot be captured or guarded in this way.
CREATE OR REPLACE FUNCTION pgaudit.check_captured(relation regclass, target text, key text[], action text, columns text[])
RETURNS void LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    found   pg_class := (SELECT c FROM pg_class c WHERE oid = relation);
    problem text := CASE
        WHEN found.relkind NOT IN ('r', 'p') THEN 'it is not a table'
        WHEN found.relnamespace IN ('pgaudit'::regnamespace, 'pg_catalog'::regnamespace) THEN 'it is not a table of the application'
        WHEN found.relpersistence = 't' THEN 'it is temporary'
        WHEN NOT pg_has_role(found.relowner, 'USAGE')
            THEN format('it belongs to %s: only a role that owns both schema and table can: GRANT %1$I TO %I',
                        pg_get_userbyid(found.relowner), current_user)
        WHEN coalesce(cardinality(key), 0) = 0 THEN 'the key has no column'
        WHEN coalesce(length(target) NOT BETWEEN 1 AND 100, true) THEN 'the target type must have 1 to 100 characters'
        WHEN coalesce(action !~ '^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)*$' OR length(action) > 180, true)
            THEN format('%L cannot begin an action: choose lower-case letters, digits and _, such as claim', action)
        ELSE (SELECT format('it has no column %s; its columns are %s', name, (SELECT string_agg(known, ', ' ORDER BY known) FROM jsonb_object_keys(present) known))
                FROM unnest(columns) name, numbered_columns(relation) present WHERE NOT present ? name LIMIT 1) END;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be captured: %', relation, problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;

-- check_condition(relation, condition): raises if the condition cannot be evaluated for rows of the table: otherwise an
-- UPDATE would be the first to know. Nothing is evaluated.
CREATE OR REPLACE FUNCTION pgaudit.check_condition(relation regclass, condition text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    unused record;
BEGIN
    IF condition IS NOT NULL THEN
        FOR unused IN EXECUTE format('SELECT FROM ONLY %s old, ONLY %1$s new WHERE false AND (%s)', relation, condition) LOOP
        END LOOP;  -- not EXECUTE alone, which takes several statements
    END IF;
EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
    RAISE EXCEPTION '% cannot be captured: the condition is not valid: %', relation, SQLERRM USING ERRCODE = 'invalid_parameter_value',
        HINT = 'Name columns as new.status and old.status, and functions, types and operators that are not of PostgreSQL '
               'with their schema, such as public.is_large(new.amount).';
END $$;

-- remove_capture(relation): ends the capture of a table and its children. Returns whether there was one.
CREATE OR REPLACE FUNCTION pgaudit.remove_capture(relation regclass) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    capture captured_table;
BEGIN
    PERFORM remove_capture(child) FROM children_of(relation) child;
    DELETE FROM captured_table c WHERE c.relation = remove_capture.relation RETURNING c.* INTO capture;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM record_about_table('audit.capture_removed', relation);
    PERFORM drop_triggers(relation, 'capture');
    EXECUTE format('DROP FUNCTION IF EXISTS pgaudit.%I()', 'capture_' || capture.id);
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
    PERFORM record_about_table(CASE WHEN paused THEN 'audit.capture_paused' ELSE 'audit.capture_resumed' END, relation);
    PERFORM enable_triggers(relation, 'capture', NOT paused);
    RETURN true;
END $$;

-- renew_capture(relation): adds the capture of a table anew as it was, with triggers and function for what the table is
-- now. Returns whether there is one.
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
                        capture.masked, capture.condition);
    IF capture.paused_at IS NOT NULL THEN
        PERFORM pause_capture(relation, true);
    END IF;
    RETURN true;
END $$;

-- captured_operations(relation): returns the operations whose capture is enabled, such as {insert,update,delete}. Any role
-- may ask: the catalog is readable for everyone.
CREATE OR REPLACE FUNCTION pgaudit.captured_operations(relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(array_agg(substr(tgname, 19) ORDER BY tgname), '{}') FROM pg_trigger
     WHERE tgrelid = relation AND NOT tgisinternal AND starts_with(tgname, '0_pgaudit_capture_') AND tgenabled = 'A'
$$;

-- is_captured(relation): returns whether inserted, updated and deleted rows of a table are captured.
CREATE OR REPLACE FUNCTION pgaudit.is_captured(relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS
$$ SELECT captured_operations(relation) @> '{insert,update,delete}' $$;

-- record_uncaptured(changes): records the events of changes that no trigger captures, so that a change that an ORM and a
-- trigger see is recorded once. For a JSON array of {"table": "public.claims", "operation": "update", "event": {…}}.
-- Returns how many it has recorded; raises as record does.
CREATE OR REPLACE FUNCTION pgaudit.record_uncaptured(changes jsonb) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    events jsonb := (
        SELECT coalesce(jsonb_agg(change->'event' ORDER BY n), '[]')
          FROM jsonb_array_elements(changes) WITH ORDINALITY AS given (change, n)
         WHERE change->>'operation' <> ALL (pgaudit.captured_operations((change->>'table')::regclass)));
BEGIN
    IF events <> '[]' THEN
        PERFORM pgaudit.record(events);
    END IF;
    RETURN jsonb_array_length(events);
END $$;
