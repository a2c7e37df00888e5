-- Guards: a transaction that changes a row of a guarded table must record an event for that very target. Statements
-- note what they have changed, and a deferred trigger compares that with the recorded events when the transaction
-- commits.

-- as_capture(guard): returns how the changes of a guarded table would be captured.
CREATE OR REPLACE FUNCTION pgaudit.as_capture(guard pgaudit.guarded_table) RETURNS pgaudit.captured_table
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT ROW(guard.id, guard.relation, guard.target_type, guard.key_columns, guard.action, guard.columns, guard.excluded,
               guard.masked, guard.condition, guard.renamed_columns, guard.known_columns, guard.added_at, guard.added_by,
               NULL, NULL)::captured_table
$$;

-- guard_query(guard, relation, operation, level, names): returns the statement that notes the changed rows of a table;
-- their events, too, if these are recorded or compared at commit, each within max_event_bytes. A note has up to 10,000
-- rows, because an array has a gigabyte at most.
CREATE OR REPLACE FUNCTION pgaudit.guard_query(guard pgaudit.guarded_table, relation oid, operation text, level text,
                                               names text[] DEFAULT '{captured.head,captured.receipts,OLD,NEW}')
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format(CASE level WHEN 'statement' THEN $many$INSERT INTO pgaudit.guarded_change (guard, operation, keys, new_keys, events)
    SELECT %s, %L, pg_catalog.array_agg(t.key), pg_catalog.array_agg(t.new_key), %s
      FROM (SELECT pg_catalog.row_number() OVER () AS n, q.* FROM (%s) q) t
     GROUP BY t.n / 10000$many$ ELSE $one$INSERT INTO pgaudit.guarded_change (guard, operation, keys, new_keys, events)
    SELECT %s, %L, ARRAY[t.key], ARRAY[t.new_key], %s FROM (%s) t$one$ END,
        guard.id, lower(operation),
        CASE WHEN NOT with_events THEN 'NULL'
             ELSE format(CASE level WHEN 'statement' THEN 'pg_catalog.array_agg(%s)' ELSE 'ARRAY[%s]' END, fitting) END,
        CASE WHEN with_events THEN change_query(as_capture(guard), relation, operation, level, names)
             ELSE key_query(as_capture(guard), relation, operation, level, names) END)
      FROM (SELECT guard.on_missing = 'capture' OR guard.with_changes AS with_events) needed,
           CAST('CASE WHEN pg_catalog.octet_length(t.content) > 8000 THEN pgaudit.fitting_event(t.content)::text '
                'ELSE t.content END' AS text) AS fitting
$$;

