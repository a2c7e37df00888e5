-- The log's end of the way: entries become rows, rows are appended, and what cannot be is split off.

-- An edited event must not enter the log looking genuine.
CREATE FUNCTION pgaudit.refuse_tampered(event_id text) RETURNS bytea
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'event % was changed in the queue: its text no longer matches its leaf hash', event_id
        USING ERRCODE = 'data_corrupted';
END $$;

-- The entries as rows of the log, but for when they are persisted; index is their place among the entries, from 1.
CREATE FUNCTION pgaudit.prepared(entries jsonb[]) RETURNS pgaudit.audit_log[]
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT ROW (n, event->>'id', event->>'occurred_at', event->>'recorded_at', NULL, event->>'action', event->>'outcome',
                    event->'actor'->>'type', event->'actor'->>'id', target->>'type', target->>'id', event->>'tenant',
                    event, CASE WHEN hash = encode(leaf, 'hex') THEN leaf ELSE refuse_tampered(event->>'id') END)::audit_log
          FROM (SELECT n, event, hash, leaf_hash(event) AS leaf, event->'targets'->0 AS target
                  FROM (SELECT n, entry->'event' AS event, entry->>'leaf_hash' AS hash
                          FROM unnest(entries) WITH ORDINALITY AS given (entry, n)
                        OFFSET 0) opened
                OFFSET 0) hashed);  -- each OFFSET 0: once for each entry, not once for each column
END $$;

-- Appends the rows in their order, or raises and appends none. The caller holds log_lock.
CREATE FUNCTION pgaudit.append_all(rows pgaudit.audit_log[], worker bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    last      batch;
    head      bigint;
    persisted timestamptz := clock_timestamp();
BEGIN
    SELECT * INTO last FROM batch ORDER BY first_index DESC LIMIT 1;
    head := coalesce(last.first_index + last.count, 0);
    WITH appended AS (
        INSERT INTO audit_log
        SELECT head + r.index - 1, r.event_id, r.occurred_at, r.recorded_at, persisted, r.action, r.outcome, r.actor_type,
               r.actor_id, r.target_type, r.target_id, r.tenant, r.event, r.leaf_hash
          FROM unnest(rows) r
        RETURNING recorded_at
    ), lag AS (
        SELECT width_bucket(persisted - recorded_at, lag_bounds()) AS class, count(*) AS events,
               min(recorded_at) AS oldest, max(recorded_at) AS newest, sum(persisted - recorded_at) AS total
          FROM appended GROUP BY 1
    )
    INSERT INTO batch
    SELECT head, sum(events), persisted, min(oldest), max(newest), worker,
           array(SELECT coalesce(last.lags[class + 1], 0) + coalesce(events, 0)
                   FROM generate_series(0, cardinality(lag_bounds())) class LEFT JOIN lag USING (class) ORDER BY class),
           -- In seconds: an interval counts whole days apart, and has no room for more than two thousand million.
           make_interval(secs => extract(epoch FROM coalesce(last.lag_sum, '0') + sum(total))::double precision)
      FROM lag
     HAVING sum(events) = cardinality(rows)
    -- Only a snapshot that is older than the lock can meet a batch it does not see: Postgres then says 40001.
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a trigger left events out of the log, or batch % is there already', head
            USING ERRCODE = 'triggered_data_change_violation';
    END IF;
END $$;

-- What makes an event the same: not when it was recorded, nor in which span. Who tries again does so in another.
CREATE FUNCTION pgaudit.content_of(event jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT event - '{recorded_at,context}'::text[] || jsonb_build_object('context',
               CASE jsonb_typeof(event->'context') WHEN 'object' THEN (event->'context') - '{trace_id,span_id}'::text[]
               ELSE coalesce(event->'context', '{}') END)
$$;

-- Whether the log holds this very event: the same id with other content is not a duplicate but a
-- mistake, or an attempt to have an event dropped.
CREATE FUNCTION pgaudit.is_logged(sought jsonb) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT EXISTS (SELECT FROM audit_log
                    WHERE event_id = (sought->>'id')::uuid AND occurred_at = (sought->>'occurred_at')::timestamptz
                      AND content_of(event) = content_of(sought))
$$;

-- A connection, transaction, resource, lock, operator or server error, or a database that is not migrated:
-- the event is not to blame.
CREATE FUNCTION pgaudit.is_infrastructure(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT left(state, 2) IN ('08', '25', '40', '42', '53', '55', '57', '58') $$;

-- Appends what can be appended and skips what is in the log already. What cannot is split off, half by
-- half, and returned: {"entry": its place, "sqlstate", "message", "context"}. The caller holds log_lock.
CREATE FUNCTION pgaudit.append(entries jsonb[], worker bigint, rows pgaudit.audit_log[] DEFAULT NULL, first integer DEFAULT 1)
RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    half    integer := cardinality(entries) / 2;
    state   text;
    message text;
    context text;
BEGIN
    BEGIN
        PERFORM append_all(coalesce(rows, prepared(entries)), worker);
        RETURN '{}';
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
        IF is_infrastructure(state) THEN
            RAISE;
        END IF;
    END;
    IF half > 0 THEN
        RETURN append(entries[:half], worker, NULL, first) || append(entries[half + 1:], worker, NULL, first + half);
    ELSIF state = '23505' AND is_logged(entries[1]->'event') THEN
        RETURN '{}';
    ELSE
        RETURN ARRAY[jsonb_build_object('entry', first, 'sqlstate', state, 'message', message, 'context', context)];
    END IF;
END $$;

-- PGAUDIT_MODE=inline: one transaction at a time, the head is locked until the caller commits.
CREATE FUNCTION pgaudit.append_inline(entries jsonb[]) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    failures jsonb[];
BEGIN
    IF cardinality(entries) = 0 THEN
        RETURN;
    END IF;
    PERFORM FROM log_lock FOR UPDATE;
    failures := append(entries, NULL);
    IF cardinality(failures) > 0 THEN
        RAISE EXCEPTION '%', failures[1]->>'message' USING ERRCODE = failures[1]->>'sqlstate';
    END IF;
END $$;

-- Deletes batches older than that, the oldest first and only so many at a time; how many were deleted. What
-- they append to is not touched: a batch is history of throughput and lag, the events are the log. The last one
-- stays: it says where the log ends. So does a day of them: by their key, who appends under an old snapshot is noticed.
CREATE FUNCTION pgaudit.forget_batches(older interval DEFAULT '30 days', most integer DEFAULT 20000) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH forgotten AS (
        DELETE FROM batch WHERE first_index IN (
            SELECT first_index FROM batch
             WHERE persisted_at < clock_timestamp() - greatest(older, interval '1 day')
               AND first_index < (SELECT max(first_index) FROM batch)
             ORDER BY persisted_at LIMIT most FOR UPDATE SKIP LOCKED)
        RETURNING 1)
    SELECT count(*) FROM forgotten
$$;
