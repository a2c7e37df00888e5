-- Trigger functions that protect the log and the queue. They guard against mistakes, and against roles with
-- rights on all tables; an owner can drop a trigger, which the schema's fingerprint shows.

-- reject_modification(): the log is append-only.
CREATE OR REPLACE FUNCTION pgaudit.reject_modification() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on %: the audit log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Record a new event that corrects the old one; the old one stays.';
END $$;

-- reject_direct_write(): tables that are written by pgaudit's functions alone, which run as the owner. The call stack ends
-- with this trigger; if none of those functions is on it, the statement was written by hand. Names only: the words around
-- them are in the server's language. LIKE: a regular expression takes longer than the insert of a row.
CREATE OR REPLACE FUNCTION pgaudit.reject_direct_write() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    stack text;
BEGIN
    GET DIAGNOSTICS stack = PG_CONTEXT;
    IF TG_OP <> 'TRUNCATE' AND current_user = (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID)
       AND stack LIKE ANY ('{%append_rows%,%note_sightings%,%prune_batches%,%advance_watermark%,%requeue_skipped_jobs%,
                             %requeue_jobs_of_passed_transactions%,%acknowledge_job%,%reject_truncate_of_queue%}'::text[]) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% on %: only the functions of pgaudit write to it', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'Record an event: SELECT pgaudit.record(…).';
END $$;

-- reject_foreign_write(): a role with rights on all tables may not fail, park or take over jobs, pass for a worker, or
-- change the settings. The owner may.
CREATE OR REPLACE FUNCTION pgaudit.reject_foreign_write() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF current_user <> (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID) THEN
        RAISE EXCEPTION '% on %: only its owner and the functions of pgaudit write to it', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege', HINT = 'See pgaudit jobs --help.';
    END IF;
    RETURN NULL;
END $$;

-- reject_unlogged_deletion(): a job leaves the queue when its event is in the log, was seen there, or is acknowledged.
CREATE OR REPLACE FUNCTION pgaudit.reject_unlogged_deletion() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan  -- a plan for the index at hand locks and reads the last partitions alone
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    log_size bigint := (SELECT size FROM log_head);
    tail     bigint := log_size - (SELECT count(*) FROM deleted);
    missing  bytea[];
    jobs     bigint[];
    hashes   bytea[];
    events   jsonb[];
    indexes  bigint[];
    unlogged bigint;
BEGIN
    -- A batch that was just persisted is the end of the log: one scan finds it by hash. Looking each event up by its id
    -- takes three times as long, and is for what was not found: events that were seen again, and the unlogged.
    missing := array(SELECT leaf_hash FROM deleted EXCEPT SELECT leaf_hash FROM audit_log
                                                      WHERE index >= tail AND index < log_size);
    IF cardinality(missing) = 0 THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(id), array_agg(leaf_hash), array_agg(event) INTO jobs, hashes, events
      FROM deleted WHERE leaf_hash = ANY (missing);
    indexes := logged_indexes(events);
    SELECT min(id) INTO unlogged FROM unnest(jobs, hashes, indexes) AS sought (id, hash, index)
     WHERE index IS NULL AND NOT EXISTS (SELECT FROM acknowledged_jobs WHERE job_id = id AND leaf_hash = hash);
    IF unlogged IS NOT NULL THEN
        RAISE EXCEPTION 'job % holds an audit event that is not in the log yet', unlogged
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Let a worker persist it; when it has failed for good: pgaudit jobs acknowledge.';
    END IF;
    RETURN NULL;
END $$;

-- reject_deletion_by_parent(): a DELETE that names Procrastinate's table does not see what a job holds.
CREATE OR REPLACE FUNCTION pgaudit.reject_deletion_by_parent() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM deleted WHERE queue_name = 'audit') THEN
        RAISE EXCEPTION 'procrastinate_jobs: audit jobs leave the queue when their events are in the log'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Let a worker persist them.';
    END IF;
    RETURN NULL;
END $$;

-- reject_truncate_of_queue(): an empty queue may be truncated.
CREATE OR REPLACE FUNCTION pgaudit.reject_truncate_of_queue() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    -- An older snapshot does not see what others have recorded since.
    IF current_setting('transaction_isolation') <> 'read committed' OR EXISTS (SELECT FROM audit_jobs) THEN
        RAISE EXCEPTION 'the queue holds audit events that are not in the log yet'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Let the workers drain it first.';
    END IF;
    DELETE FROM queue_watermark;  -- RESTART IDENTITY may follow
    INSERT INTO queue_watermark (low_watermark, max_issued_id, safe_xid) VALUES (0, 0, '0');
    RETURN NULL;
END $$;

-- reject_status_change(): an audit job has no end but the log: no other queue, no other task, no status but these three.
-- (A CHECK would say the same, and cost every INSERT: Postgres compiles it for each statement.)
CREATE OR REPLACE FUNCTION pgaudit.reject_status_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'job % holds an audit event: it ends in the log, or stays as failed', OLD.id
        USING ERRCODE = 'insufficient_privilege', HINT = 'Let a worker persist it, or retry it when it has failed.';
END $$;

-- reject_event_update(): an event is not replaced by another one, which the log may hold already.
CREATE OR REPLACE FUNCTION pgaudit.reject_event_update() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'job % holds an audit event, which must not be changed', OLD.id
        USING ERRCODE = 'insufficient_privilege', HINT = 'Record a new event that corrects it.';
END $$;

-- reject_far_schedule(): no retry waits for more than a day; a job that does is parked.
CREATE OR REPLACE FUNCTION pgaudit.reject_far_schedule() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'job % holds an audit event, which must not wait until %', OLD.id, NEW.scheduled_at
        USING ERRCODE = 'insufficient_privilege', HINT = 'A retry waits for 24 hours at most.';
END $$;
