-- A batch that cannot be appended as a whole: it has broken jobs, events that the log has already, or rows that a
-- constraint or trigger of a DBA rejects.

-- broken_jobs(jobs): returns a failure for each job that can never be appended: changed in the queue, or inserted by
-- hand with an invalid event. Finds all of them in one query, because bisecting would keep the log locked for longer.
CREATE OR REPLACE FUNCTION pgaudit.broken_jobs(jobs bigint[]) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT jsonb_build_object('job_id', id, 'message', problem, 'context', 'pgaudit.broken_jobs', 'sqlstate',
                                  CASE WHEN leaf_hash <> leaf_hash(event) THEN 'XX001' ELSE 'PA001' END)
          FROM (SELECT id, event, leaf_hash, n, job_problem(event, leaf_hash) AS problem
                  FROM jobs_in_order(jobs)) job
         WHERE problem IS NOT NULL ORDER BY n);
END $$;

-- job_problem(event, hash): returns why the event of a job can never be appended; NULL if it can.
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

-- known_jobs(jobs): returns the jobs whose event id is in the log already, or in an earlier one of the jobs.
CREATE OR REPLACE FUNCTION pgaudit.known_jobs(jobs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT id FROM (SELECT id, n, (event->>'id')::uuid AS event_id,
                               row_number() OVER (PARTITION BY event->>'id' ORDER BY n) AS occurrence
                          FROM jobs_in_order(jobs)) job
         WHERE occurrence > 1 OR EXISTS (SELECT FROM event_key WHERE event_key.event_id = job.event_id) ORDER BY n);
END $$;

-- append_bisecting(jobs, worker, known): appends the jobs together; if that fails, each half by itself.
-- Returns the failures.
CREATE OR REPLACE FUNCTION pgaudit.append_bisecting(jobs bigint[], worker bigint, known boolean DEFAULT false) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    error jsonb   := try_append(jobs, worker, known);
    half  integer := cardinality(jobs) / 2;
BEGIN
    RETURN CASE WHEN error IS NULL THEN '{}'
                WHEN half = 0      THEN ARRAY[as_failure(jobs[1], error)]
                ELSE append_bisecting(jobs[:half], worker, known) || append_bisecting(jobs[half + 1:], worker, known) END;
END $$;

-- append_known(jobs, worker): for events whose id is not new. Notes those that the log has with the same content as
-- sightings, and appends the others, each content once, with a reference to the first event with their id.
-- Returns the failures.
CREATE OR REPLACE FUNCTION pgaudit.append_known(jobs bigint[], worker bigint) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    firsts   bigint[];
    failures jsonb[];
BEGIN
    jobs := note_sightings(jobs);
    firsts := first_jobs(jobs);
    failures := append_bisecting(array(SELECT id FROM unnest(jobs, firsts) AS given (id, first) WHERE id = first), worker, true);
    PERFORM note_sightings(array(SELECT id FROM unnest(jobs, firsts) AS given (id, first) WHERE id <> first));
    RETURN failures || array(  -- a copy fails if the first job with its content did
        SELECT failure || jsonb_build_object('job_id', id)
          FROM unnest(jobs, firsts) AS given (id, first)
          JOIN unnest(failures) failure ON (failure->>'job_id')::bigint = first WHERE id <> first);
END $$;

