-- Taking jobs from the queue. A waiting job is of one of three kinds, and there is one function for each:
--
--   fresh     scheduled_at IS NULL                  batched with other fresh jobs, by id        take_fresh_jobs
--   retry     scheduled_at in the past, stalls = 0  batched with other due retries              take_due_retries
--   isolated  stalls > 0                            its worker vanished; runs alone             fetch_job
--
-- The queue's statistics are always stale, so these functions forbid sequential scans and sorts. Before PostgreSQL 18 a
-- plan with a forbidden node costs 1e10 more; with jit on, Postgres would then compile each call, for half a second.
-- They are in plpgsql, which keeps a plan for the session: LANGUAGE sql plans again in each call.

-- low_watermark(): returns the id at which the scan for fresh jobs begins.
CREATE OR REPLACE FUNCTION pgaudit.low_watermark() RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN (SELECT coalesce(max(w.low_watermark), 0) FROM queue_watermark w);
END $$;

-- fetch_job(worker, skip): marks the next job as the worker's: the one that has been due for longest, otherwise the
-- oldest fresh one.
--   worker  the worker's token
--   skip    number of fresh jobs to leave for the batch that is already running, so that it is not overtaken
-- Returns the job's id and number of attempts; no row if there is no job or no such worker.
CREATE OR REPLACE FUNCTION pgaudit.fetch_job(worker uuid, skip integer DEFAULT 0)
RETURNS TABLE (job_id bigint, attempts integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    holder bigint := worker_id_of(worker);
    next   bigint;
BEGIN
    IF holder IS NULL THEN
        RETURN;
    END IF;
    PERFORM requeue_jobs_of_passed_transactions();
    next := coalesce(find_due_job(), find_fresh_job(skip));
    RETURN QUERY UPDATE audit_jobs j SET status = 'doing', worker_id = holder WHERE j.id = next RETURNING j.id, j.attempts;
END $$;

-- find_due_job(): locks the job that has been due for longest. Returns its id, or NULL.
CREATE OR REPLACE FUNCTION pgaudit.find_due_job() RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN (SELECT id FROM audit_jobs WHERE status = 'todo' AND scheduled_at <= now()
             ORDER BY scheduled_at LIMIT 1 FOR UPDATE SKIP LOCKED);
END $$;

-- find_fresh_job(skip): locks the oldest fresh job behind the first `skip` ones. Returns its id, or NULL.
CREATE OR REPLACE FUNCTION pgaudit.find_fresh_job(skip integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    first bigint := low_watermark();
BEGIN
    IF skip > 0 THEN  -- a separate query, because a locking one would also lock the jobs that it skips
        first := (SELECT id FROM audit_jobs
                   WHERE id >= first AND status = 'todo' AND scheduled_at IS NULL ORDER BY id OFFSET skip LIMIT 1);
    END IF;
    RETURN (SELECT id FROM audit_jobs
             WHERE id >= first AND status = 'todo' AND scheduled_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED);
END $$;

-- take_fresh_jobs(first, max_jobs): locks the oldest fresh jobs, beginning at the id `first`.
-- Returns their ids: at most max_jobs, and at most as many as fit into a batch.
CREATE OR REPLACE FUNCTION pgaudit.take_fresh_jobs(first bigint, max_jobs integer) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT id FROM (
            SELECT id, sum(event_bytes) OVER (ROWS UNBOUNDED PRECEDING) - event_bytes AS bytes_before FROM (
                SELECT id, event_bytes FROM audit_jobs
                 WHERE id >= first AND status = 'todo' AND scheduled_at IS NULL
                 ORDER BY id LIMIT max_jobs FOR UPDATE SKIP LOCKED) locked) weighed
         WHERE bytes_before < max_batch_bytes());
END $$;

-- take_due_retries(max_jobs): locks the retries that are due.
-- Returns their ids: at most max_jobs, and at most as many as fit into a batch.
CREATE OR REPLACE FUNCTION pgaudit.take_due_retries(max_jobs integer) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT id FROM (
            SELECT id, sum(event_bytes) OVER (ROWS UNBOUNDED PRECEDING) - event_bytes AS bytes_before FROM (
                SELECT id, event_bytes FROM audit_jobs
                 WHERE status = 'todo' AND scheduled_at <= now() AND stalls = 0
                 ORDER BY scheduled_at LIMIT max_jobs FOR UPDATE SKIP LOCKED) locked) weighed
         WHERE bytes_before < max_batch_bytes());
END $$;

-- max_batch_bytes(): returns the bytes of event text at which a batch is full. A batch always takes one event, whatever
-- its size.
CREATE OR REPLACE FUNCTION pgaudit.max_batch_bytes() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 16000000 $$;

-- take_batch(worker, first_job, max_jobs): locks the first job and the rest of the batch, which are jobs of its kind.
-- If first_job is NULL, locks the oldest fresh jobs.
-- Returns their ids; none if the worker no longer holds the first job, because another worker has reclaimed it.
CREATE OR REPLACE FUNCTION pgaudit.take_batch(worker bigint, first_job bigint, max_jobs integer) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    job audit_jobs;
BEGIN
    IF first_job IS NULL THEN
        RETURN take_fresh_jobs(low_watermark(), max_jobs);
    END IF;
    SELECT * INTO job FROM audit_jobs WHERE id = first_job AND status = 'doing' AND worker_id = worker FOR UPDATE;
    RETURN CASE
        WHEN NOT FOUND                    THEN '{}'
        WHEN job.stalls > 0               THEN ARRAY[job.id]
        WHEN job.scheduled_at IS NOT NULL THEN job.id || take_due_retries(max_jobs - 1)
        ELSE job.id || take_fresh_jobs(greatest(job.id, low_watermark()), max_jobs - 1)
    END;
