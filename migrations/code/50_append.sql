-- The audit log's end: jobs become rows, and those that cannot are told apart from the others.

-- lock_log(): waits until nobody else appends, and keeps others from it until the transaction ends: index order is
-- commit order.
CREATE OR REPLACE FUNCTION pgaudit.lock_log() RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$ BEGIN PERFORM FROM log_lock FOR UPDATE; END $$;

-- tampered_jobs(jobs): those whose event was changed in the queue: it must not enter the log looking genuine. The caller
-- holds the jobs, so nobody changes them afterwards, and does not hold the lock of the log yet: hashes take as long as a
-- quarter of the append, and are computed while another batch is appended. Returns failures.
CREATE OR REPLACE FUNCTION pgaudit.tampered_jobs(jobs bigint[]) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN array(
        SELECT jsonb_build_object('job_id', id, 'sqlstate', 'XX001', 'message', job_problem(event, leaf_hash),
                                  'context', 'pgaudit.tampered_jobs')
          FROM unnest(jobs) id JOIN audit_jobs USING (id) WHERE leaf_hash <> leaf_hash(event));
END $$;

-- append_rows(jobs, worker, conflicting_index): appends the events of the jobs, in that order, or raises and appends none.
-- The caller has checked the hashes and holds the lock of the log.
--   worker             id of the worker; NULL for inline
--   conflicting_index  of a single job: the index that its event's id has already, with other content
CREATE OR REPLACE FUNCTION pgaudit.append_rows(jobs bigint[], worker bigint, conflicting_index bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    last       batch;
    next_index bigint;
    persisted  timestamptz := clock_timestamp();
BEGIN
    SELECT * INTO last FROM batch ORDER BY first_index DESC LIMIT 1;
    next_index := coalesce(last.first_index + last.count, 0);
    IF conflicting_index IS NULL THEN  -- first: a duplicate ends the attempt before rows of the log are written
        INSERT INTO event_key (event_id, index)
        SELECT (event->>'id')::uuid, next_index + n - 1
          FROM unnest(jobs) WITH ORDINALITY AS taken (id, n) JOIN audit_jobs USING (id);
    END IF;
    WITH appended AS (
        INSERT INTO audit_log (index, event_id, occurred_at, recorded_at, persisted_at, action, outcome, actor_type, actor_id,
                               target_type, target_id, tenant, event, leaf_hash, conflicts_with)
        SELECT next_index + n - 1, (event->>'id')::uuid, (event->>'occurred_at')::timestamptz,
               (event->>'recorded_at')::timestamptz, persisted, event->>'action', event->>'outcome',
               event->'actor'->>'type', event->'actor'->>'id', event->'targets'->0->>'type', event->'targets'->0->>'id',
               event->>'tenant', event, leaf_hash, conflicting_index
          FROM (SELECT n, leaf_hash,  -- #> '{}': decompressed once, not for each column
                       CASE WHEN event_bytes > 2000 THEN event #> '{}' ELSE event END AS event
                  FROM unnest(jobs) WITH ORDINALITY AS taken (id, n) JOIN audit_jobs USING (id)
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
           -- In seconds: an interval counts whole days apart, and has no room for more than two thousand million.
           make_interval(secs => extract(epoch FROM coalesce(last.lag_total, '0') + lag_total)::double precision)
      FROM summary WHERE events = cardinality(jobs);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a trigger or rule left events out of the log'
            USING ERRCODE = 'triggered_data_change_violation';
    END IF;
    IF conflicting_index IS NOT NULL THEN
        INSERT INTO event_conflict (index, event_id, conflicts_with, content_hash, recorded_at)
        SELECT next_index, (event->>'id')::uuid, conflicting_index, leaf_hash(comparable_content(event)),
               (event->>'recorded_at')::timestamptz
          FROM audit_jobs WHERE id = jobs[1];
    END IF;
END $$;

-- is_infrastructure(sqlstate): a connection, transaction, resource, lock, operator or server error, or a database that is
-- not migrated: the event is not to blame. _db_errors in Python has the same list.
CREATE OR REPLACE FUNCTION pgaudit.is_infrastructure(sqlstate text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT left(sqlstate, 2) IN ('08', '25', '40', '42', '53', '55', '57', '58') $$;

-- try_append(jobs, worker, conflicting_index): append_rows, with a partition made for them where none is.
-- Returns NULL, or the error that kept all of them out: {"sqlstate", "message", "context"}.
-- Raises an error of the infrastructure.
CREATE OR REPLACE FUNCTION pgaudit.try_append(jobs bigint[], worker bigint, conflicting_index bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    state   text;
    message text;
    context text;
BEGIN
    IF cardinality(jobs) > 0 THEN
        PERFORM append_rows(jobs, worker, conflicting_index);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
    IF is_infrastructure(state) THEN
        RAISE;
    ELSIF state = '23514' AND create_partitions((SELECT size FROM log_head) + cardinality(jobs) - 1) > 0 THEN
        RETURN try_append(jobs, worker, conflicting_index);
    END IF;
    RETURN jsonb_build_object('sqlstate', state, 'message', left(message, 2000), 'context', left(context, 2000));
END $$;

-- append(jobs, worker): appends what can be appended. An event that the log holds already, with the same content, is
-- noted as seen; with other content it is appended with a reference to the first. The caller holds the lock of the log.
-- Returns the failures: {"job_id", "sqlstate", "message", "context"}.
CREATE OR REPLACE FUNCTION pgaudit.append(jobs bigint[], worker bigint) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    failures jsonb[];
    known    bigint[];
    job      bigint;
BEGIN
    IF try_append(jobs, worker) IS NULL THEN  -- nearly always
        RETURN '{}';
    END IF;
    failures := broken_jobs(jobs);
    jobs := without_failed(jobs, failures);
    known := known_jobs(jobs);
    failures := failures || append_bisecting(array(SELECT id FROM unnest(jobs) id WHERE id <> ALL (known)), worker);
    FOREACH job IN ARRAY known LOOP
        failures := failures || append_known(job, worker);
    END LOOP;
    RETURN failures;
END $$;

-- broken_jobs(jobs): those that no log could keep: changed in the queue, or put there by hand. All at once: one after the
-- other they would hold up the log. Returns failures.
CREATE OR REPLACE FUNCTION pgaudit.broken_jobs(jobs bigint[]) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT jsonb_build_object('job_id', id, 'message', problem, 'context', 'pgaudit.broken_jobs', 'sqlstate',
                                  CASE WHEN leaf_hash <> leaf_hash(event) THEN 'XX001' ELSE 'PA001' END)
          FROM (SELECT id, event, leaf_hash, n, job_problem(event, leaf_hash) AS problem
                  FROM unnest(jobs) WITH ORDINALITY AS taken (id, n) JOIN audit_jobs USING (id)) job
         WHERE problem IS NOT NULL ORDER BY n);
END $$;

-- job_problem(event, hash): why the event of a job cannot be appended; NULL if it can.
CREATE OR REPLACE FUNCTION pgaudit.job_problem(event jsonb, hash bytea) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF hash <> leaf_hash(event) THEN
        RETURN format('event %s was changed in the queue: its text no longer matches its leaf hash', left(event->>'id', 100));
    END IF;
    PERFORM check_event(event), (event->>'recorded_at')::timestamptz;
    RETURN CASE WHEN event->>'recorded_at' IS NULL THEN 'invalid audit event: it has no recorded_at' END;
EXCEPTION WHEN OTHERS THEN
    RETURN left(SQLERRM, 2000);
END $$;

-- known_jobs(jobs): those whose event id the log holds already, or an earlier one of the jobs has.
CREATE OR REPLACE FUNCTION pgaudit.known_jobs(jobs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT id FROM (SELECT id, n, (event->>'id')::uuid AS event_id,
                               row_number() OVER (PARTITION BY event->>'id' ORDER BY n) AS occurrence
                          FROM unnest(jobs) WITH ORDINALITY AS taken (id, n) JOIN audit_jobs USING (id)) job
         WHERE occurrence > 1 OR EXISTS (SELECT FROM event_key WHERE event_key.event_id = job.event_id) ORDER BY n);
END $$;

-- append_bisecting(jobs, worker): splits what cannot be appended together, half by half. Returns failures.
CREATE OR REPLACE FUNCTION pgaudit.append_bisecting(jobs bigint[], worker bigint) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    error jsonb   := try_append(jobs, worker);
    half  integer := cardinality(jobs) / 2;
BEGIN
    RETURN CASE WHEN error IS NULL THEN '{}'
                WHEN half = 0      THEN ARRAY[as_failure(jobs[1], error)]
                ELSE append_bisecting(jobs[:half], worker) || append_bisecting(jobs[half + 1:], worker) END;
END $$;

-- append_known(job, worker): notes that an event was seen again, or appends it beside the one with other content.
-- Returns failures.
CREATE OR REPLACE FUNCTION pgaudit.append_known(job bigint, worker bigint) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    given jsonb  := (SELECT event FROM audit_jobs WHERE id = job);
    same  bigint := logged_index(given);
    error jsonb;
BEGIN
    IF same IS NOT NULL THEN
        INSERT INTO event_sighting (event_id, index, xid, recorded_by, recorded_at)
        VALUES ((given->>'id')::uuid, same, CASE WHEN given->>'xid' ~ '^[0-9]{1,19}$' THEN (given->>'xid')::xid8 END,
                given->>'recorded_by', (given->>'recorded_at')::timestamptz);
        RETURN '{}';
    END IF;
    -- Its first one may have failed a moment ago: then this one is the first.
    error := try_append(ARRAY[job], worker, (SELECT index FROM event_key WHERE event_id = (given->>'id')::uuid));
    RETURN CASE WHEN error IS NULL THEN '{}' ELSE ARRAY[as_failure(job, error)] END;
END $$;

-- as_failure(job, error): the failure of a job, from the error that try_append returned. Raises where the caller's snapshot
-- is older than the log (inline, in REPEATABLE READ): it met an index or an event id that it does not see.
CREATE OR REPLACE FUNCTION pgaudit.as_failure(job bigint, error jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF error->>'sqlstate' = '23505' AND current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'could not serialize access: the audit log has grown since this transaction began'
            USING ERRCODE = 'serialization_failure', HINT = 'Try the transaction again.';
    END IF;
    RETURN error || jsonb_build_object('job_id', job);
END $$;

-- logged_index(sought): where the log holds an event with that id and content; NULL if it does not. Of a partition that was
-- dropped, nothing can be compared: then it does not.
CREATE OR REPLACE FUNCTION pgaudit.logged_index(sought jsonb) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan AS $$  -- a plan for the index at hand locks its partition alone
DECLARE
    candidate bigint;
BEGIN
    IF coalesce(sought->>'id', '') !~ '^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$' THEN
        RETURN NULL;  -- of a job that was inserted by hand; the log has no such id
    END IF;
    SELECT index INTO candidate FROM event_key WHERE event_id = (sought->>'id')::uuid;
    PERFORM FROM audit_log WHERE index = candidate AND comparable_content(event) = comparable_content(sought);
    IF FOUND THEN
        RETURN candidate;
    END IF;
    -- By hash: a writer may record one id with any number of contents, while the log is locked.
    RETURN (SELECT min(index) FROM event_conflict
             WHERE event_id = (sought->>'id')::uuid AND content_hash = leaf_hash(comparable_content(sought)));
END $$;

-- without_failed(jobs, failures): the jobs that are not among the failures, in their order.
CREATE OR REPLACE FUNCTION pgaudit.without_failed(jobs bigint[], failures jsonb[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN cardinality(failures) = 0 THEN jobs ELSE array(
        SELECT id FROM unnest(jobs) WITH ORDINALITY AS taken (id, n)
         WHERE id <> ALL (array(SELECT (failure->>'job_id')::bigint FROM unnest(failures) failure)) ORDER BY n) END
$$;

-- lag_bucket_bounds(): upper ends of the buckets that lags are counted in.
CREATE OR REPLACE FUNCTION pgaudit.lag_bucket_bounds() RETURNS interval[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT '{5ms,10ms,25ms,50ms,100ms,250ms,500ms,1s,2.5s,5s,10s,30s,60s,300s}'::interval[] $$;
