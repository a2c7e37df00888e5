-- Trigger functions that protect the log and the queue against mistakes, and against roles with rights on all tables.
-- The owner can drop a trigger; then the schema's fingerprint differs.

-- reject_modification(): rejects each UPDATE, DELETE and TRUNCATE of the log, and an INSERT into a partition.
CREATE OR REPLACE FUNCTION pgaudit.reject_modification() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on %: the audit log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Record a new event that corrects the old one; the old one stays.';
END $$;

-- reject_direct_write(): rejects a write that does not come from pgaudit's functions, which run as the owner. If none
-- of them is on the call stack of this trigger, the statement was written by hand. Matches only names, because the
-- words around them are in the server's language. LIKE, because a regular expression takes longer than an insert;
-- the names of guards first, because their stack has a long statement.
CREATE OR REPLACE FUNCTION pgaudit.reject_direct_write() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    stack text;
BEGIN
    GET DIAGNOSTICS stack = PG_CONTEXT;
    IF TG_OP <> 'TRUNCATE' AND current_user = (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID)
       AND stack LIKE ANY ('{%guard\\_%,%check_guarded_changes%,%append_rows%,%note_sightings%,%prune_batches%,%advance_watermark%,
                             %requeue_skipped_jobs%,%requeue_jobs_of_passed_transactions%,%acknowledge_job%,
                             %reject_truncate_of_queue%,%add_tiles%,%add_checkpoint%,%note_verification%,
                             %note_sealing%,%claim_heartbeat%,%claim_verification%,%note_anchored%,%add_target_tiles%,%add_target_period%,
                             %prune_target_tiles%,
                             %note_unrecorded%,%prune_unrecorded_changes%,%claim_unrecorded_changes%}'::text[]) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% on %: only the functions of pgaudit can write to it', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = CASE WHEN starts_with(TG_TABLE_NAME, 'audit_log') THEN 'Record an event: SELECT pgaudit.record(…).'
                          ELSE 'Workers and triggers keep this table; use the commands of pgaudit.' END;
END $$;

-- reject_foreign_write(): rejects a write by a role other than the owner: a role with rights on all tables must not
-- end, delay or take over jobs, impersonate a worker, or change the settings.
CREATE OR REPLACE FUNCTION pgaudit.reject_foreign_write() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    owner name := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID);
BEGIN
    IF current_user <> owner THEN
        RAISE EXCEPTION '% on %: only its owner and the functions of pgaudit can write to it', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('Use the commands of pgaudit, such as pgaudit jobs and pgaudit capture, or SET ROLE %I.', owner);
    END IF;
    RETURN NULL;
END $$;

-- Alembic's table gets its trigger here and not in a revision, because Alembic writes to it before this function exists.
CREATE OR REPLACE TRIGGER reject_foreign_write BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgaudit.alembic_version
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_foreign_write();
ALTER TABLE pgaudit.alembic_version ENABLE ALWAYS TRIGGER reject_foreign_write;

-- reject_unlogged_deletion(): rejects the deletion of a job whose event is neither in the log nor acknowledged.
CREATE OR REPLACE FUNCTION pgaudit.reject_unlogged_deletion() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan  -- a plan for this index locks and reads only the last partitions
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
    -- A batch that was just persisted is the end of the log: one scan finds its events by their hashes. Looking up each
    -- event by its id takes three times as long. It is done for the rest: sightings, and events not in the log.
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
        RAISE EXCEPTION 'job % holds an audit event that is not in the audit log yet', unlogged
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Let a worker persist it. If it has failed, use pgaudit jobs acknowledge.';
    END IF;
    RETURN NULL;
END $$;

-- reject_deletion_by_parent(): rejects a DELETE of jobs that names Procrastinate's table: of audit jobs, because its
-- triggers do not see the columns with the event; of the jobs of processors, because their own triggers do not fire.
CREATE OR REPLACE FUNCTION pgaudit.reject_deletion_by_parent() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM deleted WHERE queue_name = 'audit') THEN
        RAISE EXCEPTION 'DELETE on procrastinate_jobs: audit jobs leave the queue when their events are in the audit log'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Let a worker persist them.';
    ELSIF EXISTS (SELECT FROM deleted WHERE queue_name = 'audit_processors') THEN
        RAISE EXCEPTION 'DELETE on procrastinate_jobs: jobs of processors leave the queue when they have ended'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Let a worker run them. If they have failed, use pgaudit jobs discard.';
    END IF;
    RETURN NULL;
END $$;

-- reject_truncate_of_queue(): rejects a TRUNCATE of the queue unless it is empty.
CREATE OR REPLACE FUNCTION pgaudit.reject_truncate_of_queue() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    -- The older snapshot of another isolation level would not see the jobs recorded since.
    IF current_setting('transaction_isolation') <> 'read committed' OR EXISTS (SELECT FROM audit_jobs) THEN
        RAISE EXCEPTION 'the queue holds audit events that are not in the audit log yet'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Let the workers drain it first.';
    END IF;
    DELETE FROM queue_watermark;  -- after RESTART IDENTITY, ids begin at 1 again
    INSERT INTO queue_watermark (low_watermark, max_issued_id, safe_xid) VALUES (0, 0, '0');
    RETURN NULL;
END $$;

-- reject_status_change(): rejects another queue, task or status than the trigger's condition allows: an audit job must
-- end in the log, or stay as failed. (Not a CHECK: Postgres compiles it for each INSERT.)
CREATE OR REPLACE FUNCTION pgaudit.reject_status_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'job % holds an audit event: its queue and task are fixed, its status is todo, doing or failed', OLD.id
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Let a worker persist it. If it has failed, use pgaudit jobs retry.';
END $$;

-- reject_event_update(): rejects a change of the event: with the event of another job, which the log has already, the
-- job could be deleted.
CREATE OR REPLACE FUNCTION pgaudit.reject_event_update() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'job % holds an audit event, which must not be changed', OLD.id
        USING ERRCODE = 'insufficient_privilege', HINT = 'Record a new event that corrects it.';
END $$;

-- reject_far_schedule(): rejects a delay of more than a day: it would keep the event out of the log.
CREATE OR REPLACE FUNCTION pgaudit.reject_far_schedule() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'job % holds an audit event, which must not wait until %', OLD.id, NEW.scheduled_at
        USING ERRCODE = 'insufficient_privilege', HINT = 'Schedule it within the next 24 hours.';
END $$;
