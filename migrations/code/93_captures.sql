-- The state of captures and guards, and what is wrong with them. No table is locked, so that a migration of the
-- application that holds a lock does not block the health check.

-- watched(purpose): returns the captured or guarded tables, with the columns that both have.
CREATE OR REPLACE FUNCTION pgaudit.watched(purpose text)
RETURNS TABLE (id integer, relation regclass, key_columns text[], columns text[], excluded text[], masked text[], condition text,
               renamed_columns jsonb, known_columns jsonb, paused_at timestamptz)
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT id, relation, key_columns, columns, excluded, masked, condition, renamed_columns, known_columns, paused_at
      FROM captured_table WHERE purpose = 'capture'
    UNION ALL
    SELECT id, relation, key_columns, columns, excluded, masked, condition, renamed_columns, known_columns, paused_at
      FROM guarded_table WHERE purpose = 'guard'
$$;

-- level_of_triggers(relation, purpose): returns what its triggers fire for, statement or row; NULL if it has none.
CREATE OR REPLACE FUNCTION pgaudit.level_of_triggers(relation oid, purpose text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT min(CASE tgtype & 1 WHEN 1 THEN 'row' ELSE 'statement' END) FROM pg_trigger
     WHERE tgrelid = relation AND NOT tgisinternal
       AND tgname IN (SELECT triggers_of(relation, purpose)) AND tgtype & 32 = 0  -- not those of TRUNCATE
$$;

-- problem_of_triggers(relation, purpose, function): returns what is wrong with the triggers of a table and its
-- partitions; NULL if nothing is.
CREATE OR REPLACE FUNCTION pgaudit.problem_of_triggers(relation oid, purpose text, function oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    WITH found AS (
        SELECT format('%s on %s', name, table_name(member)) AS name,
               CASE WHEN t.oid IS NULL THEN 'has no trigger'
                    WHEN tgenabled <> 'A' THEN 'has a trigger that does not always fire'
                    WHEN tgfoid <> function OR tgqual IS NOT NULL OR tgattr <> '' THEN 'has an altered trigger' END AS problem
          FROM partition_tree(relation) member CROSS JOIN unnest('{insert,update,delete,truncate}'::text[]) operation
         CROSS JOIN LATERAL format('0_pgaudit_%s_%s', purpose, operation) name
          LEFT JOIN pg_trigger t ON tgrelid = member AND tgname = name AND NOT tgisinternal)
    SELECT min(problem) || ': ' || min(name) || CASE WHEN count(*) > 1 THEN format(' and %s more', count(*) - 1) ELSE '' END
      FROM found WHERE problem IS NOT NULL GROUP BY problem ORDER BY problem LIMIT 1
$$;

-- problem_of_function(relation, function): returns what is wrong with the generated function of a table; NULL if
-- nothing is. Generating it anew, to compare, would take 20 ms.
CREATE OR REPLACE FUNCTION pgaudit.problem_of_function(relation oid, function oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN NOT prosecdef OR obj_description(oid, 'pg_proc') IS DISTINCT FROM generated_comment(prosrc)
                THEN 'has a function that was altered by hand' END
      FROM pg_proc WHERE oid = function
$$;

-- problem_of_columns(relation, key, known, condition, renamed): returns why rows can no longer be changed: key or
-- condition names a column that was dropped, or the condition does not fit the type of one. NULL otherwise: for other
-- columns, the next change of a row adapts the function.
CREATE OR REPLACE FUNCTION pgaudit.problem_of_columns(relation oid, key text[], known jsonb, condition text, renamed jsonb)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp SET lock_timeout = '100ms' AS $$
BEGIN
    IF cardinality(key_now(key, known, relation)) < cardinality(key) THEN
        RETURN 'cannot be changed, because a column of the key no longer exists';
    END IF;
    PERFORM check_condition(relation, condition, renamed_now(renamed, known, relation), 'captured');
    RETURN NULL;
EXCEPTION
    WHEN invalid_parameter_value THEN
        RETURN 'cannot be updated, because ' || substring(SQLERRM FROM 'the condition is not valid.*');
    WHEN lock_not_available THEN
        RETURN NULL;
END $$;

-- problem_of(purpose, id, relation): returns why changes of a captured or guarded table may pass unseen, or fail: the
-- rest of a sentence that begins with the table. NULL without a problem.
CREATE OR REPLACE FUNCTION pgaudit.problem_of(purpose text, id integer, relation oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    made    oid  := (SELECT oid FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace AND proname = purpose || '_' || id);
    problem text := coalesce(problem_of_triggers(relation, purpose, made), problem_of_function(relation, made));
BEGIN
    IF problem IS NULL AND level_of_triggers(relation, purpose) = 'statement' AND level_of_capture(relation) = 'row' THEN
        problem := format('needs triggers for each row, because %s', row_level_reason(relation));
    END IF;
    IF problem IS NULL THEN
        SELECT 'has a child of which no change is seen: ' || string_agg(table_name(child), ', ') INTO problem
          FROM children_of(relation) child
         WHERE child NOT IN (SELECT w.relation FROM watched(purpose) w);
    END IF;
    IF problem IS NULL THEN
        SELECT problem_of_columns(w.relation, w.key_columns, w.known_columns, w.condition, w.renamed_columns) INTO problem
          FROM watched(purpose) w WHERE w.id = problem_of.id;
    END IF;
    RETURN problem;
END $$;

-- watched_tables(purpose): returns the captured or guarded tables as they are now, with the present names of their
-- columns.
CREATE OR REPLACE FUNCTION pgaudit.watched_tables(purpose text)
RETURNS TABLE (id integer, schema_name text, table_name text, key_columns text[], columns text[], excluded text[],
               masked text[], level text, level_reason text, children text[], problem text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT w.id, n.nspname, c.relname, key_now(w.key_columns, known_columns, w.relation),
           names_now(w.columns, known_columns, w.relation), names_now(w.excluded, known_columns, w.relation),
           names_now(w.masked, known_columns, w.relation), level_of_triggers(w.relation, purpose),
           row_level_reason(w.relation), array(SELECT table_name(child) FROM children_of(w.relation) child ORDER BY 1),
           CASE WHEN paused_at IS NULL THEN problem_of(purpose, w.id, w.relation) END
      FROM watched(purpose) w
      JOIN pg_class c ON c.oid = w.relation
      JOIN pg_namespace n ON n.oid = c.relnamespace
$$;

CREATE OR REPLACE VIEW pgaudit.capture_state AS
SELECT w.schema_name, w.table_name, c.target_type, w.key_columns, c.action, w.columns, w.excluded, w.masked, c.condition,
       w.level, w.level_reason, w.children, w.problem, c.added_at, c.added_by, c.paused_at, c.paused_by
  FROM pgaudit.captured_table c JOIN pgaudit.watched_tables('capture') w USING (id);

CREATE OR REPLACE VIEW pgaudit.guard_state AS
SELECT w.schema_name, w.table_name, g.target_type, w.key_columns, g.action, g.on_missing, g.actions, g.with_changes,
       w.columns, w.excluded, w.masked, g.condition, w.level, w.level_reason, w.children, w.problem,
       g.added_at, g.added_by, g.paused_at, g.paused_by
  FROM pgaudit.guarded_table g JOIN pgaudit.watched_tables('guard') w USING (id);

-- capture_problems(): returns what is wrong with captured and guarded tables that are not paused. For readers and
-- workers.
CREATE OR REPLACE FUNCTION pgaudit.capture_problems() RETURNS TABLE (purpose text, relation oid, table_name text, problem text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT p.purpose, c.oid, table_name(c.oid), problem
      FROM unnest('{capture,guard}'::text[]) p (purpose), watched(p.purpose) w JOIN pg_class c ON c.oid = w.relation,
           problem_of(p.purpose, w.id, c.oid) problem
     WHERE w.paused_at IS NULL AND problem IS NOT NULL ORDER BY 1, 3
$$;


-- tend_captures(): ends captures and guards of tables that were dropped, and adds the triggers of TRUNCATE to partitions
-- that were created since; to those that are locked, the next time. For workers.
CREATE OR REPLACE FUNCTION pgaudit.tend_captures() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    purpose text;
    id      integer;
    member  regclass;
BEGIN
    FOREACH purpose IN ARRAY '{capture,guard}'::text[] LOOP
        FOR id IN SELECT w.id FROM watched(purpose) w WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = w.relation) LOOP
            PERFORM forget_dropped_table(purpose, id);
        END LOOP;
        FOR id, member IN
            SELECT w.id, m FROM watched(purpose) w, partition_tree(w.relation) m
             WHERE paused_at IS NULL AND m <> w.relation
               AND format('0_pgaudit_%s_truncate', purpose) NOT IN (SELECT triggers_of(m, purpose)) LOOP
            BEGIN
                PERFORM create_truncate_trigger(member, purpose, purpose || '_' || id);
            EXCEPTION WHEN lock_not_available OR insufficient_privilege OR undefined_table OR duplicate_object THEN
                NULL;  -- another worker was faster, or the health check names it
            END;
        END LOOP;
    END LOOP;
END $$;

-- forget_dropped_table(purpose, id): ends the capture or guard of a table that was dropped, and records that. Only the
-- number of the table is known.
CREATE OR REPLACE FUNCTION pgaudit.forget_dropped_table(purpose text, id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    settings jsonb;
BEGIN
    IF purpose = 'capture' THEN
        DELETE FROM captured_table c WHERE c.id = forget_dropped_table.id RETURNING to_jsonb(c) INTO settings;
    ELSE
        DELETE FROM guarded_table g WHERE g.id = forget_dropped_table.id RETURNING to_jsonb(g) INTO settings;
    END IF;
    IF settings IS NOT NULL THEN
        PERFORM record_about_table(
            format('audit.%s_removed', purpose), (settings->>'relation')::oid::regclass,
            jsonb_build_object('reason', 'the table was dropped', 'target_type', settings->>'target_type'));
        EXECUTE format('DROP FUNCTION IF EXISTS pgaudit.%I()', purpose || '_' || id);
    END IF;
END $$;
