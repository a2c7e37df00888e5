-- Makes a test database. The schema pgaudit_testing exists in test databases alone; the schema pgaudit is as in production,
-- with all its triggers.

CREATE SCHEMA IF NOT EXISTS pgaudit_testing;
COMMENT ON SCHEMA pgaudit_testing IS 'Marks a database that is for tests: its audit trail may be emptied.';
GRANT USAGE ON SCHEMA pgaudit_testing TO PUBLIC;

-- empty_trail(): empties the log, the queue and what is kept beside them. Settings, workers, partitions and the numbering of
-- jobs stay. It runs as the owner, whatever role a test connects with: only the owner may disable the triggers that
-- reject TRUNCATE. They are enabled again, as they were, before anyone else can use the tables.
-- Raises lock_not_available when a transaction uses one of the tables for 10 seconds.
CREATE OR REPLACE FUNCTION pgaudit_testing.empty_trail() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    candidate regclass;
    has_rows  boolean;
    filled    regclass[] := '{}';
    disable   text;
    enable    text;
BEGIN
    FOR candidate IN
        SELECT oid FROM pg_class
         WHERE relnamespace = 'pgaudit'::regnamespace AND relkind = 'r' AND relname NOT LIKE 'procrastinate\_%'
           AND relname NOT IN ('alembic_version', 'log_lock', 'queue_watermark', 'schema_code', 'sealing_state', 'settings',
                               'target_lock', 'captured_table', 'guarded_table', 'stream', 'stream_position') LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', candidate) INTO has_rows;
        IF has_rows THEN  -- TRUNCATE takes 10 ms for each table, and most are empty
            filled := filled || candidate;
        END IF;
    END LOOP;
    IF filled = '{}' THEN
        RETURN;
    END IF;
    SELECT string_agg(format('ALTER TABLE %s DISABLE TRIGGER %I', tgrelid::regclass, tgname), '; '),
           string_agg(format('ALTER TABLE %s ENABLE %s TRIGGER %I', tgrelid::regclass,
                             CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' END, tgname), '; ')
      INTO disable, enable
      FROM pg_trigger
     WHERE tgrelid = ANY (filled) AND tgtype & 32 > 0 AND tgenabled <> 'D' AND NOT tgisinternal;  -- 32: of TRUNCATE
    EXECUTE coalesce(disable, 'SELECT');
    EXECUTE 'TRUNCATE ' || array_to_string(filled, ', ');
    EXECUTE coalesce(enable, 'SELECT');
    UPDATE pgaudit.stream_position SET next_index = 0, last_index = NULL, last_hash = NULL, delivered = 0;
END $$;
GRANT EXECUTE ON FUNCTION pgaudit_testing.empty_trail() TO PUBLIC;
