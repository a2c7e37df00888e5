-- The end of the audit log: appends the events of a batch.

-- lock_log(): waits for other appends, and blocks them until this transaction ends: so index order is commit order.
CREATE OR REPLACE FUNCTION pgaudit.lock_log() RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$ BEGIN PERFORM FROM log_lock FOR UPDATE; END $$;

-- jobs_in_order(jobs): returns the jobs in the order of their ids in the array, with n, their position from 1. STABLE
-- and without a search_path, so that it is inlined into the calling query. LATERAL and OFFSET make the planner look up
-- each job by its id. The queue's statistics are always stale: after a vacuum of an empty queue the planner expects one
-- row, and would read the whole index for each job.
CREATE OR REPLACE FUNCTION pgaudit.jobs_in_order(jobs bigint[])
RETURNS TABLE (n bigint, id bigint, event jsonb, leaf_hash bytea, event_bytes integer)
LANGUAGE sql STABLE AS $$
    SELECT n, id, event, leaf_hash, event_bytes
      FROM unnest(jobs) WITH ORDINALITY AS taken (id, n),
           LATERAL (SELECT event, leaf_hash, event_bytes FROM pgaudit.audit_jobs job WHERE job.id = taken.id OFFSET 0) job
$$;

-- tampered_jobs(jobs): returns a failure for each job whose event was changed in the queue: it must not enter the log
-- as if it were genuine. Call it after locking the jobs, so that they cannot change afterwards, and before lock_log():
-- computing the hashes takes a quarter of the time of the append, and can be done while another batch is appended.
CREATE OR REPLACE FUNCTION pgaudit.tampered_jobs(jobs bigint[]) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT jsonb_build_object('job_id', id, 'sqlstate', 'XX001', 'message', job_problem(event, leaf_hash),
                                  'context', 'pgaudit.tampered_jobs')
          FROM jobs_in_order(jobs) WHERE leaf_hash <> leaf_hash(event));
END $$;

