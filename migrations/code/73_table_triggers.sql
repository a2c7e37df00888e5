-- The triggers of captured and guarded tables.

-- row_level_reason(relation): returns why the triggers of a table must fire for each row; NULL where they may fire for
-- each statement. Statement is the rule: its transition tables make one INSERT of a bulk change. But a statement fires
-- only the triggers of the table that it names, and after all row triggers: rows that come through other tables, or
-- that other row triggers may change again, would be missed or read too late. Our row triggers fire before those.
CREATE OR REPLACE FUNCTION pgaudit.row_level_reason(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM pg_class WHERE oid = relation AND relkind = 'p') THEN 'it is partitioned'
                WHEN EXISTS (SELECT FROM pg_inherits WHERE inhparent = relation) THEN 'tables inherit from it'
                WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = relation) THEN 'it is a part of another table'
                ELSE (SELECT 'it has AFTER ROW triggers: ' || string_agg(tgname, ', ' ORDER BY tgname) FROM pg_trigger
                       WHERE tgrelid = relation AND NOT tgisinternal AND tgtype & 1 = 1 AND tgtype & 2 = 0
                         AND tgfoid NOT IN (SELECT oid FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace)) END
$$;

-- level_of_capture(relation): returns what the triggers of a table must fire for: statement or row.
CREATE OR REPLACE FUNCTION pgaudit.level_of_capture(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS
$$ SELECT CASE WHEN row_level_reason(relation) IS NULL THEN 'statement' ELSE 'row' END $$;

-- triggers_of(relation, purpose): returns the names of its triggers for the purpose: capture or guard.
CREATE OR REPLACE FUNCTION pgaudit.triggers_of(relation oid, purpose text) RETURNS SETOF name
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT tgname FROM pg_trigger WHERE tgrelid = relation AND NOT tgisinternal
       AND tgname = ANY (array(SELECT format('0_pgaudit_%s_%s', purpose, operation)
                                 FROM unnest('{insert,update,delete,truncate}'::text[]) operation)::name[])
$$;

-- partition_tree(relation): returns a table and its partitions, of all levels. pg_partition_tree would lock them all.
CREATE OR REPLACE FUNCTION pgaudit.partition_tree(relation oid) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    WITH RECURSIVE tree (relation) AS (
        SELECT partition_tree.relation
        UNION ALL
        SELECT inhrelid FROM tree JOIN pg_inherits ON inhparent = tree.relation JOIN pg_class c ON c.oid = inhrelid
         WHERE relispartition)
    SELECT relation FROM tree
$$;

-- create_triggers(relation, purpose, function): creates the triggers of a table. Their names begin with 0, because
-- triggers fire in the order of their names. PostgreSQL copies row triggers to each partition, but not that of
-- TRUNCATE.
CREATE OR REPLACE FUNCTION pgaudit.create_triggers(relation regclass, purpose text, function text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    level     text := level_of_capture(relation);
    operation text;
BEGIN
    PERFORM drop_triggers(relation, purpose, function);
    FOREACH operation IN ARRAY '{insert,update,delete}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH %s EXECUTE FUNCTION pgaudit.%I()',
                       format('0_pgaudit_%s_%s', purpose, operation), operation, relation,
                       CASE WHEN level = 'statement' THEN 'REFERENCING' || CASE WHEN operation <> 'insert' THEN ' OLD TABLE AS old_rows' ELSE '' END
                            || CASE WHEN operation <> 'delete' THEN ' NEW TABLE AS new_rows' ELSE '' END END, level, function);
    END LOOP;
    PERFORM create_truncate_trigger(member, purpose, function) FROM partition_tree(relation) member;
    PERFORM enable_triggers(relation, purpose, true);
END $$;

-- create_truncate_trigger(relation, purpose, function): creates the trigger of a table, or of a partition.
CREATE OR REPLACE FUNCTION pgaudit.create_truncate_trigger(relation regclass, purpose text, function text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    name text := format('0_pgaudit_%s_truncate', purpose);
BEGIN
    EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.%I()',
                   name, relation, function);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', relation, name);
END $$;

-- enable_triggers(relation, purpose, enabled): enables or disables the triggers of a table and its partitions. Enabled
-- ones fire always, also where session_replication_role would switch others off.
CREATE OR REPLACE FUNCTION pgaudit.enable_triggers(relation regclass, purpose text, enabled boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    member  regclass;
    trigger name;
BEGIN
    FOR member, trigger IN SELECT m, t FROM partition_tree(relation) m, triggers_of(m, purpose) t LOOP
        EXECUTE format('ALTER TABLE %s %s TRIGGER %I', member, CASE WHEN enabled THEN 'ENABLE ALWAYS' ELSE 'DISABLE' END, trigger);
    END LOOP;
END $$;

-- drop_triggers(relation, purpose, function): drops the triggers of a table, and all others that call its function:
-- renamed ones, and those on partitions that were detached. PostgreSQL drops its copies on the partitions.
CREATE OR REPLACE FUNCTION pgaudit.drop_triggers(relation regclass, purpose text, function text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    member  regclass;
    trigger name;
BEGIN
    FOR member, trigger IN
        SELECT tgrelid, tgname FROM pg_trigger t
         WHERE tgparentid = 0 AND NOT tgisinternal
           AND (tgfoid = (SELECT oid FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace AND proname = function)
                OR tgrelid IN (SELECT partition_tree(relation)) AND tgname IN (SELECT triggers_of(tgrelid, purpose))) LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger, member);
    END LOOP;
END $$;

-- install_triggers(purpose, relation, id, body, settings): creates function and triggers of a table, and records that.
--   purpose   capture or guard
--   id        its number in captured_table or guarded_table
--   settings  its row there
CREATE OR REPLACE FUNCTION pgaudit.install_triggers(purpose text, relation regclass, id integer, body text, settings jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM create_trigger_function(purpose || '_' || id, body);
    PERFORM create_triggers(relation, purpose, purpose || '_' || id);
    PERFORM record_about_table(format('audit.%s_added', purpose), relation, jsonb_strip_nulls(
        settings - '{id,relation,renamed_columns,known_columns,added_at,added_by}'::text[]));
END $$;

-- pause_triggers(purpose, relation, paused): disables the triggers of a table, or enables them again, and records that.
CREATE OR REPLACE FUNCTION pgaudit.pause_triggers(purpose text, relation regclass, paused boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM record_about_table(format('audit.%s_%s', purpose, CASE WHEN paused THEN 'paused' ELSE 'resumed' END), relation);
    PERFORM enable_triggers(relation, purpose, NOT paused);
END $$;

-- remove_triggers(purpose, relation, id): drops function and triggers of a table, and records that.
CREATE OR REPLACE FUNCTION pgaudit.remove_triggers(purpose text, relation regclass, id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM record_about_table(format('audit.%s_removed', purpose), relation);
    PERFORM drop_triggers(relation, purpose, purpose || '_' || id);
    EXECUTE format('DROP FUNCTION IF EXISTS pgaudit.%I()', purpose || '_' || id);
END $$;

-- children_of(relation): returns the tables that inherit from a table, without its partitions.
CREATE OR REPLACE FUNCTION pgaudit.children_of(relation regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = relation AND NOT relispartition
$$;
