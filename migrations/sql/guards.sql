-- What keeps a job in the queue, and as it is, until its event is in the log.

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