-- append_rows(jobs, worker, known): appends the events of the jobs, in the order of the array, or raises and appends
-- none. The caller has checked the hashes and called lock_log().
--   worker  id of the worker; NULL for inline
--   known   whether the log may have their event ids already, with other content: then a row refers to the first one
CREATE OR REPLACE FUNCTION pgaudit.append_rows(jobs bigint[], worker bigint, known boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    last       batch;
    next_index bigint;
    keys       integer;
    persisted  timestamptz := clock_timestamp();
BEGIN
    SELECT * INTO last FROM batch ORDER BY first_index DESC LIMIT 1;
    next_index := coalesce(last.first_index + last.count, 0);
    IF known THEN
        INSERT INTO event_key (event_id, index)
        SELECT (event->>'id')::uuid, next_index + n - 1
          FROM jobs_in_order(jobs)
            ON CONFLICT DO NOTHING;
    ELSE  -- before the log: so a duplicate ends the attempt before rows of the log are written
        INSERT INTO event_key (event_id, index)
        SELECT (event->>'id')::uuid, next_index + n - 1
          FROM jobs_in_order(jobs);
        GET DIAGNOSTICS keys = ROW_COUNT;
        IF keys <> cardinality(jobs) THEN
            RAISE EXCEPTION 'a trigger or rule left rows out of pgaudit.event_key'
                USING ERRCODE = 'triggered_data_change_violation',
                      HINT = 'Drop the trigger or rule: pgaudit health names those that are not pgaudit''s.';
        END IF;
    END IF;
    WITH appended AS (
        INSERT INTO audit_log (index, event_id, occurred_at, recorded_at, persisted_at, action, outcome, actor_type, actor_id,
                               target_type, target_id, tenant, event, leaf_hash, conflicts_with)
        SELECT next_index + n - 1, (event->>'id')::uuid, (event->>'occurred_at')::timestamptz,
               (event->>'recorded_at')::timestamptz, persisted, event->>'action', event->>'outcome',
               event->'actor'->>'type', event->'actor'->>'id', event->'targets'->0->>'type', event->'targets'->0->>'id',
               event->>'tenant', event, leaf_hash,
               CASE WHEN known THEN (SELECT nullif(index, next_index + n - 1) FROM event_key
                                      WHERE event_id = (event->>'id')::uuid) END
          FROM (SELECT n, leaf_hash,  -- #> '{}': decompresses it once, instead of once for each column
                       CASE WHEN event_bytes > 2000 THEN event #> '{}' ELSE event END AS event
                  FROM jobs_in_order(jobs)
                OFFSET 0) job
        RETURNING index, recorded_at,
                  CASE WHEN jsonb_array_length(event->'targets') > 1 THEN event->'targets' END AS targets
    ), further_targets AS (
        INSERT INTO event_target (type, id, index)
        SELECT DISTINCT target->>'type', target->>'id', index
          FROM appended, jsonb_array_elements(targets) WITH ORDINALITY AS given (target, n)
         WHERE targets IS NOT NULL AND n > 1
    ), lag AS (
        SELECT width_bucket(persisted - recorded_at, lag_bucket_bounds()) AS bucket, count(*) AS events,
               min(recorded_at) AS oldest, max(recorded_at) AS newest, sum(persisted - recorded_at) AS total
          FROM appended GROUP BY 1
    ), summary AS (
        SELECT sum(events) AS events, min(oldest) AS oldest, max(newest) AS newest,
               greatest(max(newest), last.recorded_until) AS recorded_until, sum(total) AS lag_total
          FROM lag
    )
    INSERT INTO batch (first_index, count, persisted_at, oldest_recorded, newest_recorded, recorded_until, late, worker_id,
                       lag_buckets, lag_total)
    SELECT next_index, events, persisted, oldest, newest, recorded_until, oldest < recorded_until - late_after(), worker,
           array(SELECT coalesce(last.lag_buckets[bucket + 1], 0) + coalesce(lag.events, 0)
                   FROM generate_series(0, cardinality(lag_bucket_bounds())) bucket LEFT JOIN lag USING (bucket) ORDER BY bucket),
           -- In seconds: intervals would be added with their days in a field of 32 bits.
           make_interval(secs => extract(epoch FROM coalesce(last.lag_total, '0') + lag_total)::double precision)
      FROM summary WHERE events = cardinality(jobs);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a trigger or rule left events out of the audit log'
            USING ERRCODE = 'triggered_data_change_violation',
                  HINT = 'Drop the trigger or rule: pgaudit health names those that are not pgaudit''s.';
    END IF;
    IF known THEN
        INSERT INTO event_conflict (index, event_id, conflicts_with, content_hash, recorded_at)
        SELECT next_index + n - 1, event_id, key.index, content_hash(event), (event->>'recorded_at')::timestamptz
          FROM jobs_in_order(jobs)
          JOIN event_key key ON event_id = (event->>'id')::uuid AND key.index <> next_index + n - 1;
    END IF;
END $$;

-- is_infrastructure(sqlstate): returns whether the event is not to blame for the error: it is one of the connection,
-- transaction, resources, locks, operator intervention or server, or the schema is not migrated. _db_errors in Python
-- has the same list.
CREATE OR REPLACE FUNCTION pgaudit.is_infrastructure(sqlstate text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT left(sqlstate, 2) IN ('08', '25', '40', '42', '53', '55', '57', '58') $$;

-- try_append(jobs, worker, known): calls append_rows, and creates a missing partition.
-- Returns NULL, or the error because of which none was appended: {"sqlstate", "message", "context"}.
-- Raises an infrastructure error.
CREATE OR REPLACE FUNCTION pgaudit.try_append(jobs bigint[], worker bigint, known boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    state   text;
    message text;
    context text;
BEGIN
    IF cardinality(jobs) > 0 THEN
        PERFORM append_rows(jobs, worker, known);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
    IF is_infrastructure(state) THEN
        RAISE;
    ELSIF state = '23514' AND create_partitions((SELECT size FROM log_head) + cardinality(jobs) - 1) > 0 THEN
        RETURN try_append(jobs, worker, known);
    END IF;
    RETURN jsonb_build_object('sqlstate', state, 'message', left(message, 2000), 'context', left(context, 2000));
END $$;

-- append(jobs, worker): appends the events that can be appended. An event whose id the log has already, with the same
-- content, is noted as a sighting; with other content it is appended with a reference to the first. The caller has
-- called lock_log().
-- Returns the failures: {"job_id", "sqlstate", "message", "context"}.
CREATE OR REPLACE FUNCTION pgaudit.append(jobs bigint[], worker bigint) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    failures jsonb[];
    known    bigint[];
BEGIN
    IF try_append(jobs, worker) IS NULL THEN  -- nearly always
        RETURN '{}';
    END IF;
    failures := broken_jobs(jobs);
    jobs := without_failed(jobs, failures);
    known := known_jobs(jobs);
    RETURN failures || append_bisecting(array(SELECT id FROM unnest(jobs) id WHERE id <> ALL (known)), worker)
                    || append_known(known, worker);
END $$;
