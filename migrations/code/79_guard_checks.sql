-- Guards at run time: what a transaction has changed is compared with what it has recorded.

-- recorded_events(): returns the events that satisfy a guard: the application has recorded them in this transaction
-- with the outcome success, and the log will have them. So neither captured events, nor one whose id is in the log
-- already, in the queue, or in another event of the transaction.
CREATE OR REPLACE FUNCTION pgaudit.recorded_events() RETURNS SETOF jsonb
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = on  -- by the indexes, however large queue and log are
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    first_job text := coalesce(current_setting('audit.first_job', true), '');
    mine      text := pg_current_xact_id()::text;
BEGIN
    IF first_job ~ '^[0-9]{1,18}$' THEN
        RETURN QUERY
            SELECT DISTINCT ON (j.event->>'id') j.event FROM audit_jobs j
             WHERE j.id >= first_job::bigint AND j.event->>'xid' = mine AND j.event->>'outcome' = 'success'
               AND NOT coalesce(j.event->'context' ? 'source', false)
               AND NOT EXISTS (SELECT FROM event_key k WHERE k.event_id = (j.event->>'id')::uuid)
               AND NOT EXISTS (SELECT FROM audit_jobs other WHERE other.event->>'id' = j.event->>'id' AND other.event->>'xid' <> mine)
             ORDER BY j.event->>'id', j.id;
    END IF;
    IF current_setting('audit.first_index', true) ~ '^[0-9]{1,18}$' THEN
        RETURN QUERY SELECT * FROM recorded_inline_events(current_setting('audit.first_index')::bigint);
    END IF;
END $$;

-- recorded_inline_events(first_index): returns those that are in the log already, because they were recorded in mode
-- inline.
--   first_index  no event of this transaction has a lower index
CREATE OR REPLACE FUNCTION pgaudit.recorded_inline_events(first_index bigint) RETURNS SETOF jsonb
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET plan_cache_mode = force_custom_plan AS $$  -- locks only the last partitions
BEGIN
    RETURN QUERY
        SELECT l.event FROM audit_log l
         WHERE l.index >= first_index AND l.event->>'xid' = pg_current_xact_id()::text AND l.outcome = 'success'
           AND l.conflicts_with IS NULL AND NOT coalesce(l.event->'context' ? 'source', false);
END $$;

