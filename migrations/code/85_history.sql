-- The history of batches: throughput, lag, and the range of indexes for a range of time.

-- lag_bucket_bounds(): returns the upper bounds of the buckets of the lag histogram.
CREATE OR REPLACE FUNCTION pgaudit.lag_bucket_bounds() RETURNS interval[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT '{5ms,10ms,25ms,50ms,100ms,250ms,500ms,1s,2.5s,5s,10s,30s,60s,300s}'::interval[] $$;

-- late_after(): returns the limit from which a batch is late: an event of it was recorded that much earlier than
-- another event of the log, up to and including the batch.
CREATE OR REPLACE FUNCTION pgaudit.late_after() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT interval '1 hour' $$;

-- prune_batches(older_than, max_rows): merges batches older than older_than, at least a day, into one row for each
-- minute: the oldest first, at most max_rows of them in one call. Keeps the last row, which marks the end of the log.
-- Returns by how many rows the table shrank.
CREATE OR REPLACE FUNCTION pgaudit.prune_batches(older_than interval DEFAULT '1 day', max_rows integer DEFAULT 20000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    pruned bigint;
BEGIN
    WITH old AS (
        -- Only whole minutes. A row that has lag_buckets is not merged yet.
        SELECT b.*, date_trunc('minute', persisted_at, 'UTC') AS minute
          FROM batch b
         WHERE lag_buckets IS NOT NULL
           AND persisted_at < date_trunc('minute', clock_timestamp() - greatest(older_than, interval '1 day'), 'UTC')
           AND first_index < (SELECT max(first_index) FROM batch)
         ORDER BY first_index LIMIT max_rows FOR UPDATE SKIP LOCKED
    ), islands AS (  -- adjacent rows of one minute: after the clock was set back, a minute has several islands
        SELECT *, sum(starts) OVER (ORDER BY first_index) AS island
          FROM (SELECT *, (minute IS DISTINCT FROM lag(minute) OVER in_order
                           OR first_index <> lag(first_index + count) OVER in_order)::integer AS starts
                  FROM old WINDOW in_order AS (ORDER BY first_index)) marked
    ), merged AS (
        SELECT min(first_index) AS first_index, sum(count) AS count, sum(batches) AS batches, max(persisted_at) AS persisted_at,
               min(oldest_recorded) AS oldest_recorded, max(newest_recorded) AS newest_recorded,
               max(recorded_until) AS recorded_until,
               -- If a backlog of hours was appended within a minute, no batch of it is late, but the merged row is.
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

-- index_ranges(since, until): returns ranges of indexes, [first_index, end_index), with all events recorded in
-- [since, until), and few others: one range for the events that were appended soon after they were recorded, and one
-- for each late batch behind it.
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

-- column_drift(first_index, end_index): returns the columns of the log whose value differs from their event's, and leaf
-- hashes that do not match their event's text; in [first_index, end_index), by default the whole log. An event that was
-- changed by hand may hold any value, so values are compared as text or converted without raising.
CREATE OR REPLACE FUNCTION pgaudit.column_drift(first_index bigint DEFAULT 0, end_index bigint DEFAULT NULL)
RETURNS TABLE (index bigint, column_name text, column_value text, event_value text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
    SELECT l.index, given.name, given.value, given.expected
      FROM audit_log l, LATERAL (VALUES
        ('event_id',    l.event_id::text,    event->>'id'),
        ('occurred_at', l.occurred_at::text, try_timestamptz(event->>'occurred_at')::text),
        ('recorded_at', l.recorded_at::text, try_timestamptz(event->>'recorded_at')::text),
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
