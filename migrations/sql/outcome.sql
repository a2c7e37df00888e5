-- What becomes of a job that was not persisted: retried, failed, released, reclaimed.

-- The queue never loses what the log does not hold, whoever deletes.
CREATE FUNCTION pgaudit.keep_unlogged_jobs() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$  -- the end of the log is read by its index
DECLARE
    unlogged bigint;
BEGIN
    -- A batch that was just persisted is the end of the log: one scan finds it by hash. Looking each event
    -- up by its key takes three times as long, and is for what was not found: duplicates, and the unlogged.
    PERFORM args->>'leaf_hash' FROM deleted WHERE queue_name = 'audit'
     EXCEPT SELECT encode(leaf_hash, 'hex') FROM audit_log
             WHERE index >= (SELECT size FROM log_head) - (SELECT count(*) FROM deleted);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT d.id INTO unlogged FROM deleted d
     WHERE d.queue_name = 'audit' AND NOT is_logged(d.args->'event') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'job % holds an audit event that is not in the log yet', unlogged
            USING ERRCODE = 'insufficient_privilege', HINT = 'Let a worker persist it, or retry it when it has failed.';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION pgaudit.keep_queued_jobs() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    -- An older snapshot does not see what others have recorded since.
    IF current_setting('transaction_isolation') <> 'read committed'
       OR EXISTS (SELECT FROM procrastinate_jobs WHERE queue_name = 'audit') THEN
        RAISE EXCEPTION 'the queue holds audit events that are not in the log yet'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Let the workers drain it first.';
    END IF;
    DELETE FROM queue_floor;  -- RESTART IDENTITY may follow
    INSERT INTO queue_floor VALUES (0, 0, '0');
    RETURN NULL;
END $$;

-- Nor does an audit job leave the queue by another door: no other queue, no end but the log. (A CHECK would say
-- the same, and cost every INSERT, for it is compiled anew with each statement.)
CREATE FUNCTION pgaudit.refuse_other_end() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'job % holds an audit event: it ends in the log, or stays as failed', OLD.id
        USING ERRCODE = 'insufficient_privilege', HINT = 'Let a worker persist it, or retry it when it has failed.';
END $$;

-- Nor is an event replaced by another one, which the log may hold already: its job would be done, and the event gone.
CREATE FUNCTION pgaudit.refuse_edit() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'job % holds an audit event, which is not to be changed', OLD.id
        USING ERRCODE = 'insufficient_privilege', HINT = 'Record a new event that corrects it.';
END $$;

-- Whether a command names the parent or the child.
DO $$
DECLARE
    jobs regclass;