-- fits_pattern(action, pattern): returns whether an action fits a pattern, as claim.paid fits claim.*; any action fits
-- NULL.
CREATE OR REPLACE FUNCTION pgaudit.fits_pattern(action text, pattern text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS
$$ SELECT pattern IS NULL OR action LIKE replace(replace(pattern, '_', '!_'), '*', '%') ESCAPE '!' $$;

-- is_same_value(given, actual): returns whether two values are the same, as an application and as Postgres write them:
-- 1 and "1.00", a time in two zones, or a large value and what stands for it in a captured event.
CREATE OR REPLACE FUNCTION pgaudit.is_same_value(given jsonb, actual jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    ours  text := coalesce(given, 'null') #>> '{}';
    truth text := coalesce(actual, 'null') #>> '{}';
BEGIN
    IF ours IS NOT DISTINCT FROM truth OR actual->'omitted' = 'true' AND actual = omitted_value(ours) THEN
        RETURN true;
    ELSIF jsonb_typeof(actual) = 'number' AND ours ~ '^[-+]?[0-9]+([.][0-9]+)?$' AND length(ours) < 1000 THEN
        RETURN ours::numeric = truth::numeric;
    ELSIF ours ~ '^[0-9]{4}-' AND truth ~ '^[0-9]{4}-' THEN  -- not 'now'
        RETURN coalesce(try_timestamptz(ours) = try_timestamptz(truth), false);
    END IF;
    RETURN false;
END $$;

-- has_changes(given, actual, masked): returns whether the changes of an event have each change of a row, with the value
-- that it has now. Masked columns are not compared.
CREATE OR REPLACE FUNCTION pgaudit.has_changes(given jsonb, actual jsonb, masked text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT NOT EXISTS (
        SELECT FROM jsonb_array_elements(coalesce(actual, '[]')) a
         WHERE a->>'path' <> ALL (masked)
           AND NOT EXISTS (SELECT FROM jsonb_array_elements(CASE WHEN jsonb_typeof(given) = 'array' THEN given ELSE '[]' END) g
                            WHERE g->>'path' = a->>'path' AND is_same_value(g->'after', a->'after')))
$$;

-- satisfies(action, changes, pattern, with_changes, event, masked): returns whether a recorded event, which has the target
-- already, is what a guard demands.
--   action, changes                those of the event
--   pattern, with_changes, masked  those of the guard
--   event                          how the change would be captured; NULL unless with_changes
-- Without SET, so that it becomes a part of the query that compares all targets.
CREATE OR REPLACE FUNCTION pgaudit.satisfies(action text, changes jsonb, pattern text, with_changes boolean, event text, masked text[])
RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT pgaudit.fits_pattern(action, pattern) AND (NOT with_changes OR pgaudit.has_changes(changes, event::jsonb->'changes', masked)) $$;

-- check_guarded_changes(): compares what the transaction has changed in guarded tables with what it has recorded. The
-- first of its deferred calls compares all of it; the others find nothing left.
CREATE OR REPLACE FUNCTION pgaudit.check_guarded_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' SET enable_nestloop = off SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
    missing record;
    guarded guarded_table;
BEGIN
    IF NOT EXISTS (SELECT FROM guarded_change WHERE xid = NEW.xid AND number = NEW.number) THEN
        RETURN NULL;
    END IF;
    FOR missing IN
        WITH noted AS (
            DELETE FROM guarded_change WHERE xid = NEW.xid RETURNING guard, operation, keys, new_keys, events
        ), guards AS MATERIALIZED (
            SELECT g.*, CASE WHEN with_changes THEN names_now(masked, known_columns, relation) END AS hidden
              FROM guarded_table g WHERE id IN (SELECT guard FROM noted)
        ), changed AS (
            SELECT g.id AS guard, g.target_type, n.operation, g.actions->>n.operation AS pattern, g.with_changes,
                   g.hidden AS masked, c.key, c.new_key, c.event,
                   CASE WHEN g.on_missing = 'capture' THEN row_number() OVER () / 10000 END AS portion  -- as in guard_query
              FROM noted n JOIN guards g ON g.id = n.guard,
                   LATERAL unnest(n.keys, n.new_keys, n.events) AS c (key, new_key, event)
        ), recorded AS MATERIALIZED (
            SELECT t.target->>'type' AS target_type, t.target->>'id' AS key, r.event->>'action' AS action, r.event->'changes' AS changes
              FROM recorded_events() AS r (event), LATERAL jsonb_array_elements(r.event->'targets') AS t (target)
        )
        SELECT c.guard, c.operation, array_agg(c.key ORDER BY length(c.key), c.key) AS keys,
               array_agg(c.event) FILTER (WHERE c.event IS NOT NULL) AS events
          FROM changed c
         WHERE NOT EXISTS (SELECT FROM recorded r WHERE r.target_type = c.target_type AND r.key = c.key
                              AND satisfies(r.action, r.changes, c.pattern, c.with_changes, c.event, c.masked))
           AND NOT EXISTS (SELECT FROM recorded r WHERE c.new_key <> c.key AND r.target_type = c.target_type AND r.key = c.new_key
                              AND satisfies(r.action, r.changes, c.pattern, c.with_changes, c.event, c.masked))
         GROUP BY c.guard, c.operation, c.portion LOOP
        SELECT g.* INTO guarded FROM guarded_table g WHERE g.id = missing.guard;
        PERFORM note_unrecorded(guarded, guarded.relation, missing.operation, cardinality(missing.keys),
                                array(SELECT guarded.target_type || ':' || key FROM unnest(missing.keys[:5]) key), missing.events);
    END LOOP;
    RETURN NULL;
END $$;

-- note_unrecorded(guard, relation, operation, count, targets, events): does what the guard says about changes without
-- an event: aborts, records the events that were captured for that case, or notes them and warns.
--   relation  the table, or the partition that was truncated
--   count     number of changed rows; targets has the first five
CREATE OR REPLACE FUNCTION pgaudit.note_unrecorded(guard pgaudit.guarded_table, relation regclass, operation text, count bigint,
                                                   targets text[], events text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    problem text := unrecorded_problem(relation, operation, count, targets);
    remedy  text := unrecorded_remedy(guard, operation, targets[1]);
BEGIN
    CASE guard.on_missing
        WHEN 'abort' THEN
            RAISE EXCEPTION '%', problem USING ERRCODE = 'PA002', SCHEMA = split_part(table_name(relation), '.', 1),
                TABLE = split_part(table_name(relation), '.', 2), HINT = remedy;
        WHEN 'capture' THEN
            PERFORM record_contents(events);
        ELSE
            INSERT INTO unrecorded_change (relation, operation, count, targets, xid, recorded_by, application_name)
            VALUES (relation, operation, count, targets, pg_current_xact_id(), session_user, current_setting('application_name'));
            RAISE WARNING '%', problem USING ERRCODE = '01PA2', HINT = remedy;
    END CASE;
END $$;

-- unrecorded_problem(relation, operation, count, targets): returns the sentence about changes without an event.
CREATE OR REPLACE FUNCTION pgaudit.unrecorded_problem(relation regclass, operation text, count bigint, targets text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE operation WHEN 'truncate' THEN format('TRUNCATE of %s without an audit event', table_name(relation))
                          ELSE format('%s: %s%s %s without an audit event', table_name(relation), array_to_string(targets[:3], ', '),
                                      CASE WHEN count > 3 THEN format(' and %s more', count - 3) ELSE '' END,
                                      CASE operation WHEN 'insert' THEN 'inserted' WHEN 'update' THEN 'updated' ELSE 'deleted' END) END
$$;

-- unrecorded_remedy(guard, operation, target): returns what a developer has to do about a change without an event.
CREATE OR REPLACE FUNCTION pgaudit.unrecorded_remedy(guard pgaudit.guarded_table, operation text, target text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format('Record a new event%s in the same transaction: audit.record(conn, AuditEvent(action="%s", target="%s"%s)).',
                  CASE operation WHEN 'truncate' THEN ' before it,' ELSE '' END, replace(pattern, '*', '…'), target,
                  CASE WHEN guard.with_changes AND operation <> 'truncate' THEN ', changes=[…]' ELSE '' END)
      FROM coalesce(guard.actions->>operation, guard.action || CASE operation WHEN 'truncate' THEN '.truncated' ELSE '.*' END) pattern
$$;

-- check_guarded_truncate(guard, relation): decides about a TRUNCATE at once: PostgreSQL defers no trigger of TRUNCATE.
-- An event about a table is one about its partitions, which are truncated with it.
CREATE OR REPLACE FUNCTION pgaudit.check_guarded_truncate(guard integer, relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    guarded guarded_table := (SELECT g FROM guarded_table g WHERE g.id = guard);
    name    text := table_name(relation);
BEGIN
    IF NOT EXISTS (SELECT FROM recorded_events() AS r (event), LATERAL jsonb_array_elements(r.event->'targets') t
                    WHERE t->>'type' = 'table' AND t->>'id' IN (name, table_name(guarded.relation))
                      AND fits_pattern(r.event->>'action', guarded.actions->>'truncate')) THEN
        PERFORM note_unrecorded(guarded, relation, 'truncate', 1, ARRAY['table:' || name],
                                ARRAY[event_about_table(guarded.action || '.truncated', relation)]);
    END IF;
END $$;

-- prune_unrecorded_changes(age): deletes the notes that are older.
CREATE OR REPLACE FUNCTION pgaudit.prune_unrecorded_changes(age interval) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS
$$ DELETE FROM unrecorded_change WHERE found_at < clock_timestamp() - age $$;
