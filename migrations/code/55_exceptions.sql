-- When a batch cannot be appended as it is: broken jobs, events that the log knows already, rows that a DBA's rule refuses.

-- broken_jobs(jobs): those that no log could keep: changed in the queue, or put there by hand. All at once: one after the
-- other they would hold up the log. Returns failures.
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
                          FROM jobs_in_order(jobs)) job
         WHERE occurrence > 1 OR EXISTS (SELECT FROM event_key WHERE event_key.event_id = job.event_id) ORDER BY n);
END $$;

-- append_bisecting(jobs, worker, known): splits what cannot be appended together, half by half. Returns failures.
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

-- append_known(jobs, worker): notes the events that the log holds with the same content as seen again, and appends the
-- others, each content once, beside the first event with their id. Returns failures.
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
    RETURN failures || array(  -- a copy fails as its first did
        SELECT failure || jsonb_build_object('job_id', id)
          FROM unnest(jobs, firsts) AS given (id, first)
          JOIN unnest(failures) failure ON (failure->>'job_id')::bigint = first WHERE id <> first);
END $$;

-- note_sightings(jobs): notes which of the events the log holds, with the same content. Returns the jobs of the others.
CREATE OR REPLACE FUNCTION pgaudit.note_sightings(jobs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    indexes bigint[] := logged_indexes(events_of(jobs));
    noted   integer;
BEGIN
    INSERT INTO event_sighting (event_id, index, xid, recorded_by, recorded_at)
    SELECT (event->>'id')::uuid, index, CASE WHEN event->>'xid' ~ '^[0-9]{1,19}$' THEN (event->>'xid')::xid8 END,
           event->>'recorded_by', (event->>'recorded_at')::timestamptz
      FROM jobs_in_order(jobs) JOIN unnest(indexes) WITH ORDINALITY AS found (index, n) USING (n)
     WHERE index IS NOT NULL ORDER BY n;
    GET DIAGNOSTICS noted = ROW_COUNT;
    IF noted <> (SELECT count(index) FROM unnest(indexes) index) THEN
        RAISE EXCEPTION 'a trigger or rule left rows out of pgaudit.event_sighting'
            USING ERRCODE = 'triggered_data_change_violation';
    END IF;
    RETURN array(SELECT id FROM unnest(jobs, indexes) WITH ORDINALITY AS given (id, index, n) WHERE index IS NULL ORDER BY n);
END $$;

-- first_jobs(jobs): for each of the jobs, the first of them whose event has the same id and content.
CREATE OR REPLACE FUNCTION pgaudit.first_jobs(jobs bigint[]) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT array(SELECT jobs[min(n) OVER (PARTITION BY event_id, content_hash)]
                   FROM event_contents(events_of(jobs)) ORDER BY n)
$$;

-- events_of(jobs): the events of the jobs, in their order.
CREATE OR REPLACE FUNCTION pgaudit.events_of(jobs bigint[]) RETURNS jsonb[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT array(SELECT event FROM jobs_in_order(jobs) ORDER BY n)
$$;

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

-- event_contents(events): what makes an event the same as another: its id and the hash of its content, and n, its place
-- from 1. Id and hash are NULL for a job that was inserted by hand without an id: the log has no such event.
CREATE OR REPLACE FUNCTION pgaudit.event_contents(events jsonb[]) RETURNS TABLE (n bigint, event_id uuid, content_hash bytea)
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT n, CASE WHEN is_uuid(event->>'id') THEN (event->>'id')::uuid END,
           CASE WHEN is_uuid(event->>'id') THEN content_hash(event) END
      FROM unnest(events) WITH ORDINALITY AS given (event, n)
$$;

-- logged_indexes(events): for each of the events, the index at which the log holds one with that id and content, or NULL.
-- Of a partition that was dropped, nothing can be compared: then the log does not hold it.
CREATE OR REPLACE FUNCTION pgaudit.logged_indexes(events jsonb[]) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan AS $$  -- a plan for the indexes at hand locks their partitions alone
DECLARE
    candidates bigint[] := -1 || array(  -- an empty list would lock each partition
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

-- without_failed(jobs, failures): the jobs that are not among the failures, in their order.
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