END $$;

-- release_jobs(jobs, worker): gives jobs that the worker holds back to the queue, without counting an attempt. They get
-- a scheduled_at, because the watermark may have passed their ids; they are due at once.
-- Returns the ids of those that the worker held.
CREATE OR REPLACE FUNCTION pgaudit.release_jobs(jobs bigint[], worker uuid) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH released AS (
        UPDATE audit_jobs SET status = 'todo', scheduled_at = clock_timestamp(), worker_id = NULL, abort_requested = false
         WHERE id = ANY (jobs) AND status = 'doing' AND worker_id = worker_id_of(worker) RETURNING id)
    SELECT coalesce(array_agg(id), '{}') FROM released
$$;

-- retry_failed(jobs): makes failed jobs due again, with all their attempts; NULL means all failed jobs.
-- Returns the ids of those that had failed.
CREATE OR REPLACE FUNCTION pgaudit.retry_failed(jobs bigint[]) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH retried AS (
        UPDATE audit_jobs SET status = 'todo', attempts = 0, stalls = 0, scheduled_at = clock_timestamp(), worker_id = NULL
         WHERE status = 'failed'
           AND id = ANY (coalesce(jobs, array(SELECT id FROM audit_jobs WHERE status = 'failed')))  -- by index
        RETURNING id)
    SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM retried
$$;

-- acknowledge_job(job, reason): removes a failed job that can never succeed from the queue. Moves its event to
-- acknowledged_jobs, and records an audit event that says who acknowledged it and why.
-- Returns false if there is no failed job with that id.
CREATE OR REPLACE FUNCTION pgaudit.acknowledge_job(job bigint, reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    failed audit_jobs;
    error  job_error;
BEGIN
    IF coalesce(length(reason), 0) NOT BETWEEN 1 AND 2000 OR reason !~ '[^[:space:]]' THEN
        RAISE EXCEPTION 'give a reason of 1 to 2,000 characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO failed FROM audit_jobs WHERE id = job AND status = 'failed' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT * INTO error FROM job_error WHERE job_id = job ORDER BY id DESC LIMIT 1;
    INSERT INTO acknowledged_jobs (job_id, event, leaf_hash, attempts, error_class, error_message, reason, acknowledged_by)
    VALUES (job, failed.event, failed.leaf_hash, failed.attempts, error.error_class, error.message, reason, session_user);
    PERFORM record(jsonb_build_array(jsonb_build_object(
        'id', gen_random_uuid(), 'action', 'audit_job.acknowledged', 'outcome', 'success', 'reason', reason,
        'occurred_at', to_jsonb(clock_timestamp() AT TIME ZONE interval '0') #>> '{}' || 'Z',
        'actor', jsonb_build_object('type', 'db_role', 'id', session_user),
        'targets', jsonb_build_array(jsonb_build_object('type', 'audit_job', 'id', job::text)),
        'data', jsonb_build_object('event_id', left(failed.event->>'id', 100), 'leaf_hash', encode(failed.leaf_hash, 'hex'),
                                   'error_class', error.error_class),
        'schema_version', 1)));
    DELETE FROM audit_jobs WHERE id = job;
    RETURN true;
END $$;

-- count_jobs(): returns the number of jobs in the queue. Exact up to 10,000 jobs; jobs behind the first 10,000 are counted
-- by the ids issued since, which include those of transactions that were rolled back.
CREATE OR REPLACE FUNCTION pgaudit.count_jobs() RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    counted bigint;
    newest  bigint;  -- highest id of the jobs that were counted
BEGIN
    SELECT count(*), coalesce(max(id), 0) INTO counted, newest
      FROM (SELECT id FROM audit_jobs ORDER BY id LIMIT 10000) oldest;
    RETURN counted + coalesce((SELECT id FROM audit_jobs ORDER BY id DESC LIMIT 1) - newest, 0);
END $$;

-- queue_state(): returns the numbers of jobs that are not fresh, and when the oldest job was recorded.
--   not_fresh                     number of jobs that are not fresh, from a partial index of exactly these
--   due, delayed, active, failed  number of them in each state
--   oldest_recorded               when the oldest job that has not failed was recorded; NULL if there is no such job
CREATE OR REPLACE FUNCTION pgaudit.queue_state(
    OUT not_fresh bigint, OUT due bigint, OUT delayed bigint, OUT active bigint, OUT failed bigint,
    OUT oldest_recorded timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    oldest bigint;
BEGIN
    SELECT count(*),
           count(*) FILTER (WHERE status = 'todo' AND scheduled_at <= clock_timestamp()),
           count(*) FILTER (WHERE status = 'todo' AND scheduled_at > clock_timestamp()),
           count(*) FILTER (WHERE status = 'doing'),
           count(*) FILTER (WHERE status = 'failed'),
           min(id) FILTER (WHERE status <> 'failed')
      INTO not_fresh, due, delayed, active, failed, oldest
      FROM audit_jobs WHERE status <> 'todo' OR scheduled_at IS NOT NULL;
    oldest := least(oldest, (SELECT id FROM audit_jobs
                              WHERE id >= low_watermark() AND status = 'todo' AND scheduled_at IS NULL
                              ORDER BY id LIMIT 1));
    -- Ids are issued in the order of recording.
    oldest_recorded := (SELECT try_timestamptz(event->>'recorded_at') FROM audit_jobs WHERE id = oldest);
END $$;
