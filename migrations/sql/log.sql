-- The log and what is kept beside it.

CREATE TABLE pgaudit.audit_log (
    index        bigint      NOT NULL,
    event_id     uuid        NOT NULL,
    occurred_at  timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL,
    persisted_at timestamptz NOT NULL,
    action       text        NOT NULL,
    outcome      text        NOT NULL,
    actor_type   text,
    actor_id     text,
    target_type  text,
    target_id    text,
    tenant       text,
    event        jsonb       NOT NULL,
    leaf_hash    bytea       NOT NULL,
    PRIMARY KEY (event_id, occurred_at),
    CHECK (isfinite(occurred_at))  -- what an event made by hand may say, and no driver can read
) PARTITION BY RANGE (occurred_at);
CREATE INDEX audit_log_index_idx ON pgaudit.audit_log (index);
CREATE INDEX audit_log_target_idx ON pgaudit.audit_log (target_type, target_id, occurred_at);
CREATE INDEX audit_log_actor_idx ON pgaudit.audit_log (actor_type, actor_id, occurred_at);

COMMENT ON TABLE pgaudit.audit_log IS 'Every audit event, once, in commit order. Append-only.';
COMMENT ON COLUMN pgaudit.audit_log.index IS 'Position in the log: 0, 1, 2 … without a gap, in commit order. "index > last seen" is a safe cursor.';
COMMENT ON COLUMN pgaudit.audit_log.event_id IS 'Identity of the event, and its idempotency key.';
COMMENT ON COLUMN pgaudit.audit_log.occurred_at IS 'When it happened, by the application''s clock.';
COMMENT ON COLUMN pgaudit.audit_log.recorded_at IS 'When the business transaction recorded it, by the server''s clock.';
COMMENT ON COLUMN pgaudit.audit_log.persisted_at IS 'When a worker appended it here, by the server''s clock.';
COMMENT ON COLUMN pgaudit.audit_log.action IS 'What was done: resource.verb.';
COMMENT ON COLUMN pgaudit.audit_log.outcome IS 'success, failure or denied.';
COMMENT ON COLUMN pgaudit.audit_log.actor_type IS 'Kind of actor: user, service …';
COMMENT ON COLUMN pgaudit.audit_log.actor_id IS 'Identity of the actor among its kind.';
COMMENT ON COLUMN pgaudit.audit_log.target_type IS 'Kind of the primary (first) target.';
COMMENT ON COLUMN pgaudit.audit_log.target_id IS 'Identity of the primary (first) target.';
COMMENT ON COLUMN pgaudit.audit_log.tenant IS 'Whose data it is, in a multi-tenant application.';
COMMENT ON COLUMN pgaudit.audit_log.event IS 'The whole event. Its text is the canonical form that leaf_hash is taken of.';
COMMENT ON COLUMN pgaudit.audit_log.leaf_hash IS 'SHA-256 of the byte 0x00 followed by event::text in UTF-8 (an RFC 6962 leaf).';

CREATE FUNCTION pgaudit.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on %: the audit log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Record a new event that corrects the old one; the old one stays.';
END $$;

-- ALWAYS: session_replication_role = replica does not switch them off.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON pgaudit.audit_log
    FOR EACH ROW EXECUTE FUNCTION pgaudit.refuse_change();
ALTER TABLE pgaudit.audit_log ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON pgaudit.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.refuse_change();
ALTER TABLE pgaudit.audit_log ENABLE ALWAYS TRIGGER append_only_truncate;