-- note_sightings(jobs): notes a sighting for each event that the log has with the same content. Returns the other jobs.
CREATE OR REPLACE FUNCTION pgaudit.note_sightings(jobs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    indexes bigint[] := logged_indexes(events_of(jobs));
    noted   integer;
BEGIN
    INSERT INTO event_sighting (event_id, index, xid, recorded_by, recorded_at, leaf_hash)
    SELECT (event->>'id')::uuid, index, CASE WHEN event->>'xid' ~ '^[0-9]{1,19}$' THEN (event->>'xid')::xid8 END,
           event->>'recorded_by', (event->>'recorded_at')::timestamptz, leaf_hash
      FROM jobs_in_order(jobs) JOIN unnest(indexes) WITH ORDINALITY AS found (index, n) USING (n)
     WHERE index IS NOT NULL ORDER BY n;
    GET DIAGNOSTICS noted = ROW_COUNT;
    IF noted <> (SELECT count(index) FROM unnest(indexes) index) THEN
        RAISE EXCEPTION 'a trigger or rule left rows out of pgaudit.event_sighting'
            USING ERRCODE = 'triggered_data_change_violation',
                  HINT = 'Drop the trigger or rule: pgaudit health names those that are not pgaudit''s.';
    END IF;
    RETURN array(SELECT id FROM unnest(jobs, indexes) WITH ORDINALITY AS given (id, index, n) WHERE index IS NULL ORDER BY n);
END $$;

-- first_jobs(jobs): returns, for each job, the first of the jobs whose event has the same id and content.
CREATE OR REPLACE FUNCTION pgaudit.first_jobs(jobs bigint[]) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT array(SELECT jobs[min(n) OVER (PARTITION BY event_id, content_hash)]
                   FROM event_contents(events_of(jobs)) ORDER BY n)
$$;

-- events_of(jobs): returns the events of the jobs, in the order of the array.
CREATE OR REPLACE FUNCTION pgaudit.events_of(jobs bigint[]) RETURNS jsonb[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT array(SELECT event FROM jobs_in_order(jobs) ORDER BY n)
$$;

-- as_failure(job, error): returns the failure of a job, from the error that try_append returned.
--   40001  the caller's snapshot (inline, in REPEATABLE READ) does not show an index or event id that the log has
CREATE OR REPLACE FUNCTION pgaudit.as_failure(job bigint, error jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF error->>'sqlstate' = '23505' AND current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'could not serialize access: the audit log has grown since this transaction began'
            USING ERRCODE = 'serialization_failure', HINT = 'Retry the transaction.';
    END IF;
    RETURN error || jsonb_build_object('job_id', job);
END $$;

-- event_contents(events): returns the id and the content hash of each event, by which two events are the same, and n,
-- its position from 1. Both are NULL for a job that was inserted by hand without a valid id: the log has no such event.
CREATE OR REPLACE FUNCTION pgaudit.event_contents(events jsonb[]) RETURNS TABLE (n bigint, event_id uuid, content_hash bytea)
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT n, CASE WHEN is_uuid(event->>'id') THEN (event->>'id')::uuid END,
           CASE WHEN is_uuid(event->>'id') THEN content_hash(event) END
      FROM unnest(events) WITH ORDINALITY AS given (event, n)
$$;

-- logged_indexes(events): returns, for each event, the index of the event in the log with the same id and content.
-- NULL if there is none, or if its partition was dropped, because then the content cannot be compared.
CREATE OR REPLACE FUNCTION pgaudit.logged_indexes(events jsonb[]) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan AS $$  -- a plan for these indexes locks only their partitions
DECLARE
    candidates bigint[] := -1 || array(  -- -1, because an empty list would lock all partitions
        SELECT index FROM event_key WHERE event_id = ANY (array(SELECT e.event_id FROM event_contents(events) e)));
BEGIN
    RETURN array(
        SELECT coalesce(logged.index, (SELECT min(index) FROM event_conflict c
                                        WHERE c.event_id = given.event_id AND c.content_hash = given.content_hash))
          FROM event_contents(events) given
          LEFT JOIN (SELECT index, event_id, content_hash(event) FROM audit_log WHERE index = ANY (candidates)) logged
               USING (event_id, content_hash)
         ORDER BY n);
END $$;

-- without_failed(jobs, failures): returns the jobs that are not among the failures, in the order of the array.
CREATE OR REPLACE FUNCTION pgaudit.without_failed(jobs bigint[], failures jsonb[]) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF cardinality(failures) = 0 THEN
        RETURN jobs;
    END IF;
    RETURN array(
        SELECT id FROM unnest(jobs) WITH ORDINALITY AS taken (id, n)
         WHERE id <> ALL (array(SELECT (failure->>'job_id')::bigint FROM unnest(failures) failure)) ORDER BY n);
END $$;
