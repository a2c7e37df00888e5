-- The history of batches: what the log grew by, when, and which indexes belong to which time.

-- lag_bucket_bounds(): upper ends of the buckets that lags are counted in.
CREATE OR REPLACE FUNCTION pgaudit.lag_bucket_bounds() RETURNS interval[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT '{5ms,10ms,25ms,50ms,100ms,250ms,500ms,1s,2.5s,5s,10s,30s,60s,300s}'::interval[] $$;

-- late_after(): a batch is late when its oldest event was recorded so much earlier than another one in the log.
CREATE OR REPLACE FUNCTION pgaudit.late_after() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT interval '1 hour' $$;

-- prune_batches(older_than, max_rows): merges batches that are older than that, at least a day, into one a minute: oldest
-- first, up to max_rows of them at a time. The last row always stays: it says where the log ends.
-- Returns how many rows fewer there are.
CREATE OR REPLACE FUNCTION pgaudit.prune_batches(older_than interval DEFAULT '1 day', max_rows integer DEFAULT 20000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    pruned bigint;
BEGIN
    WITH old AS (
        -- Not the newest of these minutes, for more of it may follow. Those with lag_buckets are not merged yet.
        SELECT b.*, date_trunc('minute', persisted_at, 'UTC') AS minute
          FROM batch b
         WHERE lag_buckets IS NOT NULL
           AND persisted_at < date_trunc('minute', clock_timestamp() - greatest(older_than, interval '1 day'), 'UTC')
           AND first_index < (SELECT max(first_index) FROM batch)
         ORDER BY first_index LIMIT max_rows FOR UPDATE SKIP LOCKED
    ), islands AS (  -- runs of neighbours of one minute: a clock that was set back does not tear a range apart
        SELECT *, sum(starts) OVER (ORDER BY first_index) AS island
          FROM (SELECT *, (minute IS DISTINCT FROM lag(minute) OVER in_order
                           OR first_index <> lag(first_index + count) OVER in_order)::integer AS starts
                  FROM old WINDOW in_order AS (ORDER BY first_index)) marked
    ), merged AS (
        SELECT min(first_index) AS first_index, sum(count) AS count, sum(batches) AS batches, max(persisted_at) AS persisted_at,
               min(oldest_recorded) AS oldest_recorded, max(newest_recorded) AS newest_recorded,
               max(recorded_until) AS recorded_until,
               -- A backlog of hours, appended within a minute: none of its batches is late, but their union is.
               bool_or(late) OR min(oldest_recorded) < max(recorded_until) - late_after() AS late
          FROM islands GROUP BY island
    ), written AS (
        INSERT INTO batch (first_index, count, batches, persisted_at, oldest_recorded, newest_recorded, recorded_until, late)
        SELECT first_index, count, batches, persisted_at, oldest_recorded, newest_recorded, recorded_until, late FROM merged
        ON CONFLICT (first_index) DO UPDATE
            SET count = excluded.count, batches = excluded.batches, persisted_at = excluded.persisted_at,
                oldest_recorded = excluded.oldest_recorded, newest_recorded = excluded.newest_recorded,
                recorded_until = excluded.recorded_until, late = excluded.late,
                worker_id = NULL, lag_buckets = NULL, lag_total = NULL
        RETURNING 1
    ), deleted AS (
        DELETE FROM batch WHERE first_index IN (SELECT first_index FROM old EXCEPT SELECT first_index FROM merged) RETURNING 1
    )
    SELECT count(*) INTO pruned FROM deleted;
    RETURN pruned;
END $$;

-- index_ranges(since, until): the ranges of the log that hold all events recorded in [since, until), and few others: an
-- event is appended soon after it was recorded, and those that were not are in late batches.
-- Returns [first_index, end_index), one row, and one for each late batch behind it.
CREATE OR REPLACE FUNCTION pgaudit.index_ranges(since timestamptz, until timestamptz)
RETURNS TABLE (first_index bigint, end_index bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH bounds AS (
        SELECT (SELECT first_index FROM batch WHERE recorded_until >= since
                 ORDER BY recorded_until, first_index LIMIT 1) AS first,
               coalesce((SELECT first_index FROM batch WHERE recorded_until >= until + late_after()
                          ORDER BY recorded_until, first_index LIMIT 1), (SELECT size FROM log_head)) AS "end"
    )
    SELECT first, "end" FROM bounds WHERE first < "end"
    UNION ALL
    SELECT b.first_index, b.first_index + b.count FROM batch b, bounds
     WHERE b.late AND b.oldest_recorded < until AND b.newest_recorded >= since AND b.first_index >= greatest("end", first)
     ORDER BY 1
$$;

-- column_drift(first_index, end_index): what the columns of the log say that their event does not, and events whose text
-- no longer has the leaf hash beside it; in [first_index, end_index), the whole log by default.
CREATE OR REPLACE FUNCTION pgaudit.column_drift(first_index bigint DEFAULT 0, end_index bigint DEFAULT NULL)
RETURNS TABLE (index bigint, column_name text, column_value text, event_value text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
    SELECT l.index, given.name, given.value, given.expected
      FROM audit_log l, LATERAL (VALUES
        ('event_id',    l.event_id::text,    ((event->>'id')::uuid)::text),
        ('occurred_at', l.occurred_at::text, ((event->>'occurred_at')::timestamptz)::text),
        ('recorded_at', l.recorded_at::text, ((event->>'recorded_at')::timestamptz)::text),
        ('action',      l.action,            event->>'action'),
        ('outcome',     l.outcome,           event->>'outcome'),
        ('actor_type',  l.actor_type,        event->'actor'->>'type'),
        ('actor_id',    l.actor_id,          event->'actor'->>'id'),
        ('target_type', l.target_type,       event->'targets'->0->>'type'),
        ('target_id',   l.target_id,         event->'targets'->0->>'id'),
        ('tenant',      l.tenant,            event->>'tenant'),
        ('leaf_hash',   encode(l.leaf_hash, 'hex'), encode(pgaudit.leaf_hash(event), 'hex'))
      ) AS given (name, value, expected)
     WHERE l.index >= first_index AND (end_index IS NULL OR l.index < end_index)
       AND given.value IS DISTINCT FROM given.expected
$$;
