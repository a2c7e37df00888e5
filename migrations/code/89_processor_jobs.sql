-- The jobs of processors. A worker takes one, and says how it ended; whoever calls with the token of another worker, or
-- for a job that was taken from it meanwhile, changes nothing.

-- fetch_processor_jobs(worker, names, running, most): marks jobs as the worker's. Processors get their turns by chance, and
-- each its share, so that none keeps the others waiting; of one, those come first that have been due for longest.
--   names    the processors that the worker knows
--   running  all jobs that it runs: others that it holds are given back, because it has not heard of them
--   most     number of jobs that it can run now
-- As for the audit queue, statistics are stale: the indexes are named by forbidding other plans.
CREATE OR REPLACE FUNCTION pgaudit.fetch_processor_jobs(worker uuid, names text[], running bigint[], most integer)
RETURNS TABLE (job_id bigint, processor text, index bigint, attempts integer, unchecked boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    holder     bigint := worker_id_of(worker);
    candidates text[];
    candidate  text;
    taken      bigint[] := '{}';
BEGIN
    IF holder IS NULL THEN
        RETURN;
    END IF;
    PERFORM release_processor_jobs(array(
        SELECT j.id FROM processor_jobs j WHERE j.status = 'doing' AND j.worker_id = holder AND j.id <> ALL (running)), worker);
    candidates := array(SELECT p.name FROM processor p JOIN stream s USING (name)
                         WHERE p.name = ANY (names) AND p.next_at <= clock_timestamp()
                           AND (s.paused_at IS NULL OR s.pause_kind = 'failing' AND p.probe_at <= clock_timestamp())
                           AND find_due_processor_job(p.name) ORDER BY random() LIMIT most);
    -- Rows of processors are locked in the order of their names, as where jobs are counted: so there is no deadlock.
    candidates := array(SELECT n FROM unnest(candidates) n ORDER BY n COLLATE "C");
    FOREACH candidate IN ARRAY candidates LOOP
        EXIT WHEN cardinality(taken) >= most;
        taken := taken || take_processor_jobs(candidate, greatest(most / cardinality(candidates), 1));
    END LOOP;
    RETURN QUERY
        UPDATE processor_jobs j SET status = 'doing', worker_id = holder, started_at = clock_timestamp()
         WHERE j.id = ANY (taken)
        RETURNING j.id, j.task_name::text, j.index, j.attempts, coalesce((j.args->>'unchecked')::boolean, false);
END $$;

-- find_due_processor_job(name): returns whether a job of the processor is due.
CREATE OR REPLACE FUNCTION pgaudit.find_due_processor_job(name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET enable_sort = off AS $$
DECLARE
    due timestamptz := clock_timestamp();  -- a condition for the index, which a volatile function is not
BEGIN
    PERFORM FROM processor_jobs j WHERE j.task_name = name AND j.status = 'todo' AND j.scheduled_at <= due
      ORDER BY j.scheduled_at, j.id LIMIT 1;
    RETURN FOUND;
END $$;

-- take_processor_jobs(name, most): locks jobs of a processor, those that have been due for longest, as many as its limits
-- allow to run now. A processor that is paused as failing may try one each minute. Returns their ids.
CREATE OR REPLACE FUNCTION pgaudit.take_processor_jobs(name text, most integer) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    at       processor;
    is_probe boolean := (SELECT paused_at IS NOT NULL FROM stream s WHERE s.name = take_processor_jobs.name);
    saved    timestamptz;  -- since when what the rate allows was not used: for a second at most
    due      timestamptz;
    taken    bigint[];
BEGIN
    SELECT * INTO at FROM processor p WHERE p.name = take_processor_jobs.name;
    IF at.concurrency IS NOT NULL OR at.rate IS NOT NULL OR is_probe THEN
        -- Of two workers, the second one waits here, and then sees what the first has taken.
        SELECT * INTO at FROM processor p WHERE p.name = take_processor_jobs.name FOR UPDATE;
        IF is_probe THEN
            most := CASE WHEN at.probe_at <= clock_timestamp() THEN 1 ELSE 0 END;
        END IF;
        IF at.concurrency IS NOT NULL THEN
            most := least(most, at.concurrency - (SELECT count(*) FROM processor_jobs j
                                                   WHERE j.task_name = at.name AND j.status = 'doing'));
        END IF;
        IF at.rate IS NOT NULL THEN
            saved := greatest(at.next_at, clock_timestamp() - make_interval(secs => greatest(1 - 1 / at.rate, 0)));
            most := least(most, floor(extract(epoch FROM clock_timestamp() - saved) * at.rate + 1));
        END IF;
    END IF;
    due := clock_timestamp();
    IF is_probe AND most > 0 THEN  -- one that has not failed before says most about the processor
        taken := array(SELECT j.id FROM processor_jobs j
                        WHERE j.task_name = at.name AND j.status = 'todo' AND j.scheduled_at <= due
                        ORDER BY EXISTS (SELECT FROM job_error e WHERE e.job_id = j.id), j.scheduled_at, j.id
                        LIMIT 1 FOR UPDATE OF j SKIP LOCKED);
    ELSE
        taken := array(SELECT j.id FROM processor_jobs j
                        WHERE j.task_name = at.name AND j.status = 'todo' AND j.scheduled_at <= due
                        ORDER BY j.scheduled_at, j.id LIMIT greatest(most, 0) FOR UPDATE SKIP LOCKED);
    END IF;
    IF cardinality(taken) > 0 AND (is_probe OR at.rate IS NOT NULL) THEN
        UPDATE processor p
           SET probe_at = CASE WHEN is_probe THEN clock_timestamp() + interval '1 minute' ELSE at.probe_at END,
               next_at = CASE WHEN at.rate IS NULL THEN at.next_at
                              ELSE saved + make_interval(secs => least(cardinality(taken) / at.rate, 1e6)) END
         WHERE p.name = at.name;
    END IF;
    RETURN taken;
END $$;

-- count_processed(name, succeeded, discarded): counts jobs that have left the queue. Ends the pause of a processor that
-- was failing.
CREATE OR REPLACE FUNCTION pgaudit.count_processed(name text, succeeded integer, discarded integer) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- Each job of a processor updates this row: it must not stay locked while the disk writes. After a crash of the
    -- server, a job that had just ended may run again.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE processor p
       SET failures = 0, succeeded = p.succeeded + count_processed.succeeded,
           discarded = p.discarded + count_processed.discarded,
           per_second = p.per_second * exp(least(-extract(epoch FROM clock_timestamp() - coalesce(p.ended_at, '-infinity')) / 300, 0))
                        + (count_processed.succeeded + count_processed.discarded) / 300.0,
           ended_at = clock_timestamp()
     WHERE p.name = count_processed.name;
    PERFORM resume_stream(s.name) FROM stream s
      WHERE s.name = count_processed.name AND s.pause_kind = 'failing';
END $$;

-- succeed_processor_jobs(jobs, worker): the jobs are done, and leave the queue. Ends the pause of a processor that was
-- failing. Jobs that the worker does not hold stay.
CREATE OR REPLACE FUNCTION pgaudit.succeed_processor_jobs(jobs bigint[], worker uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH done AS (
        DELETE FROM processor_jobs j WHERE j.id = ANY (jobs) AND j.status = 'doing' AND j.worker_id = worker_id_of(worker)
        RETURNING j.task_name
    )
    SELECT count_processed(task_name, count(*)::integer, 0) FROM done GROUP BY task_name ORDER BY task_name COLLATE "C"
$$;

-- discard_processor_job(job, worker, reason): the processor gives the event up. The job leaves the queue, and its history
-- keeps the reason. Returns false if the worker does not hold the job.
CREATE OR REPLACE FUNCTION pgaudit.discard_processor_job(job bigint, worker uuid, reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    done processor_jobs;
BEGIN
    DELETE FROM processor_jobs j WHERE j.id = job AND j.status = 'doing' AND j.worker_id = worker_id_of(worker)
        RETURNING * INTO done;
    IF done.id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM note_processor_error(done, 'Discard', NULL, reason, NULL), count_processed(done.task_name, 0, 1);
    RETURN true;
END $$;

-- note_processor_error(job, error_class, sqlstate, message, traceback): adds an attempt that did not succeed to the
-- history of a job.
CREATE OR REPLACE FUNCTION pgaudit.note_processor_error(
    job pgaudit.processor_jobs, error_class text, sqlstate text, message text, traceback text) RETURNS void
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    INSERT INTO job_error (job_id, event_id, task_name, attempt, error_class, sqlstate, message, traceback)
    VALUES (job.id, (SELECT event_id::text FROM audit_log WHERE index = job.index), job.task_name, job.attempts + 1,
            left(error_class, 200), left(sqlstate, 5), left(message, 2000), right(traceback, 2000))
$$;

-- says_nothing(job, since): returns whether a failed attempt says nothing about the processor, because an earlier one of
-- the job has failed, and other jobs have succeeded since: the last one at `since`. It is the event's fault. Such jobs
-- come together when their next attempts are due.
CREATE OR REPLACE FUNCTION pgaudit.says_nothing(job pgaudit.processor_jobs, since timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT EXISTS (SELECT FROM job_error e
                    WHERE e.job_id = job.id AND e.failed_at < since AND e.attempt <= job.attempts
                      AND e.error_class <> ALL ('{JobStalled,Retry}'))
$$;

-- fail_processor_job(job, worker, counted, retry_in, error_class, sqlstate, message, traceback): an attempt has failed.
--   counted   whether the processor counts as failing; false if it has asked for another attempt itself
--   retry_in  seconds until the next attempt; NULL ends the job as failed
-- After break_after failures in a row, of jobs that had not failed before the last success, the processor is paused;
-- while it is, an attempt costs a job nothing. Returns the job's new status, NULL if the worker does not hold it, the
-- seconds until the next attempt, and whether this has paused the processor.
CREATE OR REPLACE FUNCTION pgaudit.fail_processor_job(
    job bigint, worker uuid, counted boolean, retry_in double precision, error_class text, sqlstate text, message text,
    traceback text, OUT status text, OUT again_in double precision, OUT paused boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    held     processor_jobs;
    at       processor;
    is_probe boolean;
BEGIN
    SELECT * INTO held FROM processor_jobs j
     WHERE j.id = job AND j.status = 'doing' AND j.worker_id = worker_id_of(worker) FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    is_probe := EXISTS (SELECT FROM stream s WHERE s.name = held.task_name AND s.pause_kind = 'failing');
    again_in := CASE WHEN is_probe THEN coalesce(retry_in, 60) ELSE retry_in END;
    status := CASE WHEN again_in IS NULL THEN 'failed' ELSE 'todo' END;
    UPDATE processor_jobs j
       SET status = fail_processor_job.status::procrastinate_job_status,
           attempts = held.attempts + (NOT is_probe)::integer, worker_id = NULL, abort_requested = false,
           scheduled_at = clock_timestamp() + make_interval(secs => least(greatest(again_in, 0), 1e8))
     WHERE j.id = job;
    counted := counted AND NOT says_nothing(held, (SELECT p.ended_at FROM processor p WHERE p.name = held.task_name));
    PERFORM note_processor_error(held, error_class, sqlstate, message, traceback);
    UPDATE processor p SET failures = p.failures + counted::integer, error = left(fail_processor_job.message, 1000)
     WHERE p.name = held.task_name RETURNING * INTO at;
    paused := NOT is_probe AND at.failures >= at.break_after AND EXISTS (
        SELECT FROM stream s WHERE s.name = at.name AND s.paused_at IS NULL);
    IF paused THEN
        UPDATE processor p SET probe_at = clock_timestamp() + interval '1 minute' WHERE p.name = at.name;
        PERFORM pause_stream(at.name, 'failing', format('%s attempts in a row have failed, the last one with %s: %s',
                                                        at.failures, error_class, message));
    END IF;
END $$;

-- note_processor_overrun(job, worker, message): notes that a job runs for longer than its timeout, and goes on.
CREATE OR REPLACE FUNCTION pgaudit.note_processor_overrun(job bigint, worker uuid, message text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT note_processor_error(j, 'TimeoutError', NULL, message, NULL)
      FROM processor_jobs j WHERE j.id = job AND j.status = 'doing' AND j.worker_id = worker_id_of(worker)
$$;

-- release_processor_jobs(jobs, worker): gives jobs that the worker holds back to the queue, without counting an attempt.
CREATE OR REPLACE FUNCTION pgaudit.release_processor_jobs(jobs bigint[], worker uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    UPDATE processor_jobs SET status = 'todo', worker_id = NULL, abort_requested = false
     WHERE id = ANY (jobs) AND status = 'doing' AND worker_id = worker_id_of(worker)
$$;

-- reclaim_stalled_processor_jobs(): gives the jobs of stalled workers back to the queue; ends those as failed that have
-- stalled more often than their worker's max_stalls. Returns them, and how often each has stalled.
CREATE OR REPLACE FUNCTION pgaudit.reclaim_stalled_processor_jobs()
RETURNS TABLE (job_id bigint, processor text, worker_id bigint, stalls integer, failed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM take_back_heartbeats();
    RETURN QUERY
    WITH stalled AS (
        SELECT j.id, j.worker_id AS lost_worker, coalesce(w.max_stalls, 5) AS max_stalls
          FROM processor_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
         WHERE j.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < clock_timestamp() - w.stalled_after)
           FOR UPDATE OF j SKIP LOCKED
    ), reclaimed AS (
        UPDATE processor_jobs j
           SET status = CASE WHEN j.stalls + 1 > s.max_stalls THEN 'failed' ELSE 'todo' END::procrastinate_job_status,
               stalls = j.stalls + 1, scheduled_at = clock_timestamp(), worker_id = NULL, abort_requested = false
          FROM stalled s WHERE j.id = s.id
        RETURNING j AS job, j.id, j.task_name, j.stalls, j.status, s.lost_worker, s.max_stalls
    ), noted AS (
        SELECT id, note_processor_error(job, 'JobStalled', NULL, format(
                   'worker %s vanished, or sent no heartbeat, while it ran this job (stall %s of at most %s)', lost_worker,
                   stalls, max_stalls), NULL)
          FROM reclaimed
    )
    SELECT id, task_name::text, lost_worker, stalls, status = 'failed' FROM reclaimed JOIN noted USING (id);
END $$;

-- record_about_jobs(action, processor, indexes, reason): records an event about jobs of a processor, with the indexes of
-- their events, the first hundred of them; none if there are no jobs.
CREATE OR REPLACE FUNCTION pgaudit.record_about_jobs(action text, processor text, indexes bigint[], reason text DEFAULT NULL)
RETURNS void
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    SELECT record_about_stream(action, processor, jsonb_build_object(
               'jobs', cardinality(indexes), 'indexes', to_jsonb(indexes[1:100]), 'reason', left(reason, 900)))
     WHERE cardinality(indexes) > 0
$$;

-- retry_processor_jobs(processor, jobs): makes failed jobs of a processor due again, with all their attempts; NULL means
-- all failed ones. Returns the ids of those that had failed.
CREATE OR REPLACE FUNCTION pgaudit.retry_processor_jobs(processor text, jobs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    retried bigint[];
    indexes bigint[];
BEGIN
    PERFORM require_processor(processor);
    WITH retried AS (
        UPDATE processor_jobs SET status = 'todo', attempts = 0, stalls = 0, scheduled_at = clock_timestamp()
         WHERE status = 'failed' AND task_name = processor AND (jobs IS NULL OR id = ANY (jobs)) RETURNING id, index)
    SELECT coalesce(array_agg(r.id ORDER BY r.id), '{}'), array_agg(r.index ORDER BY r.index) INTO retried, indexes
      FROM retried r;
    PERFORM record_about_jobs('audit.processor_jobs_retried', processor, indexes);
    RETURN retried;
END $$;

-- drop_processor_jobs(processor, jobs, reason): gives failed jobs of a processor up; NULL means all failed ones. They leave
-- the queue, and the history of each keeps the reason. Returns their ids.
CREATE OR REPLACE FUNCTION pgaudit.drop_processor_jobs(processor text, jobs bigint[], reason text) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    dropped bigint[];
    indexes bigint[];
BEGIN
    PERFORM require_processor(processor);
    WITH dropped AS (
        DELETE FROM processor_jobs j
         WHERE status = 'failed' AND task_name = processor AND (jobs IS NULL OR id = ANY (jobs))
        RETURNING j AS job, id, index
    ), noted AS (
        SELECT id, index, note_processor_error(job, 'Discard', NULL,
                                               concat(left(reason, 900), ', by ', acting_user()), NULL)
          FROM dropped
    )
    SELECT coalesce(array_agg(n.id ORDER BY n.id), '{}'), array_agg(n.index ORDER BY n.index) INTO dropped, indexes
      FROM noted n;
    PERFORM record_about_jobs('audit.processor_jobs_discarded', processor, indexes, reason);
    RETURN dropped;
END $$;