-- Row triggers are cloned to a partition, enabled only as origin; TRUNCATE triggers are not cloned.
CREATE FUNCTION pgaudit.guard_partition(partition regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', partition);
    EXECUTE format('CREATE OR REPLACE TRIGGER append_only_truncate BEFORE TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.refuse_change()', partition);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only_truncate', partition);
END $$;

-- Guards the partitions that somebody has made by hand.
CREATE FUNCTION pgaudit.guard_partitions() RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT relid FROM pg_partition_tree('audit_log') WHERE level > 0
                      AND (SELECT count(*) FROM pg_trigger WHERE tgrelid = relid AND tgenabled = 'A'
                              AND tgname IN ('append_only', 'append_only_truncate')) < 2 LOOP
        BEGIN
            PERFORM guard_partition(partition);
        EXCEPTION WHEN lock_not_available OR insufficient_privilege THEN
            RAISE WARNING 'partition % is not guarded against TRUNCATE: %', partition, SQLERRM;
        END;
    END LOOP;
END $$;

CREATE TABLE pgaudit.audit_log_default PARTITION OF pgaudit.audit_log DEFAULT;
SELECT pgaudit.guard_partition('pgaudit.audit_log_default');

-- Takes away what ALTER DEFAULT PRIVILEGES has given to others: rights come from pgaudit grant alone.
CREATE FUNCTION pgaudit.revoke_defaults(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    grantee regrole;
BEGIN
    FOR grantee IN SELECT DISTINCT a.grantee::regrole FROM pg_class c, aclexplode(c.relacl) a
                    WHERE c.oid = relation AND a.grantee NOT IN (0, c.relowner) LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', relation, grantee);
    END LOOP;
END $$;

CREATE FUNCTION pgaudit.create_partition(month date) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET timezone = 'UTC' SET lock_timeout = '100ms' AS $$
DECLARE
    name  text        := 'audit_log_' || to_char(month, 'YYYY_MM');
    first timestamptz := month;
    next  timestamptz := month + interval '1 month';
BEGIN
    IF to_regclass('pgaudit.' || name) IS NOT NULL THEN
        RETURN false;
    ELSIF EXISTS (SELECT FROM audit_log_default WHERE occurred_at >= first AND occurred_at < next) THEN
        RAISE WARNING 'events of % are in the default partition already and stay there', to_char(month, 'YYYY-MM');
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    -- Unlike CREATE … PARTITION OF this locks the default partition alone against readers, and only for a moment.
    EXECUTE format('ALTER TABLE audit_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, next);
    PERFORM guard_partition(name::regclass), revoke_defaults(name::regclass);
    RETURN true;
EXCEPTION WHEN lock_not_available OR check_violation OR unique_violation OR duplicate_table THEN
    -- A long reader, or another worker: there are months until the partition is needed, and a next time.
    RETURN false;
END $$;

-- This month and the next ones, two years at most: how many partitions were created.
CREATE FUNCTION pgaudit.keep_partitions(ahead integer DEFAULT 3) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp SET timezone = 'UTC' AS $$
    SELECT pgaudit.guard_partitions();
    SELECT count(*) FILTER (WHERE pgaudit.create_partition((date_trunc('month', now()) + n * interval '1 month')::date))
      FROM generate_series(0, least(ahead, 24)) n
$$;
SELECT pgaudit.keep_partitions();

CREATE TABLE pgaudit.batch (
    first_index     bigint PRIMARY KEY,
    count           integer     NOT NULL CHECK (count > 0),
    persisted_at    timestamptz NOT NULL,
    oldest_recorded timestamptz NOT NULL,
    newest_recorded timestamptz NOT NULL,
    worker_id       bigint,
    lags            bigint[]    NOT NULL,
    lag_sum         interval    NOT NULL
);
CREATE INDEX batch_persisted_idx ON pgaudit.batch (persisted_at);
COMMENT ON TABLE pgaudit.batch IS 'One row for each transaction that appended to the log: the history of throughput and lag. The last one says where the log ends.';
COMMENT ON COLUMN pgaudit.batch.first_index IS 'Index of the first event of the batch.';
COMMENT ON COLUMN pgaudit.batch.count IS 'How many events it appended.';
COMMENT ON COLUMN pgaudit.batch.persisted_at IS 'When, by the server''s clock.';
COMMENT ON COLUMN pgaudit.batch.oldest_recorded IS 'recorded_at of its oldest event.';
COMMENT ON COLUMN pgaudit.batch.newest_recorded IS 'recorded_at of its newest event.';
COMMENT ON COLUMN pgaudit.batch.worker_id IS 'Which worker; NULL when the application appended it inline, or a worker that had already said goodbye drained it.';
COMMENT ON COLUMN pgaudit.batch.lags IS 'Events of the whole log, this batch included, by how long they took from recorded to persisted: below the first of pgaudit.lag_bounds(), between the first and the second …, above the last.';
COMMENT ON COLUMN pgaudit.batch.lag_sum IS 'How long all of them took together.';

-- Upper ends of the classes that lags are counted in.
CREATE FUNCTION pgaudit.lag_bounds() RETURNS interval[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT '{5ms,10ms,25ms,50ms,100ms,250ms,500ms,1s,2.5s,5s,10s,30s,60s,300s}'::interval[] $$;

CREATE TABLE pgaudit.log_lock (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton));
INSERT INTO pgaudit.log_lock DEFAULT VALUES;
COMMENT ON TABLE pgaudit.log_lock IS 'Whoever appends to the log holds this row locked to its commit: index order is commit order.';
CREATE TRIGGER keep_lock BEFORE DELETE OR TRUNCATE ON pgaudit.log_lock
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.refuse_change();
ALTER TABLE pgaudit.log_lock ENABLE ALWAYS TRIGGER keep_lock;

-- The last batch says where the log ends: without it the next event would get an index that is taken.
CREATE FUNCTION pgaudit.keep_last_batch() RETURNS trigger
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM FROM deleted WHERE first_index >= coalesce((SELECT max(first_index) FROM batch), 0);
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    RAISE EXCEPTION '% on batch: its last row is the end of the log', TG_OP
        USING ERRCODE = 'insufficient_privilege', HINT = 'pgaudit.forget_batches() deletes what may be deleted.';
END $$;
CREATE TRIGGER keep_last_batch AFTER DELETE ON pgaudit.batch REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.keep_last_batch();
CREATE TRIGGER keep_batches BEFORE UPDATE OR TRUNCATE ON pgaudit.batch
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.keep_last_batch();
ALTER TABLE pgaudit.batch ENABLE ALWAYS TRIGGER keep_last_batch, ENABLE ALWAYS TRIGGER keep_batches;

-- Nothing is ever updated here: under a snapshot that is held for hours every version of a counter would stay, and
-- be walked through by each append. FOR UPDATE on the view locks the row of log_lock.
CREATE VIEW pgaudit.log_head AS
SELECT coalesce((SELECT first_index + count FROM pgaudit.batch ORDER BY first_index DESC LIMIT 1), 0) AS size
  FROM pgaudit.log_lock;
COMMENT ON VIEW pgaudit.log_head IS 'The end of the log. Whoever appends holds its row locked to the commit: index order is commit order.';
COMMENT ON COLUMN pgaudit.log_head.size IS 'How many events the log holds, and the index of the next one.';

CREATE TABLE pgaudit.job_error (
    id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    job_id      bigint      NOT NULL,
    event_id    text,
    task_name   text        NOT NULL,
    attempt     integer     NOT NULL,
    error_class text        NOT NULL,
    sqlstate    text,
    message     text        NOT NULL,
    traceback   text,
    at          timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX job_error_job_idx ON pgaudit.job_error (job_id, id);
COMMENT ON TABLE pgaudit.job_error IS 'One row for each failed attempt, kept after the job is gone.';
COMMENT ON COLUMN pgaudit.job_error.job_id IS 'The job that failed.';
COMMENT ON COLUMN pgaudit.job_error.event_id IS 'The id its event claims; text, for a broken event may hold anything.';
COMMENT ON COLUMN pgaudit.job_error.task_name IS 'The task that failed.';
COMMENT ON COLUMN pgaudit.job_error.attempt IS 'Which run of the job it was, from 1; a run that does not count keeps the number of the next.';
COMMENT ON COLUMN pgaudit.job_error.error_class IS 'Name of the error; JobStalled when the worker vanished.';
COMMENT ON COLUMN pgaudit.job_error.sqlstate IS 'SQLSTATE, when Postgres raised it.';
COMMENT ON COLUMN pgaudit.job_error.message IS 'What it said.';
COMMENT ON COLUMN pgaudit.job_error.traceback IS 'Where it was raised.';
COMMENT ON COLUMN pgaudit.job_error.at IS 'When, by the server''s clock.';