-- guard_command(guard, operation, level): returns the command that notes the changed rows in the generated function.
CREATE OR REPLACE FUNCTION pgaudit.guard_command(guard pgaudit.guarded_table, operation text, level text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE level WHEN 'row' THEN guard_query(guard, guard.relation, operation, level)
                      ELSE one_or_many(operation, guard_query(guard, guard.relation, operation, 'single'),
                                       guard_query(guard, guard.relation, operation, level)) END
$$;

-- guard_body(guard): returns the body of the trigger function of a guarded table.
CREATE OR REPLACE FUNCTION pgaudit.guard_body(guard pgaudit.guarded_table) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT trigger_body('guard', guard.id, guard.relation,
        CASE WHEN guard.on_missing = 'capture' OR guard.with_changes THEN head_expression(guard.action) ELSE quote_literal('') END,
        'NULL', format('pgaudit.check_guarded_truncate(%s, TG_RELID)', guard.id),
        array(SELECT guard_command(guard, operation, level_of_capture(guard.relation))
                FROM unnest('{INSERT,UPDATE,DELETE}'::text[]) WITH ORDINALITY AS o (operation, n) ORDER BY n))
$$;

-- current_guard(id): returns how a table is guarded, with the present names of its columns.
CREATE OR REPLACE FUNCTION pgaudit.current_guard(id integer) RETURNS pgaudit.guarded_table
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    guard guarded_table := (SELECT g FROM guarded_table g WHERE g.id = current_guard.id);
BEGIN
    guard.key_columns := current_key(guard.key_columns, guard.known_columns, guard.relation);
    guard.columns := names_now(guard.columns, guard.known_columns, guard.relation);
    guard.excluded := names_now(guard.excluded, guard.known_columns, guard.relation);
    guard.masked := names_now(guard.masked, guard.known_columns, guard.relation);
    guard.renamed_columns := renamed_now(guard.renamed_columns, guard.known_columns, guard.relation);
    RETURN guard;
END $$;

-- regenerate_guard(id): adapts a guarded table's function to its columns; see regenerate_capture.
CREATE OR REPLACE FUNCTION pgaudit.regenerate_guard(id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    guard guarded_table;
BEGIN
    PERFORM FROM guarded_table g WHERE g.id = regenerate_guard.id AND current_setting('transaction_isolation') = 'read committed'
        FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        guard := current_guard(id);
        UPDATE guarded_table g SET key_columns = guard.key_columns, columns = guard.columns, excluded = guard.excluded,
               masked = guard.masked, renamed_columns = guard.renamed_columns,
               known_columns = numbered_columns(guard.relation)
         WHERE g.id = regenerate_guard.id;
        PERFORM create_trigger_function('guard_' || id, guard_body(guard));
    END IF;
END $$;

-- add_guard(relation, target, key, …): from now on a transaction that changes a row of the table must record an event
-- for it. Replaces what was added before. Children are guarded, too. For the role that owns schema and table.
--   target, key, columns, excluded, masked, condition  as for add_capture
--   action        the same, for changes that are captured
--   on_missing    abort: the transaction fails; capture: its change is captured; warn: it is noted, with a warning
--   actions       the action of the event for each operation, such as {"insert": "claim.*", "delete": "claim.deleted"};
--                 any action for those left out
--   with_changes  the event must have the changes, too
CREATE OR REPLACE FUNCTION pgaudit.add_guard(relation regclass, target text, key text[], on_missing text DEFAULT 'abort',
    actions jsonb DEFAULT '{}', with_changes boolean DEFAULT false, action text DEFAULT NULL, columns text[] DEFAULT NULL,
    excluded text[] DEFAULT '{}', masked text[] DEFAULT '{}', condition text DEFAULT NULL,
    renamed_columns jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    guard guarded_table;
    child regclass;
BEGIN
    PERFORM check_captured(add_guard.relation, add_guard.target, add_guard.key, coalesce(add_guard.action, add_guard.target),
                           add_guard.key || add_guard.columns || add_guard.excluded || add_guard.masked, 'guarded');
    PERFORM check_condition(add_guard.relation, add_guard.condition, add_guard.renamed_columns, 'guarded');
    PERFORM check_guard_options(add_guard.on_missing, add_guard.actions, add_guard.action, add_guard.target);
    IF to_regclass('pgaudit.audit_jobs_event_id_idx') IS NULL THEN  -- by which an event is found that is queued already
        CREATE INDEX audit_jobs_event_id_idx ON audit_jobs ((event->>'id'));
    END IF;
    INSERT INTO guarded_table AS g (relation, target_type, key_columns, action, actions, on_missing, with_changes, columns, excluded,
                                    masked, condition, renamed_columns, known_columns)
    VALUES (add_guard.relation, target, key, coalesce(add_guard.action, target), add_guard.actions, add_guard.on_missing,
            add_guard.with_changes, add_guard.columns, add_guard.excluded, add_guard.masked, add_guard.condition,
            add_guard.renamed_columns, numbered_columns(add_guard.relation))
    ON CONFLICT (relation) DO UPDATE SET
        target_type = excluded.target_type, key_columns = excluded.key_columns, action = excluded.action, actions = excluded.actions,
        on_missing = excluded.on_missing, with_changes = excluded.with_changes, columns = excluded.columns,
        excluded = excluded.excluded, masked = excluded.masked, condition = excluded.condition,
        renamed_columns = excluded.renamed_columns, known_columns = excluded.known_columns,
        added_at = clock_timestamp(), added_by = session_user, paused_at = NULL, paused_by = NULL
    RETURNING g.* INTO guard;
    PERFORM install_triggers('guard', guard.relation, guard.id, guard_body(guard), to_jsonb(guard));
    FOR child IN SELECT children_of(guard.relation) LOOP
        PERFORM add_guard(child, target, key, add_guard.on_missing, add_guard.actions, add_guard.with_changes, add_guard.action,
                          add_guard.columns, add_guard.excluded, add_guard.masked, add_guard.condition,
                          add_guard.renamed_columns);
    END LOOP;
END $$;

-- check_guard_options(on_missing, actions, action, target): raises if the options of a guard are not valid.
CREATE OR REPLACE FUNCTION pgaudit.check_guard_options(on_missing text, actions jsonb, action text, target text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    problem text := CASE
        WHEN coalesce(on_missing NOT IN ('abort', 'capture', 'warn'), true) THEN 'on_missing must be abort, capture or warn'
        WHEN on_missing <> 'capture' AND action <> target
            THEN format('%L is how captured actions begin, but with on_missing = %s nothing is captured: leave it out, or choose capture',
                        action, on_missing)
        WHEN jsonb_typeof(actions) IS DISTINCT FROM 'object' THEN 'actions must be an object, such as {"delete": "claim.deleted"}'
        ELSE (SELECT format('%s: %s is no pattern of an action: use lower-case letters, digits, _, dots and *, such as claim.*',
                            operation, pattern)
                FROM jsonb_each_text(actions) AS given (operation, pattern)
               WHERE operation NOT IN ('insert', 'update', 'delete', 'truncate') OR coalesce(pattern !~ '^[a-z0-9_.*]+$', true) LIMIT 1) END;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;

-- remove_guard(relation): ends the guard of a table and its children. Returns whether there was one.
CREATE OR REPLACE FUNCTION pgaudit.remove_guard(relation regclass) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    number integer;
BEGIN
    PERFORM remove_guard(child) FROM children_of(relation) child;
    DELETE FROM guarded_table g WHERE g.relation = remove_guard.relation RETURNING id INTO number;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM remove_triggers('guard', relation, number);
    IF NOT EXISTS (SELECT FROM guarded_table) THEN
        DROP INDEX IF EXISTS audit_jobs_event_id_idx;
    END IF;
    RETURN true;
END $$;

-- pause_guard(relation, paused): interrupts the guard of a table, or resumes it. Returns whether there is one.
CREATE OR REPLACE FUNCTION pgaudit.pause_guard(relation regclass, paused boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE guarded_table g SET paused_at = CASE WHEN paused THEN clock_timestamp() END, paused_by = CASE WHEN paused THEN session_user END
     WHERE g.relation = pause_guard.relation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM pause_triggers('guard', relation, paused);
    RETURN true;
END $$;

-- renew_guard(relation): adds the guard of a table again with the same options, as renew_capture does.
CREATE OR REPLACE FUNCTION pgaudit.renew_guard(relation regclass) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    guard guarded_table;
BEGIN
    SELECT current.* INTO guard FROM guarded_table g, current_guard(g.id) current WHERE g.relation = renew_guard.relation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM add_guard(relation, guard.target_type, guard.key_columns, guard.on_missing, guard.actions, guard.with_changes,
                      guard.action, guard.columns, guard.excluded, guard.masked, guard.condition, guard.renamed_columns);
    IF guard.paused_at IS NOT NULL THEN
        PERFORM pause_guard(relation, true);
    END IF;
    RETURN true;
END $$;
