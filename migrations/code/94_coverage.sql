-- Coverage: which tables of the application are captured or guarded, and which are neither.

-- logged_actions(prefixes): returns the actions in the log that begin with one of the prefixes. Each is found by one
-- step in each index, however many events have it.
CREATE OR REPLACE FUNCTION pgaudit.logged_actions(prefixes text[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    WITH RECURSIVE wanted AS (
        SELECT prefix COLLATE "C" AS first, (left(prefix, -1) || chr(ascii(right(prefix, 1)) + 1)) COLLATE "C" AS behind
          FROM unnest(prefixes) prefix WHERE prefix <> ''
    ), step (action, behind) AS (
        SELECT (SELECT l.action FROM audit_log l WHERE l.action >= first AND l.action < behind ORDER BY l.action LIMIT 1), behind
          FROM wanted
        UNION ALL
        SELECT (SELECT l.action FROM audit_log l WHERE l.action > step.action AND l.action < step.behind ORDER BY l.action LIMIT 1),
               behind
          FROM step WHERE action IS NOT NULL)
    SELECT DISTINCT action FROM step WHERE action IS NOT NULL
$$;

-- last_recorded_at(actions): returns when the newest event in the log with one of these actions was recorded. Only the
-- index of actions has the order that is asked for: "action = x ORDER BY index" would read a log without x as a whole.
CREATE OR REPLACE FUNCTION pgaudit.last_recorded_at(actions text[]) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT max(newest.recorded_at)
      FROM unnest(actions) wanted (action),
           LATERAL (SELECT l.recorded_at FROM audit_log l WHERE l.action >= wanted.action AND l.action <= wanted.action
                     ORDER BY l.action DESC, l.index DESC LIMIT 1) newest
$$;

-- expected_actions(action, actions): returns what the actions of events for a guarded table begin with.
CREATE OR REPLACE FUNCTION pgaudit.expected_actions(action text, actions jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT action || '.' || array(SELECT split_part(pattern, '*', 1) FROM jsonb_each_text(actions) AS given (operation, pattern))
$$;

-- A table belongs to the application unless it is pgaudit's, the server's, an extension's or a tool's for migrations.
CREATE OR REPLACE VIEW pgaudit.table_coverage AS
SELECT n.nspname::text AS schema_name, c.relname::text AS table_name,
       CASE WHEN k.paused_at IS NOT NULL THEN 'paused' WHEN of_capture.problem IS NOT NULL THEN 'broken' WHEN k.id IS NOT NULL THEN 'captured' END AS capture,
       CASE WHEN g.paused_at IS NOT NULL THEN 'paused' WHEN of_guard.problem IS NOT NULL THEN 'broken' WHEN g.id IS NOT NULL THEN 'guarded' END AS guard,
       g.on_missing,
       coalesce(k.target_type, g.target_type) AS target_type,
       contents.estimated_rows, contents.changed_rows,
       CASE WHEN k.id IS NOT NULL
            THEN pgaudit.last_recorded_at(array(SELECT k.action || suffix FROM unnest('{.created,.updated,.deleted,.truncated}'::text[]) suffix))
            WHEN g.id IS NOT NULL
            THEN pgaudit.last_recorded_at(array(SELECT pgaudit.logged_actions(pgaudit.expected_actions(g.action, g.actions))))
       END AS last_event_at,
       coalesce(passed.unrecorded_changes, 0) AS unrecorded_changes,
       coalesce(k.added_at, g.added_at) AS added_at
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pgaudit.captured_table k ON k.relation = c.oid
  LEFT JOIN pgaudit.guarded_table g ON g.relation = c.oid
  LEFT JOIN pgaudit.capture_problems() of_capture ON of_capture.purpose = 'capture' AND of_capture.relation = c.oid
  LEFT JOIN pgaudit.capture_problems() of_guard ON of_guard.purpose = 'guard' AND of_guard.relation = c.oid
  LEFT JOIN (SELECT relation, sum(count)::bigint AS unrecorded_changes FROM pgaudit.unrecorded_change
              WHERE found_at > clock_timestamp() - interval '1 day' GROUP BY relation) passed ON passed.relation = c.oid,
       LATERAL (SELECT coalesce(sum(coalesce(nullif(part.reltuples, -1)::bigint, pg_stat_get_live_tuples(part.oid))), 0)::bigint AS estimated_rows,
                       coalesce(sum(pg_stat_get_tuples_inserted(part.oid) + pg_stat_get_tuples_updated(part.oid)
                                    + pg_stat_get_tuples_deleted(part.oid)), 0)::bigint AS changed_rows
                  FROM pgaudit.partition_tree(c.oid) member JOIN pg_class part ON part.oid = member AND part.relkind = 'r') contents
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pgaudit', 'information_schema') AND n.nspname !~ '^pg_'
   AND c.relname NOT IN ('alembic_version', 'django_migrations')
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e');

-- claim_unrecorded_changes(): returns up to 1,000 changes that guards have let pass and that no worker has reported
-- yet, the oldest first, and marks them as reported. table_name is NULL if the table no longer exists.
CREATE OR REPLACE FUNCTION pgaudit.claim_unrecorded_changes()
RETURNS TABLE (table_name text, operation text, count bigint, targets text[], xid text, recorded_by text, application_name text)
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH told AS (
        UPDATE unrecorded_change u SET told_at = clock_timestamp()
         WHERE id = ANY (array(SELECT id FROM unrecorded_change WHERE told_at IS NULL ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED))
        RETURNING u.*)
    SELECT table_name(relation), operation, count, targets, xid::text, recorded_by, application_name FROM told ORDER BY id
$$;