BEGIN
    FOREACH jobs IN ARRAY '{pgaudit.procrastinate_jobs,pgaudit.audit_jobs}'::regclass[] LOOP
        EXECUTE format('CREATE TRIGGER keep_unlogged_jobs AFTER DELETE ON %s REFERENCING OLD TABLE AS deleted
                        FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.keep_unlogged_jobs()', jobs);
        EXECUTE format('CREATE TRIGGER keep_queued_jobs BEFORE TRUNCATE ON %s
                        FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.keep_queued_jobs()', jobs);
        EXECUTE format($trigger$
            CREATE TRIGGER refuse_other_end BEFORE UPDATE OF status, queue_name, task_name ON %s FOR EACH ROW
            WHEN (OLD.task_name = 'pgaudit.persist' AND (
                  NEW.task_name <> OLD.task_name OR NEW.queue_name <> 'audit'
                  OR NEW.status NOT IN ('todo', 'doing', 'failed')))
            EXECUTE FUNCTION pgaudit.refuse_other_end() $trigger$, jobs);
        EXECUTE format($trigger$
            CREATE TRIGGER refuse_edit BEFORE UPDATE OF args ON %s FOR EACH ROW
            WHEN (OLD.task_name = 'pgaudit.persist' AND NEW.args <> OLD.args)
            EXECUTE FUNCTION pgaudit.refuse_edit() $trigger$, jobs);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER keep_unlogged_jobs, ENABLE ALWAYS TRIGGER keep_queued_jobs,
                        ENABLE ALWAYS TRIGGER refuse_other_end, ENABLE ALWAYS TRIGGER refuse_edit', jobs);
    END LOOP;
END $$;

-- Writes down a failed attempt and what follows from it: a retry in retry_in seconds, or, when that is
-- NULL, the end. A failure that does not count (counted = false) leaves attempts as they are.
-- Does nothing, and says so, when the job has moved on meanwhile.
CREATE FUNCTION pgaudit.settle_failure(job bigint, worker bigint, seen_attempts integer, counted boolean,
                                       retry_in double precision, error_class text, sqlstate text,
                                       message text, traceback text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    settled procrastinate_jobs;
BEGIN
    UPDATE procrastinate_jobs
       SET status = CASE WHEN retry_in IS NULL THEN 'failed' ELSE 'todo' END::procrastinate_job_status,
           attempts = attempts + counted::integer,
           scheduled_at = clock_timestamp() + make_interval(secs => retry_in),
           priority = CASE WHEN retry_in IS NULL THEN priority ELSE least(priority, -1) END,
           worker_id = NULL, abort_requested = false
     WHERE id = job AND attempts = seen_attempts AND (status = 'todo' OR status = 'doing' AND worker_id = worker)
    RETURNING * INTO settled;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO job_error (job_id, event_id, task_name, attempt, error_class, sqlstate, message, traceback)
    VALUES (job, settled.args->'event'->>'id', settled.task_name, seen_attempts + 1, error_class, sqlstate, message, traceback);
    RETURN true;
END $$;

-- Gives a worker's own jobs back: nothing was tried, nothing is counted. They are due at once, and found by their
-- time, for the floor may have risen above them.
CREATE FUNCTION pgaudit.release(jobs bigint[], worker bigint) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH released AS (
        UPDATE procrastinate_jobs
           SET status = 'todo', scheduled_at = clock_timestamp(), worker_id = NULL, abort_requested = false
         WHERE id = ANY (jobs) AND status = 'doing' AND worker_id = worker RETURNING id)
    SELECT coalesce(array_agg(id), '{}') FROM released
$$;

-- The jobs that a worker is said to be running.
CREATE FUNCTION pgaudit.jobs_of(worker bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS
$$ SELECT id FROM procrastinate_jobs WHERE worker_id = worker AND status = 'doing' $$;

-- Runs failed jobs again, from their first attempt; NULL means all. Returns the ids of those that had failed.
CREATE FUNCTION pgaudit.retry_failed(jobs bigint[]) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH retried AS (
        UPDATE procrastinate_jobs
           SET status = 'todo', attempts = 0, priority = -1, scheduled_at = clock_timestamp(), worker_id = NULL
         WHERE status = 'failed' AND (jobs IS NULL OR id = ANY (jobs)) RETURNING id)
    SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM retried
$$;

-- Deletes batches older than that, the oldest first and only so many at a time; how many were deleted. What
-- they append to is not touched: a batch is history of throughput and lag, the events are the log. The last one
-- stays: it says where the log ends. So does a day of them: by their key, who appends under an old snapshot is noticed.
CREATE FUNCTION pgaudit.forget_batches(older interval DEFAULT '30 days', most integer DEFAULT 20000) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH forgotten AS (
        DELETE FROM batch WHERE first_index IN (
            SELECT first_index FROM batch
             WHERE persisted_at < clock_timestamp() - greatest(older, interval '1 day') AND first_index < (SELECT max(first_index) FROM batch)
             ORDER BY persisted_at LIMIT most FOR UPDATE SKIP LOCKED)
        RETURNING 1)
    SELECT count(*) FROM forgotten
$$;

-- A sign of life. A worker whose row was pruned while it lived gets it back.
CREATE FUNCTION pgaudit.beat(worker bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    INSERT INTO procrastinate_workers (id, last_heartbeat) OVERRIDING SYSTEM VALUE VALUES (worker, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET last_heartbeat = excluded.last_heartbeat
$$;

-- Running jobs whose worker is gone or silent for longer than that.
CREATE FUNCTION pgaudit.stalled(after interval) RETURNS TABLE (job_id bigint, worker_id bigint, silent interval)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT j.id, j.worker_id, clock_timestamp() - w.last_heartbeat
      FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
     WHERE j.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < clock_timestamp() - after)
$$;

-- Puts stalled jobs back in the queue, to run alone from now on, or fails them after max_stalls. Of several callers
-- at once each job has one. (No advisory lock: any role could hold it.) Workers that were silent for a day are forgotten.
CREATE FUNCTION pgaudit.reclaim_stalled(after interval, max_stalls integer)
RETURNS TABLE (job_id bigint, worker_id bigint, stalls integer, failed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH stalled AS (
        SELECT j.id, s.worker_id, s.silent, greatest(-1 - j.priority, 0) + 1 AS stalls
          FROM stalled(after) s JOIN procrastinate_jobs j ON j.id = s.job_id AND j.status = 'doing'
           FOR UPDATE OF j SKIP LOCKED
    ), reclaimed AS (
        UPDATE procrastinate_jobs j
           SET status = CASE WHEN stalls > max_stalls THEN 'failed' ELSE 'todo' END::procrastinate_job_status,
               priority = -1 - stalls, scheduled_at = clock_timestamp(), worker_id = NULL, abort_requested = false
          FROM stalled s WHERE j.id = s.id
        RETURNING j.*, s.stalls, s.worker_id AS lost_worker, s.silent
    ), noted AS (
        INSERT INTO job_error (job_id, event_id, task_name, attempt, error_class, message)
        SELECT id, args->'event'->>'id', task_name, attempts + 1, 'JobStalled',
               format('worker %s %s while it ran this job (stall %s of at most %s)', coalesce(lost_worker::text, 'unknown'),
                      coalesce('gave no sign of life for ' || extract(epoch FROM silent)::integer || ' s', 'vanished'),
                      stalls, max_stalls)
          FROM reclaimed
    )
    SELECT id, lost_worker, stalls, status = 'failed' FROM reclaimed;
    DELETE FROM procrastinate_workers WHERE id IN (
        SELECT id FROM procrastinate_workers
         WHERE last_heartbeat < clock_timestamp() - greatest(after, interval '1 day') FOR UPDATE SKIP LOCKED);
END $$;
