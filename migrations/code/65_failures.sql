-- Failures: records failed attempts and schedules retries.

-- record_failures(failures, max_attempts, retry_delay, max_retry_delay): records failed attempts and schedules the
-- retries, in one statement.
--   max_attempts     attempts, the first one included, before a job ends as failed
--   retry_delay      delay before the second attempt; doubled before each further one, up to max_retry_delay
-- NULL means the default: persist and record_inline have no defaults of their own.
-- Returns the failures with "event_id", "attempt", "error_class", and "retry_in" in seconds: null if the job has failed.
CREATE OR REPLACE FUNCTION pgaudit.record_failures(
    failures jsonb[], max_attempts integer DEFAULT NULL, retry_delay interval DEFAULT NULL,
    max_retry_delay interval DEFAULT NULL) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    recorded jsonb[];
BEGIN
    IF cardinality(failures) = 0 THEN
        RETURN failures;
    END IF;
    max_attempts := coalesce(max_attempts, 3);
    retry_delay := coalesce(retry_delay, '2 s');
    max_retry_delay := coalesce(max_retry_delay, '300 s');
    WITH failed AS (
        SELECT failure, (failure->>'job_id')::bigint AS job_id FROM unnest(failures) failure
    ), updated AS (
        UPDATE audit_jobs j
           SET status = CASE WHEN attempts + 1 < max_attempts THEN 'todo' ELSE 'failed' END::procrastinate_job_status,
               attempts = attempts + 1,
               scheduled_at = clock_timestamp() + retry_after(attempts + 1, max_attempts, retry_delay, max_retry_delay),
               worker_id = NULL, abort_requested = false
          FROM failed WHERE j.id = failed.job_id AND j.id = ANY (array(SELECT job_id FROM failed))  -- by index
        RETURNING j.id, j.attempts, j.task_name, j.scheduled_at, left(j.event->>'id', 100) AS event_id, failure
    ), noted AS (
        INSERT INTO job_error (job_id, event_id, task_name, attempt, error_class, sqlstate, message, traceback)
        SELECT id, event_id, task_name, attempts, error_class_of(failure->>'sqlstate'), failure->>'sqlstate',
               left(failure->>'message', 2000), left(failure->>'context', 2000)
          FROM updated
    )
    SELECT array_agg(failure || jsonb_build_object('event_id', event_id, 'attempt', attempts, 'error_class',
               error_class_of(failure->>'sqlstate'), 'retry_in', CASE WHEN scheduled_at IS NOT NULL THEN
               greatest(extract(epoch FROM scheduled_at - clock_timestamp()), 0) END) ORDER BY id)
      INTO recorded FROM updated;
    RETURN coalesce(recorded, '{}');
END $$;

-- retry_after(attempts, max_attempts, retry_delay, max_retry_delay): returns the delay before the next attempt, after
-- that many failed ones, with 20 % jitter, so that jobs that failed together are not retried together; at most a day.
-- Returns NULL after the last attempt.
CREATE OR REPLACE FUNCTION pgaudit.retry_after(attempts integer, max_attempts integer, retry_delay interval,
                                               max_retry_delay interval) RETURNS interval
LANGUAGE sql VOLATILE AS $$
    SELECT least(greatest(least(least(retry_delay, '1 day') * 2.0 ^ least(attempts - 1, 30), max_retry_delay), '0')
                 * (0.8 + 0.4 * random()), interval '24 hours')
     WHERE attempts < max_attempts
$$;

-- error_class_of(sqlstate): returns the name that psycopg gives the error.
CREATE OR REPLACE FUNCTION pgaudit.error_class_of(sqlstate text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce((SELECT name FROM (VALUES
        ('22007', 'InvalidDatetimeFormat'), ('22008', 'DatetimeFieldOverflow'), ('22P02', 'InvalidTextRepresentation'),
        ('23502', 'NotNullViolation'), ('23503', 'ForeignKeyViolation'), ('23505', 'UniqueViolation'),
        ('23514', 'CheckViolation'), ('23P01', 'ExclusionViolation'), ('27000', 'TriggeredDataChangeViolation'),
        ('54000', 'ProgramLimitExceeded'), ('P0001', 'RaiseException'), ('PA001', 'InvalidEvent'),
        ('XX001', 'DataCorrupted')) AS known (state, name) WHERE state = sqlstate), 'DatabaseError')
$$;

-- record_failure(...): records that a worker's attempt at a job that it holds has failed.
--   seen_attempts  number of failed attempts when the worker fetched the job
--   counted        whether it counts as an attempt; false for an infrastructure error
--   retry_in       seconds until the next attempt, at most a day; NULL ends the job as failed
-- Returns false, and changes nothing, if the worker no longer holds the job.
CREATE OR REPLACE FUNCTION pgaudit.record_failure(job bigint, worker uuid, seen_attempts integer, counted boolean,
                                                  retry_in double precision, error_class text, sqlstate text,
                                                  message text, traceback text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    failed audit_jobs;
BEGIN
    UPDATE audit_jobs
       SET status = CASE WHEN retry_in IS NULL THEN 'failed' ELSE 'todo' END::procrastinate_job_status,
           attempts = attempts + counted::integer,
           scheduled_at = clock_timestamp() + make_interval(secs => least(greatest(retry_in, 0), 86400)),
           worker_id = NULL, abort_requested = false
     WHERE id = job AND attempts = seen_attempts AND status = 'doing' AND worker_id = worker_id_of(worker)
    RETURNING * INTO failed;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO job_error (job_id, event_id, task_name, attempt, error_class, sqlstate, message, traceback)
    VALUES (job, left(failed.event->>'id', 100), failed.task_name, seen_attempts + 1, left(error_class, 200),
            left(sqlstate, 5), left(message, 2000), right(traceback, 2000));  -- the end of a traceback names the error
    RETURN true;
END $$;

-- prune_job_errors(max_rows): deletes errors older than settings.job_error_retention of jobs that have left the queue,
-- the oldest first. Returns how many.
CREATE OR REPLACE FUNCTION pgaudit.prune_job_errors(max_rows integer DEFAULT 20000) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH pruned AS (
        DELETE FROM job_error WHERE id IN (
            SELECT e.id FROM job_error e
             WHERE failed_at < clock_timestamp() - (SELECT job_error_retention FROM settings)
               AND NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.id = e.job_id)
             ORDER BY failed_at LIMIT max_rows FOR UPDATE SKIP LOCKED)
        RETURNING 1)
    SELECT count(*) FROM pruned
$$;
