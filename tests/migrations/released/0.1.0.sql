-- This installs the schema pgaudit, as of version 0.1.0. Run it with psql, as the owner of the schema.
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL lock_timeout = '60s';
-- Checks that pgaudit can be installed or upgraded in this database. Changes nothing.

DO $$
DECLARE
    encoding text := current_setting('server_encoding');
    schema_id oid := to_regnamespace('pgaudit');
    owner    name := (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE oid = schema_id);
    foreign_object text;
BEGIN
    IF current_setting('server_version_num')::integer < 150000 THEN
        RAISE EXCEPTION 'pgaudit needs PostgreSQL 15 or newer; this server runs %', current_setting('server_version')
            USING ERRCODE = 'feature_not_supported';
    ELSIF encoding <> 'UTF8' THEN
        RAISE EXCEPTION 'the database must use the encoding UTF8, not %: create one with ENCODING ''UTF8''', encoding
            USING ERRCODE = 'feature_not_supported';
    ELSIF schema_id IS NULL AND NOT has_database_privilege(current_database(), 'CREATE') THEN
        RAISE EXCEPTION 'the role % has no right to create a schema in this database: GRANT CREATE ON DATABASE % TO %, '
                        'or CREATE SCHEMA pgaudit AUTHORIZATION %', current_user, quote_ident(current_database()),
                        quote_ident(current_user), quote_ident(current_user)
            USING ERRCODE = 'insufficient_privilege';
    ELSIF owner <> current_user AND EXISTS (SELECT FROM pg_class WHERE relnamespace = schema_id) THEN
        RAISE EXCEPTION 'the schema pgaudit belongs to %, not to %: migrate as %', owner, current_user, owner
            USING ERRCODE = 'insufficient_privilege';
    ELSIF owner <> current_user THEN
        -- Guards do not stop an owner from dropping our tables.
        RAISE EXCEPTION 'the schema pgaudit belongs to %, not to %: migrate as %, or ALTER SCHEMA pgaudit OWNER TO %',
                        owner, current_user, owner, quote_ident(current_user)
            USING ERRCODE = 'insufficient_privilege';
    ELSIF to_regclass('pgaudit.alembic_version') IS NULL THEN
        SELECT min(name) INTO foreign_object
          FROM (SELECT relname AS name, relnamespace AS schema_id FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
                UNION ALL SELECT proname, pronamespace FROM pg_proc) object
         WHERE object.schema_id = to_regnamespace('pgaudit');
        IF foreign_object IS NOT NULL THEN
            RAISE EXCEPTION 'the schema pgaudit holds an object that is not pgaudit''s: %; move it to another schema',
                            foreign_object
                USING ERRCODE = 'duplicate_object';
        END IF;
    END IF;
END $$;


DO $$ BEGIN
    IF to_regclass('pgaudit.alembic_version') IS NOT NULL THEN
        RAISE EXCEPTION 'pgaudit is installed already: for an upgrade use pgaudit migrate --sql --from REVISION';
    END IF;
END $$;

-- Creates the schema, and locks it against other migrations.

-- Not CREATE SCHEMA IF NOT EXISTS: it needs a right on the database, even when the owner's schema exists already.
DO $$ BEGIN
    IF to_regnamespace('pgaudit') IS NULL THEN
        CREATE SCHEMA pgaudit;
    END IF;
END $$;

-- COMMENT takes a lock that conflicts with itself and that only the owner can hold: one migration runs at a time, and
-- no other role can block it. (Any role could hold an advisory lock.)
COMMENT ON SCHEMA pgaudit IS 'Audit trail of pgaudit. Change it with pgaudit migrate only.';

DO $$
DECLARE
    grantee oid;
BEGIN
    -- Anyone who can create functions here could shadow built-ins that our SECURITY DEFINER functions call.
    FOR grantee IN SELECT a.grantee FROM pg_namespace, aclexplode(nspacl) a
                    WHERE nspname = 'pgaudit' AND (privilege_type = 'CREATE' OR a.grantee = 0) AND a.grantee <> nspowner LOOP
        EXECUTE format('REVOKE %s ON SCHEMA pgaudit FROM %s', CASE grantee WHEN 0 THEN 'ALL' ELSE 'CREATE' END,
                       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
    END LOOP;
    -- code/99_rights.sql revokes all rights on the objects that are not in this list.
    PERFORM set_config('audit.known_objects', coalesce(string_agg(object.id::text, ','), ''), true)
       FROM (SELECT oid AS id FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace
             UNION ALL SELECT oid FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace) object;
END $$;

SET LOCAL lock_timeout = '10s';

CREATE TABLE pgaudit.alembic_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

-- The installed functions and views: each migration that applies the files in code/ writes this row.

CREATE TABLE pgaudit.schema_code (
    checksum   text        NOT NULL,
    version    text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE pgaudit.schema_code IS 'The functions and views that are installed: one row.';
COMMENT ON COLUMN pgaudit.schema_code.checksum IS 'SHA-256 of the files that define them.';
COMMENT ON COLUMN pgaudit.schema_code.version IS 'Version of pgaudit that applied them.';
COMMENT ON COLUMN pgaudit.schema_code.applied_at IS 'Time at which it applied them.';

-- Procrastinate 3.10's schema, frozen: a fresh install does not depend on which Procrastinate is installed.
SET LOCAL search_path = pgaudit, pg_temp;

-- Enums

CREATE TYPE procrastinate_job_status AS ENUM (
    'todo',  -- The job is queued
    'doing',  -- The job has been fetched by a worker
    'succeeded',  -- The job ended successfully
    'failed',  -- The job ended with an error
    'cancelled', -- The job was cancelled
    'aborting',  -- legacy, not used anymore since v3.0.0
    'aborted'  -- The job was aborted
);

CREATE TYPE procrastinate_job_event_type AS ENUM (
    'deferred',  -- Job created, in todo
    'started',  -- todo -> doing
    'deferred_for_retry',  -- doing -> todo
    'failed',  -- doing -> failed
    'succeeded',  -- doing -> succeeded
    'cancelled', -- todo -> cancelled
    'abort_requested', -- not a state transition, but set in a separate field
    'aborted', -- doing -> aborted (only allowed when abort_requested field is set)
    'scheduled', -- not a state transition, but recording when a task is scheduled for
    'retried' -- Manually retried failed job
);

-- Composite Types

CREATE TYPE procrastinate_job_to_defer_v1 AS (
    queue_name character varying,
    task_name character varying,
    priority integer,
    lock text,
    queueing_lock text,
    args jsonb,
    scheduled_at timestamp with time zone
);

-- Tables

CREATE TABLE procrastinate_workers(
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    last_heartbeat timestamp with time zone NOT NULL DEFAULT NOW()
);

CREATE TABLE procrastinate_jobs (
    id bigserial PRIMARY KEY,
    queue_name character varying(128) NOT NULL,
    task_name character varying(128) NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    lock text,
    queueing_lock text,
    args jsonb DEFAULT '{}' NOT NULL,
    status procrastinate_job_status DEFAULT 'todo'::procrastinate_job_status NOT NULL,
    scheduled_at timestamp with time zone NULL,
    attempts integer DEFAULT 0 NOT NULL,
    abort_requested boolean DEFAULT false NOT NULL,
    worker_id bigint REFERENCES procrastinate_workers(id) ON DELETE SET NULL,
    CONSTRAINT check_not_todo_abort_requested CHECK (NOT (status = 'todo' AND abort_requested = true))
);

CREATE TABLE procrastinate_periodic_defers (
    id bigserial PRIMARY KEY,
    task_name character varying(128) NOT NULL,
    defer_timestamp bigint,
    job_id bigint REFERENCES procrastinate_jobs(id) NULL,
    periodic_id character varying(128) NOT NULL DEFAULT '',
    CONSTRAINT procrastinate_periodic_defers_unique UNIQUE (task_name, periodic_id, defer_timestamp)
);

CREATE TABLE procrastinate_events (
    id bigserial PRIMARY KEY,
    job_id bigint NOT NULL REFERENCES procrastinate_jobs ON DELETE CASCADE,
    type procrastinate_job_event_type,
    at timestamp with time zone DEFAULT NOW() NULL
);

-- Constraints & Indices

-- this prevents from having several jobs with the same queueing lock in the "todo" state
CREATE UNIQUE INDEX procrastinate_jobs_queueing_lock_idx_v1 ON procrastinate_jobs (queueing_lock) WHERE status = 'todo';
-- this prevents from having several jobs with the same lock in the "doing" state
CREATE UNIQUE INDEX procrastinate_jobs_lock_idx_v1 ON procrastinate_jobs (lock) WHERE status = 'doing';

-- Index for select_stalled_jobs_by_heartbeat query
CREATE INDEX idx_procrastinate_jobs_worker_not_null ON procrastinate_jobs(worker_id) WHERE worker_id IS NOT NULL AND status = 'doing'::procrastinate_job_status;

CREATE INDEX procrastinate_jobs_queue_name_idx_v1 ON procrastinate_jobs(queue_name);
CREATE INDEX procrastinate_jobs_id_lock_idx_v1 ON procrastinate_jobs (id, lock) WHERE status = ANY (ARRAY['todo'::procrastinate_job_status, 'doing'::procrastinate_job_status]);
CREATE INDEX procrastinate_jobs_priority_idx_v1 ON procrastinate_jobs(priority desc, id asc) WHERE (status = 'todo'::procrastinate_job_status);

CREATE INDEX procrastinate_events_job_id_fkey_v1 ON procrastinate_events(job_id);

CREATE INDEX procrastinate_periodic_defers_job_id_fkey_v1 ON procrastinate_periodic_defers(job_id);

CREATE INDEX idx_procrastinate_workers_last_heartbeat ON procrastinate_workers(last_heartbeat);

-- Functions
CREATE FUNCTION procrastinate_defer_jobs_v1(
    jobs procrastinate_job_to_defer_v1[]
)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    job_ids bigint[];
BEGIN
    WITH inserted_jobs AS (
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
        SELECT (job).queue_name,
               (job).task_name,
               (job).priority,
               (job).lock,
               (job).queueing_lock,
               (job).args,
               (job).scheduled_at
        FROM unnest(jobs) AS job
        RETURNING id
    )
    SELECT array_agg(id) FROM inserted_jobs INTO job_ids;

    RETURN job_ids;
END;
$$;

CREATE FUNCTION procrastinate_defer_periodic_job_v2(
    _queue_name character varying,
    _lock character varying,
    _queueing_lock character varying,
    _task_name character varying,
    _priority integer,
    _periodic_id character varying,
    _defer_timestamp bigint,
    _args jsonb
)
    RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
	_job_id bigint;
	_defer_id bigint;
BEGIN
    INSERT
        INTO procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)
        VALUES (_task_name, _periodic_id, _defer_timestamp)
        ON CONFLICT DO NOTHING
        RETURNING id into _defer_id;

    IF _defer_id IS NULL THEN
        RETURN NULL;
    END IF;

    UPDATE procrastinate_periodic_defers
        SET job_id = (
            SELECT COALESCE((
                SELECT unnest(procrastinate_defer_jobs_v1(
                    ARRAY[
                        ROW(
                            _queue_name,
                            _task_name,
                            _priority,
                            _lock,
                            _queueing_lock,
                            _args,
                            NULL::timestamptz
                        )
                    ]::procrastinate_job_to_defer_v1[]
                ))
            ), NULL)
        )
        WHERE id = _defer_id
        RETURNING job_id INTO _job_id;

    DELETE
        FROM procrastinate_periodic_defers
        USING (
            SELECT id
            FROM procrastinate_periodic_defers
            WHERE procrastinate_periodic_defers.task_name = _task_name
            AND procrastinate_periodic_defers.periodic_id = _periodic_id
            AND procrastinate_periodic_defers.defer_timestamp < _defer_timestamp
            ORDER BY id
            FOR UPDATE
        ) to_delete
        WHERE procrastinate_periodic_defers.id = to_delete.id;

    RETURN _job_id;
END;
$$;

CREATE FUNCTION procrastinate_fetch_job_v2(
    target_queue_names character varying[],
    p_worker_id bigint
)
    RETURNS procrastinate_jobs
    LANGUAGE plpgsql
AS $$
DECLARE
	found_jobs procrastinate_jobs;
BEGIN
    WITH candidate AS (
        SELECT jobs.*
            FROM procrastinate_jobs AS jobs
            WHERE
                -- reject the job if its lock has earlier or higher priority jobs
                NOT EXISTS (
                    SELECT 1
                        FROM procrastinate_jobs AS other_jobs
                        WHERE
                            jobs.lock IS NOT NULL
                            AND other_jobs.lock = jobs.lock
                            AND (
                                -- job with same lock is already running
                                other_jobs.status = 'doing'
                                OR
                                -- job with same lock is waiting and has higher priority (or same priority but was queued first)
                                (
                                    other_jobs.status = 'todo'
                                    AND (
                                        other_jobs.priority > jobs.priority
                                        OR (
                                        other_jobs.priority = jobs.priority
                                        AND other_jobs.id < jobs.id
                                        )
                                    )
                                )
                            )
                )
                AND jobs.status = 'todo'
                AND (target_queue_names IS NULL OR jobs.queue_name = ANY( target_queue_names ))
                AND (jobs.scheduled_at IS NULL OR jobs.scheduled_at <= now())
            ORDER BY jobs.priority DESC, jobs.id ASC LIMIT 1
            FOR UPDATE OF jobs SKIP LOCKED
    )
    UPDATE procrastinate_jobs
        SET status = 'doing', worker_id = p_worker_id
        FROM candidate
        WHERE procrastinate_jobs.id = candidate.id
        RETURNING procrastinate_jobs.* INTO found_jobs;

 RETURN found_jobs;
END;
$$;

CREATE FUNCTION procrastinate_finish_job_v1(job_id bigint, end_status procrastinate_job_status, delete_job boolean)
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    _job_id bigint;
BEGIN
    IF end_status NOT IN ('succeeded', 'failed', 'aborted') THEN
        RAISE 'End status should be either "succeeded", "failed" or "aborted" (job id: %)', job_id;
    END IF;
    IF delete_job THEN
        DELETE FROM procrastinate_jobs
        WHERE id = job_id AND status IN ('todo', 'doing')
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = end_status,
            abort_requested = false,
            attempts = CASE status
                WHEN 'doing' THEN attempts + 1 ELSE attempts
            END
        WHERE id = job_id AND status IN ('todo', 'doing')
        RETURNING id INTO _job_id;
    END IF;
    IF _job_id IS NULL THEN
        RAISE 'Job was not found or not in "doing" or "todo" status (job id: %)', job_id;
    END IF;
END;
$$;

CREATE FUNCTION procrastinate_cancel_job_v1(job_id bigint, abort boolean, delete_job boolean)
    RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    _job_id bigint;
BEGIN
    IF delete_job THEN
        DELETE FROM procrastinate_jobs
        WHERE id = job_id AND status = 'todo'
        RETURNING id INTO _job_id;
    END IF;
    IF _job_id IS NULL THEN
        IF abort THEN
            UPDATE procrastinate_jobs
            SET abort_requested = true,
                status = CASE status
                    WHEN 'todo' THEN 'cancelled'::procrastinate_job_status ELSE status
                END
            WHERE id = job_id AND status IN ('todo', 'doing')
            RETURNING id INTO _job_id;
        ELSE
            UPDATE procrastinate_jobs
            SET status = 'cancelled'::procrastinate_job_status
            WHERE id = job_id AND status = 'todo'
            RETURNING id INTO _job_id;
        END IF;
    END IF;
    RETURN _job_id;
END;
$$;

CREATE FUNCTION procrastinate_retry_job_v1(
    job_id bigint,
    retry_at timestamp with time zone,
    new_priority integer,
    new_queue_name character varying,
    new_lock character varying
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _job_id bigint;
    _abort_requested boolean;
BEGIN
    SELECT abort_requested FROM procrastinate_jobs
    WHERE id = job_id AND status = 'doing'
    FOR UPDATE
    INTO _abort_requested;
    IF _abort_requested THEN
        UPDATE procrastinate_jobs
        SET status = 'failed'::procrastinate_job_status
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = 'todo'::procrastinate_job_status,
            attempts = attempts + 1,
            scheduled_at = retry_at,
            priority = COALESCE(new_priority, priority),
            queue_name = COALESCE(new_queue_name, queue_name),
            lock = COALESCE(new_lock, lock)
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    END IF;

    IF _job_id IS NULL THEN
        RAISE 'Job was not found or not in "doing" status (job id: %)', job_id;
    END IF;
END;
$$;

CREATE FUNCTION procrastinate_retry_job_v2(
    job_id bigint,
    retry_at timestamp with time zone,
    new_priority integer,
    new_queue_name character varying,
    new_lock character varying
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _job_id bigint;
    _abort_requested boolean;
    _current_status procrastinate_job_status;
BEGIN
    SELECT status, abort_requested FROM procrastinate_jobs
    WHERE id = job_id AND status IN ('doing', 'failed')
    FOR UPDATE
    INTO _current_status, _abort_requested;
    IF _current_status = 'doing' AND _abort_requested THEN
        UPDATE procrastinate_jobs
        SET status = 'failed'::procrastinate_job_status
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = 'todo'::procrastinate_job_status,
            attempts = attempts + 1,
            scheduled_at = retry_at,
            priority = COALESCE(new_priority, priority),
            queue_name = COALESCE(new_queue_name, queue_name),
            lock = COALESCE(new_lock, lock)
        WHERE id = job_id AND status IN ('doing', 'failed')
        RETURNING id INTO _job_id;
    END IF;

    IF _job_id IS NULL THEN
        RAISE 'Job was not found or has an invalid status to retry (job id: %)', job_id;
    END IF;

END;
$$;

CREATE FUNCTION procrastinate_notify_queue_job_inserted_v1()
    RETURNS trigger
    LANGUAGE plpgsql
AS $$
DECLARE
    payload TEXT;
BEGIN
    SELECT json_build_object('type', 'job_inserted', 'job_id', NEW.id)::text INTO payload;
	PERFORM pg_notify('procrastinate_queue_v1#' || NEW.queue_name, payload);
	PERFORM pg_notify('procrastinate_any_queue_v1', payload);
	RETURN NEW;
END;
$$;

CREATE FUNCTION procrastinate_notify_queue_abort_job_v1()
RETURNS trigger
    LANGUAGE plpgsql
AS $$
DECLARE
    payload TEXT;
BEGIN
    SELECT json_build_object('type', 'abort_job_requested', 'job_id', NEW.id)::text INTO payload;
	PERFORM pg_notify('procrastinate_queue_v1#' || NEW.queue_name, payload);
	PERFORM pg_notify('procrastinate_any_queue_v1', payload);
	RETURN NEW;
END;
$$;

CREATE FUNCTION procrastinate_trigger_function_status_events_insert_v1()
    RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type)
        VALUES (NEW.id, 'deferred'::procrastinate_job_event_type);
	RETURN NEW;
END;
$$;

CREATE FUNCTION procrastinate_trigger_function_status_events_update_v1()
    RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    WITH t AS (
        SELECT CASE
            WHEN OLD.status = 'todo'::procrastinate_job_status
                AND NEW.status = 'doing'::procrastinate_job_status
                THEN 'started'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'todo'::procrastinate_job_status
                THEN 'deferred_for_retry'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'failed'::procrastinate_job_status
                THEN 'failed'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'succeeded'::procrastinate_job_status
                THEN 'succeeded'::procrastinate_job_event_type
            WHEN OLD.status = 'todo'::procrastinate_job_status
                AND (
                    NEW.status = 'cancelled'::procrastinate_job_status
                    OR NEW.status = 'failed'::procrastinate_job_status
                    OR NEW.status = 'succeeded'::procrastinate_job_status
                )
                THEN 'cancelled'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'aborted'::procrastinate_job_status
                THEN 'aborted'::procrastinate_job_event_type
            WHEN OLD.status = 'failed'::procrastinate_job_status
                AND NEW.status = 'todo'::procrastinate_job_status
                THEN 'retried'::procrastinate_job_event_type
            ELSE NULL
        END as event_type
    )
    INSERT INTO procrastinate_events(job_id, type)
        SELECT NEW.id, t.event_type
        FROM t
        WHERE t.event_type IS NOT NULL;
	RETURN NEW;
END;
$$;

CREATE FUNCTION procrastinate_trigger_function_scheduled_events_v1()
    RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type, at)
        VALUES (NEW.id, 'scheduled'::procrastinate_job_event_type, NEW.scheduled_at);

	RETURN NEW;
END;
$$;

CREATE FUNCTION procrastinate_trigger_abort_requested_events_procedure_v1()
    RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type)
        VALUES (NEW.id, 'abort_requested'::procrastinate_job_event_type);
    RETURN NEW;
END;
$$;

CREATE FUNCTION procrastinate_unlink_periodic_defers_v1()
    RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE procrastinate_periodic_defers
    SET job_id = NULL
    WHERE job_id = OLD.id;
    RETURN OLD;
END;
$$;

CREATE FUNCTION procrastinate_register_worker_v1()
    RETURNS TABLE(worker_id bigint)
    LANGUAGE plpgsql
AS $$
BEGIN
    RETURN QUERY
    INSERT INTO procrastinate_workers DEFAULT VALUES
    RETURNING procrastinate_workers.id;
END;
$$;

CREATE FUNCTION procrastinate_unregister_worker_v1(worker_id bigint)
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM procrastinate_workers
    WHERE id = worker_id;
END;
$$;

CREATE FUNCTION procrastinate_update_heartbeat_v1(worker_id bigint)
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE procrastinate_workers
    SET last_heartbeat = NOW()
    WHERE id = worker_id;
END;
$$;

CREATE FUNCTION procrastinate_prune_stalled_workers_v1(seconds_since_heartbeat float)
    RETURNS TABLE(worker_id bigint)
    LANGUAGE plpgsql
AS $$
BEGIN
    RETURN QUERY
    DELETE FROM procrastinate_workers
    WHERE last_heartbeat < NOW() - (seconds_since_heartbeat || 'SECOND')::INTERVAL
    RETURNING procrastinate_workers.id;
END;
$$;

-- Triggers

CREATE TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1
    AFTER INSERT ON procrastinate_jobs
    FOR EACH ROW WHEN ((new.status = 'todo'::procrastinate_job_status))
    EXECUTE PROCEDURE procrastinate_notify_queue_job_inserted_v1();

CREATE TRIGGER procrastinate_jobs_notify_queue_job_aborted_v1
    AFTER UPDATE OF abort_requested ON procrastinate_jobs
    FOR EACH ROW WHEN ((old.abort_requested = false AND new.abort_requested = true AND new.status = 'doing'::procrastinate_job_status))
    EXECUTE PROCEDURE procrastinate_notify_queue_abort_job_v1();

CREATE TRIGGER procrastinate_trigger_status_events_update_v1
    AFTER UPDATE OF status ON procrastinate_jobs
    FOR EACH ROW
    EXECUTE PROCEDURE procrastinate_trigger_function_status_events_update_v1();

CREATE TRIGGER procrastinate_trigger_status_events_insert_v1
    AFTER INSERT ON procrastinate_jobs
    FOR EACH ROW WHEN ((new.status = 'todo'::procrastinate_job_status))
    EXECUTE PROCEDURE procrastinate_trigger_function_status_events_insert_v1();

CREATE TRIGGER procrastinate_trigger_scheduled_events_v1
    AFTER UPDATE OR INSERT ON procrastinate_jobs
    FOR EACH ROW WHEN ((new.scheduled_at IS NOT NULL AND new.status = 'todo'::procrastinate_job_status))
    EXECUTE PROCEDURE procrastinate_trigger_function_scheduled_events_v1();

CREATE TRIGGER procrastinate_trigger_abort_requested_events_v1
    AFTER UPDATE OF abort_requested ON procrastinate_jobs
    FOR EACH ROW WHEN ((new.abort_requested = true))
    EXECUTE PROCEDURE procrastinate_trigger_abort_requested_events_procedure_v1();

CREATE TRIGGER procrastinate_trigger_delete_jobs_v1
    BEFORE DELETE ON procrastinate_jobs
    FOR EACH ROW EXECUTE PROCEDURE procrastinate_unlink_periodic_defers_v1();
SET LOCAL search_path TO DEFAULT;

-- CREATE TRIGGER needs the function. The files in code/ replace these bodies in the same transaction.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{reject_modification,reject_direct_write,reject_foreign_write,reject_unlogged_deletion,
                            reject_deletion_by_parent,reject_truncate_of_queue,reject_status_change,reject_event_update,
                            reject_far_schedule,unlink_deleted_workers,check_guarded_changes}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION pgaudit.%I() RETURNS trigger LANGUAGE plpgsql AS %L', name,
                       'BEGIN RAISE EXCEPTION ''pgaudit is not completely installed: run pgaudit migrate''; END');
    END LOOP;
END $$;

-- Settings that every writer and worker must share.

CREATE TABLE pgaudit.settings (
    singleton           boolean  PRIMARY KEY DEFAULT true CHECK (singleton),
    max_event_bytes     integer  NOT NULL DEFAULT 49152 CHECK (max_event_bytes BETWEEN 16384 AND 65535),
    -- 160 x 65,536: so tiles of 256 and of 65,536 leaves end where a partition ends.
    partition_size      bigint   NOT NULL DEFAULT 10485760 CHECK (partition_size >= 256 AND partition_size % 256 = 0),
    job_error_retention interval NOT NULL DEFAULT '90 days' CHECK (job_error_retention >= interval '1 day')
);
INSERT INTO pgaudit.settings DEFAULT VALUES;

-- Changes to Procrastinate's tables and functions, and the queue of audit jobs.

-- Procrastinate's functions name tables without a schema. A pinned search_path makes them independent of the caller's,
-- and keeps a caller from shadowing the tables with its own.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN SELECT oid FROM pg_proc
                     WHERE pronamespace = 'pgaudit'::regnamespace AND proname LIKE 'procrastinate%' LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pgaudit, pg_temp', function);
    END LOOP;
END $$;

-- Audit jobs send no NOTIFY: it holds a cluster-wide lock through the commit, and reduces 16 writers to 0.07 of their
-- rate when a commit takes 2 ms. So they are in a child table, which has none of the parent's triggers. The parent
-- forbids them, so that every scan for audit jobs reads one table.
ALTER TABLE pgaudit.procrastinate_jobs ADD CONSTRAINT no_audit_jobs CHECK (queue_name <> 'audit') NO INHERIT;

-- A child table does not inherit the parent's foreign key: this trigger clears worker_id when a worker is deleted.
CREATE TRIGGER unlink_deleted_workers
    AFTER DELETE ON pgaudit.procrastinate_workers REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.unlink_deleted_workers();

-- NO INHERIT, because Postgres compiles a CHECK for each INSERT, and record() inserts no job for which it would fail.
ALTER TABLE pgaudit.procrastinate_jobs DROP CONSTRAINT check_not_todo_abort_requested;
ALTER TABLE pgaudit.procrastinate_jobs ADD CONSTRAINT check_not_todo_abort_requested
    CHECK (NOT (status = 'todo' AND abort_requested)) NO INHERIT;

-- scheduled_at is NULL while a job is fresh. A job that was given back to the queue is due at scheduled_at.
CREATE TABLE pgaudit.audit_jobs (
    event       jsonb   NOT NULL,
    leaf_hash   bytea   NOT NULL,
    event_bytes integer NOT NULL,
    stalls      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (id)
) INHERITS (pgaudit.procrastinate_jobs);
ALTER TABLE pgaudit.audit_jobs
    ALTER queue_name SET DEFAULT 'audit',
    ALTER task_name SET DEFAULT 'pgaudit.persist';

-- Fresh jobs are found by their id. This index has all others: running, failed and, by scheduled_at, waiting ones.
CREATE INDEX audit_jobs_not_fresh_idx ON pgaudit.audit_jobs (status, scheduled_at)
    WHERE status <> 'todo' OR scheduled_at IS NOT NULL;

-- Failed jobs are listed by id, page by page, and nothing is paid for it until a job fails.
CREATE INDEX audit_jobs_failed_idx ON pgaudit.audit_jobs (id) WHERE status = 'failed';

-- The queue is small and changes all the time: vacuum it after a number of rows, not after a share of the table.
ALTER TABLE pgaudit.audit_jobs SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);

-- A worker's own limits, by which views, health and other workers decide whether it is stalled. Only the worker itself
-- knows its token.
ALTER TABLE pgaudit.procrastinate_workers
    ADD token         uuid     NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    ADD stalled_after interval NOT NULL DEFAULT '30 s',
    ADD max_stalls    integer  NOT NULL DEFAULT 5;
ALTER TABLE pgaudit.procrastinate_workers SET (fillfactor = 50);

-- Where the scan for fresh jobs begins; the highest row is in force. Without it the scan would read the rows of all
-- finished jobs that vacuum cannot remove yet: those of hours, if a snapshot is open for hours.
CREATE TABLE pgaudit.queue_watermark (
    low_watermark bigint PRIMARY KEY,
    max_issued_id bigint NOT NULL,
    safe_xid      xid8   NOT NULL,
    passed_xids   xid8[] NOT NULL DEFAULT '{}'
);
INSERT INTO pgaudit.queue_watermark (low_watermark, max_issued_id, safe_xid) VALUES (0, 0, '0');

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
    failed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX job_error_job_idx ON pgaudit.job_error (job_id, id);
CREATE INDEX job_error_failed_at_idx ON pgaudit.job_error (failed_at);

CREATE TABLE pgaudit.acknowledged_jobs (
    job_id          bigint      NOT NULL,
    event           jsonb       NOT NULL,
    leaf_hash       bytea       NOT NULL,
    attempts        integer     NOT NULL,
    error_class     text,
    error_message   text,
    reason          text        NOT NULL,
    acknowledged_by text        NOT NULL,
    acknowledged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, leaf_hash)  -- after a TRUNCATE of the queue, ids may begin at 1 again
);

-- The audit log, and the tables that belong to it.

-- COLLATE "C": an upgrade of the operating system's collations must not break an index.
CREATE TABLE pgaudit.audit_log (
    index          bigint      NOT NULL PRIMARY KEY,
    event_id       uuid        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    persisted_at   timestamptz NOT NULL,
    action         text        NOT NULL COLLATE "C",
    outcome        text        NOT NULL COLLATE "C",
    actor_type     text        COLLATE "C",
    actor_id       text        COLLATE "C",
    target_type    text        COLLATE "C",
    target_id      text        COLLATE "C",
    tenant         text        COLLATE "C",
    event          jsonb       NOT NULL,
    leaf_hash      bytea       NOT NULL,
    conflicts_with bigint
) PARTITION BY RANGE (index);
CREATE INDEX audit_log_target_idx ON pgaudit.audit_log (target_type, target_id, index);
CREATE INDEX audit_log_actor_idx ON pgaudit.audit_log (actor_type, actor_id, index);
CREATE INDEX audit_log_action_idx ON pgaudit.audit_log (action, index);
CREATE INDEX audit_log_tenant_idx ON pgaudit.audit_log (tenant, index) WHERE tenant IS NOT NULL;
-- Failures and denials are few and looked for often.
CREATE INDEX audit_log_outcome_idx ON pgaudit.audit_log (outcome, index) WHERE outcome <> 'success';

-- Every event id that was ever appended. Its primary key makes sure that an event is stored once, even if the partition
-- with the event was dropped.
CREATE TABLE pgaudit.event_key (
    event_id uuid   PRIMARY KEY,
    index    bigint NOT NULL
);

-- The second and further targets of events; the first is in audit_log.
CREATE TABLE pgaudit.event_target (
    type  text   NOT NULL COLLATE "C",
    id    text   NOT NULL COLLATE "C",
    index bigint NOT NULL,
    PRIMARY KEY (type, id, index)
);

-- Events that were recorded again with the same content: noted here, not stored again.
CREATE TABLE pgaudit.event_sighting (
    id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    event_id    uuid        NOT NULL,
    index       bigint      NOT NULL,
    xid         xid8,
    recorded_by text        COLLATE "C",
    recorded_at timestamptz NOT NULL,
    leaf_hash   bytea       NOT NULL
);
CREATE INDEX event_sighting_event_idx ON pgaudit.event_sighting (event_id);

-- Events that were recorded with an id that the log had already, and other content.
CREATE TABLE pgaudit.event_conflict (
    index          bigint PRIMARY KEY,
    event_id       uuid        NOT NULL,
    conflicts_with bigint      NOT NULL,
    content_hash   bytea       NOT NULL,
    recorded_at    timestamptz NOT NULL
);
CREATE INDEX event_conflict_event_idx ON pgaudit.event_conflict (event_id, content_hash);
CREATE INDEX event_conflict_recorded_idx ON pgaudit.event_conflict (recorded_at);

-- One row for each transaction that appended, merged by minute after a day and then kept: the history of throughput,
-- and the way to find an index by time. Appends only insert: while a snapshot is open for hours, vacuum could not
-- remove the versions of an updated counter, and each append would read all of them.
CREATE TABLE pgaudit.batch (
    first_index     bigint PRIMARY KEY,
    count           bigint      NOT NULL CHECK (count > 0 AND first_index >= 0 AND first_index + count < 1::bigint << 62),
    batches         integer     NOT NULL DEFAULT 1,
    persisted_at    timestamptz NOT NULL,
    oldest_recorded timestamptz NOT NULL,
    newest_recorded timestamptz NOT NULL,
    recorded_until  timestamptz NOT NULL,
    late            boolean     NOT NULL,
    worker_id       bigint,
    lag_buckets     bigint[],
    lag_total       interval
);
CREATE INDEX batch_persisted_idx ON pgaudit.batch (persisted_at);
CREATE INDEX batch_recorded_idx ON pgaudit.batch (recorded_until, first_index);
CREATE INDEX batch_late_idx ON pgaudit.batch (oldest_recorded) WHERE late;

CREATE TABLE pgaudit.log_lock (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton));
INSERT INTO pgaudit.log_lock DEFAULT VALUES;

-- Searches that users of the dashboard keep. They have no meaning for the log.

CREATE TABLE pgaudit.saved_search (
    owner      text        NOT NULL COLLATE "C" CHECK (length(owner) BETWEEN 1 AND 500),
    name       text        NOT NULL COLLATE "C" CHECK (length(name) BETWEEN 1 AND 200),
    query      text        NOT NULL COLLATE "C" CHECK (length(query) <= 10000),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (owner, name)
);

-- Tables of the application whose changes are captured as events, or guarded: not changed without an event.

-- Columns are named; known_columns has their numbers as of the last generation of the functions, so that a column that
-- has been renamed since is found again.
CREATE TABLE pgaudit.captured_table (
    id            integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    relation      regclass    NOT NULL UNIQUE,
    target_type   text        NOT NULL,
    key_columns   text[]      NOT NULL,
    action        text        NOT NULL,
    columns       text[],
    excluded      text[]      NOT NULL DEFAULT '{}',
    masked        text[]      NOT NULL DEFAULT '{}',
    condition     text,
    renamed_columns jsonb     NOT NULL DEFAULT '{}',
    known_columns jsonb       NOT NULL DEFAULT '{}',
    added_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    added_by      text        NOT NULL DEFAULT session_user,
    paused_at     timestamptz,
    paused_by     text
);

-- actions has a pattern for each operation: {"insert": "claim.*", "update": "claim.*", "delete": "claim.deleted"}.
CREATE TABLE pgaudit.guarded_table (
    id            integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    relation      regclass    NOT NULL UNIQUE,
    target_type   text        NOT NULL,
    key_columns   text[]      NOT NULL,
    action        text        NOT NULL,
    actions       jsonb       NOT NULL,
    on_missing    text        NOT NULL CHECK (on_missing IN ('abort', 'capture', 'warn')),
    with_changes  boolean     NOT NULL DEFAULT false,
    columns       text[],
    excluded      text[]      NOT NULL DEFAULT '{}',
    masked        text[]      NOT NULL DEFAULT '{}',
    condition     text,
    renamed_columns jsonb     NOT NULL DEFAULT '{}',
    known_columns jsonb       NOT NULL DEFAULT '{}',
    added_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    added_by      text        NOT NULL DEFAULT session_user,
    paused_at     timestamptz,
    paused_by     text
);

-- What a transaction has changed in guarded tables: written by its statements, checked and deleted when it commits. Rows
-- outlive no transaction, so the table needs no WAL.
CREATE UNLOGGED TABLE pgaudit.guarded_change (
    xid       xid8    NOT NULL DEFAULT pg_current_xact_id(),
    number    bigint  NOT NULL GENERATED ALWAYS AS IDENTITY,
    guard     integer NOT NULL,
    operation text    NOT NULL,
    keys      text[]  NOT NULL,
    new_keys  text[]  NOT NULL,
    events    text[],
    PRIMARY KEY (xid, number)
);
ALTER TABLE pgaudit.guarded_change SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0
);

-- Changes without an event that a guard with on_missing = warn has let pass.
CREATE TABLE pgaudit.unrecorded_change (
    id               bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    relation         regclass    NOT NULL,
    operation        text        NOT NULL,
    count            bigint      NOT NULL,
    targets          text[]      NOT NULL,
    xid              xid8        NOT NULL,
    recorded_by      text        NOT NULL,
    application_name text        NOT NULL,
    found_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    told_at          timestamptz
);
-- A transaction that changed guarded rows is checked when it commits.
CREATE CONSTRAINT TRIGGER check_guarded_changes AFTER INSERT ON pgaudit.guarded_change DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION pgaudit.check_guarded_changes();
ALTER TABLE pgaudit.guarded_change ENABLE ALWAYS TRIGGER check_guarded_changes;

CREATE INDEX unrecorded_change_found_at_idx ON pgaudit.unrecorded_change (found_at);
CREATE INDEX unrecorded_change_untold_idx ON pgaudit.unrecorded_change (id) WHERE told_at IS NULL;

-- The Merkle tree over the log, and what was signed of it.

-- Complete tiles, 256 hashes each. Level 0 has the leaf hashes of the log by index, level 1 the roots of the tiles of
-- level 0, and so on. EXTERNAL: hashes cannot be compressed.
CREATE TABLE pgaudit.tile (
    level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    number bigint   NOT NULL CHECK (number >= 0),
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    root   bytea    NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (level, number)
);
ALTER TABLE pgaudit.tile ALTER hashes SET STORAGE EXTERNAL;

-- Signed notes, each of a larger tree than the one before.
CREATE TABLE pgaudit.checkpoint (
    size      bigint      PRIMARY KEY CHECK (size > 0),
    note      text        NOT NULL CHECK (octet_length(note) <= 100000),
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Results of verifying the log: a range of indexes, and what was found. Only a clean result has a level.
CREATE TABLE pgaudit.verification (
    id          bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    first_index bigint      NOT NULL CHECK (first_index >= 0),
    end_index   bigint      NOT NULL CHECK (end_index >= first_index),
    whole       boolean     NOT NULL,  -- all that the log has: from its first partition to its end
    level       text        CHECK (level IN ('nothing', 'hashed', 'sealed', 'signed', 'anchored', 'witnessed')),
    findings    bigint      NOT NULL CHECK (findings >= 0),
    found       jsonb       NOT NULL CHECK (jsonb_typeof(found) = 'array' AND octet_length(found::text) <= 100000
                                            AND NOT found @? 'strict $[*] ? (@.type() <> "object")'),
    verified_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    verified_by text        NOT NULL DEFAULT session_user,
    CHECK ((findings = 0) = (level IS NOT NULL)),
    CHECK ((findings = 0) = (found = '[]'))
);
CREATE INDEX verification_failed_idx ON pgaudit.verification (id) WHERE findings > 0;

-- Why the log is not sealed at the moment, as the process that should seal it says.
CREATE TABLE pgaudit.sealing_state (
    singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    sealed_at     timestamptz,
    refused       text CHECK (length(refused) <= 2000),
    refused_since timestamptz,
    heartbeat_at  timestamptz,
    verifying_at  timestamptz
);
INSERT INTO pgaudit.sealing_state DEFAULT VALUES;

-- Anchors: places outside the database that checkpoints are sent to.

-- How far each anchor is, and when it is tried again. Its name is its URL without secrets.
CREATE TABLE pgaudit.anchor (
    name            text        PRIMARY KEY CHECK (char_length(name) BETWEEN 1 AND 2000),
    size            bigint      NOT NULL DEFAULT 0 CHECK (size >= 0),
    anchored_at     timestamptz,
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    failed_at       timestamptz,
    error           text        CHECK (char_length(error) <= 1000),
    next_attempt_at timestamptz NOT NULL DEFAULT '-infinity'
);

-- What an anchor answered, if that proves something by itself: time stamps, and signatures of witnesses. Receipts stay
-- when an anchor is no longer in use.
CREATE TABLE pgaudit.anchor_receipt (
    name        text        NOT NULL,
    size        bigint      NOT NULL CHECK (size > 0),
    receipt     text        NOT NULL CHECK (octet_length(receipt) <= 100000),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, size)
);

-- The index of targets: for each closed day and year, which targets occur at which indexes, as a sorted Merkle tree.

-- One row for each closed period. Its root is also in an event, audit.targets_sealed, which has the id event_id.
CREATE TABLE pgaudit.target_period (
    period      text        PRIMARY KEY COLLATE "C" CHECK (period ~ '^[0-9]{4}(-[0-9]{2}-[0-9]{2})?$'),
    first_index bigint      NOT NULL CHECK (first_index >= 0),
    end_index   bigint      NOT NULL CHECK (end_index >= first_index),
    targets     bigint      NOT NULL CHECK (targets >= 0),
    root        bytea       NOT NULL CHECK (octet_length(root) = 32),
    event_id    uuid        NOT NULL,
    closed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The leaves of these trees in ascending order of their keys, 256 in a row. EXTERNAL: hashes cannot be compressed.
CREATE TABLE pgaudit.target_tile (
    period    text    NOT NULL COLLATE "C",
    first_key bytea   NOT NULL CHECK (octet_length(first_key) = 32),
    number    integer NOT NULL CHECK (number >= 0),
    keys      bytea   NOT NULL CHECK (octet_length(keys) % 32 = 0) CHECK (octet_length(keys) BETWEEN 32 AND 8192),
    digests   bytea   NOT NULL CHECK (octet_length(digests) = octet_length(keys)),
    root      bytea   NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (period, number)
);
CREATE UNIQUE INDEX target_tile_key_idx ON pgaudit.target_tile (period, first_key);
ALTER TABLE pgaudit.target_tile ALTER keys SET STORAGE EXTERNAL, ALTER digests SET STORAGE EXTERNAL;

CREATE TABLE pgaudit.target_lock (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton));
INSERT INTO pgaudit.target_lock DEFAULT VALUES;

-- Streams: what follows the log by its index. A destination is sent the events, a processor gets a job for each of them,
-- and a cursor is read by the application.

CREATE TABLE pgaudit.stream (
    name          text        NOT NULL PRIMARY KEY COLLATE "C",
    kind          text        NOT NULL COLLATE "C",
    url           text,
    query         text        NOT NULL DEFAULT '',
    form          text        NOT NULL DEFAULT 'native' COLLATE "C",
    ordered       boolean     NOT NULL DEFAULT false,
    allow_private boolean     NOT NULL DEFAULT false,
    added_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    added_by      text        NOT NULL DEFAULT session_user,
    paused_at     timestamptz,
    paused_by     text,
    pause_kind    text        COLLATE "C",
    pause_reason  text,
    CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$' OR kind = 'cursor'),
    CHECK (kind <> 'cursor' OR name ~ '^cursor:.+:[a-z0-9][a-z0-9_.-]{0,62}$'),  -- with its role: see cursor_key
    CHECK (kind = ANY ('{destination,processor,cursor}')),
    CHECK (pause_kind = ANY ('{asked,refused,failing,mismatch}'))
);

-- How far a stream is. In a table of its own: a worker locks its row while it sends, and a pause must not wait for that.
CREATE TABLE pgaudit.stream_position (
    name            text        NOT NULL PRIMARY KEY COLLATE "C" REFERENCES pgaudit.stream ON DELETE CASCADE,
    next_index      bigint      NOT NULL CHECK (next_index >= 0),
    last_index      bigint,  -- the last event that was accepted, and its hash
    last_hash       bytea,
    delivered       bigint      NOT NULL DEFAULT 0,
    delivered_at    timestamptz,
    attempts        integer     NOT NULL DEFAULT 0,
    failing_since   timestamptz,
    next_attempt_at timestamptz NOT NULL DEFAULT '-infinity',
    error           text,
    started_at      timestamptz NOT NULL DEFAULT clock_timestamp()  -- when it was added, or set back last
);

-- What was sent, or could not be. Chunks of one minute that went well are one row, which is changed in place: no index
-- has the columns that change.
CREATE TABLE pgaudit.delivery (
    id         bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    stream     text        NOT NULL COLLATE "C",
    status     text        NOT NULL COLLATE "C",
    from_index bigint      NOT NULL,
    to_index   bigint      NOT NULL,
    events     bigint      NOT NULL,
    parked     bigint      NOT NULL DEFAULT 0,
    bytes      bigint      NOT NULL DEFAULT 0,
    chunks     integer     NOT NULL DEFAULT 1,
    seconds    double precision NOT NULL DEFAULT extract(epoch FROM clock_timestamp() - transaction_timestamp()),
    attempts   integer     NOT NULL DEFAULT 1,
    error      text,
    started_at timestamptz NOT NULL DEFAULT transaction_timestamp(),
    ended_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (status = ANY ('{delivered,parked,failed,skipped,discarded,rewound,replayed}'))
);
CREATE INDEX delivery_stream_idx ON pgaudit.delivery (stream, id);
CREATE INDEX delivery_started_idx ON pgaudit.delivery (started_at);
CREATE INDEX delivery_failed_idx ON pgaudit.delivery (stream, started_at) WHERE status = 'failed';

-- Events that a destination has refused for good, and those that wait behind one of the same target.
CREATE TABLE pgaudit.parked (
    stream    text        NOT NULL COLLATE "C",
    index     bigint      NOT NULL,
    target    text        COLLATE "C",
    behind    bigint,
    attempts  integer     NOT NULL DEFAULT 1,
    error     text,
    parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retry_at  timestamptz,
    PRIMARY KEY (stream, index)
);
CREATE INDEX parked_target_idx ON pgaudit.parked (stream, target, index) WHERE target IS NOT NULL;
CREATE INDEX parked_due_idx ON pgaudit.parked (stream, index) WHERE retry_at IS NOT NULL;

-- A range that is sent again, while there is nothing newer to send. The position stays where it is.
CREATE TABLE pgaudit.stream_replay (
    stream          text        NOT NULL PRIMARY KEY COLLATE "C" REFERENCES pgaudit.stream ON DELETE CASCADE,
    from_index      bigint      NOT NULL,
    to_index        bigint      NOT NULL,
    next_index      bigint      NOT NULL,
    events          bigint      NOT NULL DEFAULT 0,
    asked_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    asked_by        text        NOT NULL,
    attempts        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT '-infinity',
    error           text,
    CHECK (from_index >= 0 AND next_index BETWEEN from_index AND to_index)
);

-- Processors: functions of the application that get a job for each event that they ask for. Each follows the log as a
-- stream of kind 'processor'.

-- What a processor's code says of it, and how its jobs end. A worker locks its row to take a job, if it has limits.
CREATE TABLE pgaudit.processor (
    name        text        NOT NULL PRIMARY KEY COLLATE "C" REFERENCES pgaudit.stream ON DELETE CASCADE,
    concurrency integer     CHECK (concurrency > 0),
    rate        double precision CHECK (rate > 0),
    break_after integer     CHECK (break_after > 0),
    known_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_at     timestamptz NOT NULL DEFAULT '-infinity',  -- when the rate allows another job
    probe_at    timestamptz NOT NULL DEFAULT '-infinity',  -- when one is tried while it is paused as failing
    failures    integer     NOT NULL DEFAULT 0,
    succeeded   bigint      NOT NULL DEFAULT 0,
    discarded   bigint      NOT NULL DEFAULT 0,
    per_second  double precision NOT NULL DEFAULT 0,       -- as it was at ended_at: it decays by 1/e in five minutes
    ended_at    timestamptz,
    error       text
);
ALTER TABLE pgaudit.processor SET (fillfactor = 50);

-- Their jobs: Procrastinate's, in a child table for the reasons that audit jobs have one. Each has a scheduled_at.
CREATE TABLE pgaudit.processor_jobs (
    index      bigint  NOT NULL,
    stalls     integer NOT NULL DEFAULT 0,
    started_at timestamptz,
    PRIMARY KEY (id),
    UNIQUE (task_name, index)
) INHERITS (pgaudit.procrastinate_jobs);
ALTER TABLE pgaudit.processor_jobs
    ALTER queue_name SET DEFAULT 'audit_processors',
    ALTER scheduled_at SET DEFAULT clock_timestamp(), ALTER scheduled_at SET NOT NULL;
ALTER TABLE pgaudit.procrastinate_jobs ADD CONSTRAINT no_processor_jobs CHECK (queue_name <> 'audit_processors') NO INHERIT;
CREATE INDEX processor_jobs_due_idx ON pgaudit.processor_jobs (task_name, scheduled_at, id) WHERE status = 'todo';
CREATE INDEX processor_jobs_running_idx ON pgaudit.processor_jobs (task_name) WHERE status = 'doing';
CREATE INDEX processor_jobs_worker_idx ON pgaudit.processor_jobs (worker_id) WHERE status = 'doing';
CREATE INDEX processor_jobs_failed_idx ON pgaudit.processor_jobs (task_name, id) WHERE status = 'failed';
ALTER TABLE pgaudit.processor_jobs SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0
);

-- Ranges of the log that a processor gets once more, or for the first time: they lie behind its position.
CREATE TABLE pgaudit.processor_backfill (
    id         bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    processor  text        NOT NULL COLLATE "C" REFERENCES pgaudit.processor ON DELETE CASCADE,
    from_index bigint      NOT NULL CHECK (from_index >= 0),
    to_index   bigint      NOT NULL CHECK (to_index >= from_index),
    next_index bigint      NOT NULL,
    jobs       bigint      NOT NULL DEFAULT 0,
    added_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    added_by   text        NOT NULL DEFAULT session_user,
    ended_at   timestamptz
);
CREATE INDEX processor_backfill_open_idx ON pgaudit.processor_backfill (processor, id) WHERE ended_at IS NULL;

-- Guards. ENABLE ALWAYS, so that they also fire under session_replication_role = replica.

-- The log: rows are only inserted, and only by append_rows().
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON pgaudit.audit_log
    FOR EACH ROW EXECUTE FUNCTION pgaudit.reject_modification();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON pgaudit.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_modification();
CREATE TRIGGER append_only_insert BEFORE INSERT ON pgaudit.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_direct_write();
ALTER TABLE pgaudit.audit_log ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER append_only_truncate,
    ENABLE ALWAYS TRIGGER append_only_insert;

-- Tables that only pgaudit's functions can write to.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{event_key,event_target,event_sighting,event_conflict,acknowledged_jobs,batch,
                            log_lock,queue_watermark,tile,checkpoint,verification,sealing_state,
                            anchor_receipt,target_period,target_tile,target_lock,
                            guarded_change,unrecorded_change}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER reject_direct_write BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgaudit.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_direct_write()', name);
        EXECUTE format('ALTER TABLE pgaudit.%I ENABLE ALWAYS TRIGGER reject_direct_write', name);
    END LOOP;
END $$;

-- Tables that the owner can also change by hand.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{settings,job_error,procrastinate_workers,saved_search,schema_code,anchor,captured_table,
                            guarded_table,stream,stream_position,stream_replay,delivery,parked,processor,
                            processor_jobs,processor_backfill}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER reject_foreign_write BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgaudit.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_foreign_write()', name);
        EXECUTE format('ALTER TABLE pgaudit.%I ENABLE ALWAYS TRIGGER reject_foreign_write', name);
    END LOOP;
END $$;

-- A job stays in the queue, unchanged, until its event is in the log or acknowledged.
CREATE TRIGGER reject_unlogged_deletion AFTER DELETE ON pgaudit.audit_jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_unlogged_deletion();
CREATE TRIGGER reject_truncate BEFORE TRUNCATE ON pgaudit.audit_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_truncate_of_queue();
CREATE TRIGGER reject_foreign_write BEFORE UPDATE ON pgaudit.audit_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_foreign_write();
CREATE TRIGGER reject_status_change BEFORE UPDATE OF status, queue_name, task_name ON pgaudit.audit_jobs FOR EACH ROW
    WHEN (NEW.status NOT IN ('todo', 'doing', 'failed') OR NEW.queue_name <> 'audit' OR NEW.task_name <> OLD.task_name)
    EXECUTE FUNCTION pgaudit.reject_status_change();
CREATE TRIGGER reject_event_update BEFORE UPDATE OF id, event, leaf_hash, event_bytes ON pgaudit.audit_jobs FOR EACH ROW
    WHEN (NEW.id <> OLD.id OR NEW.event <> OLD.event OR NEW.leaf_hash <> OLD.leaf_hash OR NEW.event_bytes <> OLD.event_bytes)
    EXECUTE FUNCTION pgaudit.reject_event_update();
CREATE TRIGGER reject_far_schedule BEFORE UPDATE OF scheduled_at ON pgaudit.audit_jobs FOR EACH ROW
    WHEN (NEW.scheduled_at > clock_timestamp() + interval '25 hours')
    EXECUTE FUNCTION pgaudit.reject_far_schedule();
ALTER TABLE pgaudit.audit_jobs ENABLE ALWAYS TRIGGER reject_unlogged_deletion, ENABLE ALWAYS TRIGGER reject_truncate,
    ENABLE ALWAYS TRIGGER reject_foreign_write, ENABLE ALWAYS TRIGGER reject_status_change,
    ENABLE ALWAYS TRIGGER reject_event_update, ENABLE ALWAYS TRIGGER reject_far_schedule;

-- A statement that names the parent fires only the parent's statement triggers.
CREATE TRIGGER reject_deletion_by_parent AFTER DELETE ON pgaudit.procrastinate_jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_deletion_by_parent();
CREATE TRIGGER reject_foreign_write BEFORE UPDATE ON pgaudit.procrastinate_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_foreign_write();
ALTER TABLE pgaudit.procrastinate_jobs ENABLE ALWAYS TRIGGER reject_deletion_by_parent,
    ENABLE ALWAYS TRIGGER reject_foreign_write;

INSERT INTO pgaudit.alembic_version (version_num) VALUES ('0001');

SET LOCAL check_function_bodies = off;

-- schema_state(): returns the installed revision, the checksum of the files in code/, and the version of pgaudit that
-- applied them. `pgaudit grant` lets each of its roles call it.
CREATE OR REPLACE FUNCTION pgaudit.schema_state() RETURNS TABLE (revision text, checksum text, version text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT (SELECT version_num FROM alembic_version), code.checksum, code.version
      FROM (VALUES (1)) AS one_row LEFT JOIN schema_code code ON true
$$;

-- Events: their hashes, the fields that the server adds, and the checks.
-- No backslashes in string literals: their meaning depends on the session's standard_conforming_strings.

-- leaf_hash(event): returns the RFC 6962 leaf hash of the event's canonical text (jsonb orders keys by length, then by
-- bytes). STABLE, because convert_to is: declared IMMUTABLE it would not be inlined, and would cost 50 % more.
CREATE OR REPLACE FUNCTION pgaudit.leaf_hash(event jsonb) RETURNS bytea
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS
$$ SELECT pg_catalog.sha256(pg_catalog.decode('00', 'hex') || pg_catalog.convert_to(event::text, 'UTF8')) $$;

-- with_server_stamps(event): returns the event with the fields that only the server can know. Replaces what the
-- application put into them.
--   recorded_at  the server's clock in UTC. AT TIME ZONE interval, because a session can redefine a named zone.
--   recorded_by  the database role that logged in
--   xid          id of the business transaction
-- VOLATILE, because clock_timestamp is: declared STABLE it would not be inlined.
CREATE OR REPLACE FUNCTION pgaudit.with_server_stamps(event jsonb) RETURNS jsonb
LANGUAGE sql AS $$
    SELECT event || jsonb_build_object(
        'recorded_at', (to_jsonb(clock_timestamp() AT TIME ZONE interval '0') #>> '{}') || 'Z',
        'recorded_by', session_user,
        'xid', pg_current_xact_id()::text)
$$;

-- has_long_number(event): returns whether it contains a number of more than 4,000 digits. jsonb stores 1e131071 in 8
-- bytes and prints 131,072 digits: 8,191 such numbers make a gigabyte of text, which pg_dump cannot read.
-- As one array: jsonb_path_query moves all remaining items for each one that it returns.
CREATE OR REPLACE FUNCTION pgaudit.has_long_number(event jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT EXISTS (SELECT FROM jsonb_array_elements(jsonb_path_query_array(event, '$.** ? (@.type() == "number")')) number
                    WHERE length(number::text) > 4000)
$$;

-- bad_target(targets): returns the position, from 1, of the first target that is_reference() rejects; NULL if none.
CREATE OR REPLACE FUNCTION pgaudit.bad_target(targets jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT min(n)::integer FROM jsonb_array_elements(targets) WITH ORDINALITY AS given (target, n)
     WHERE NOT coalesce(is_reference(target), false)
$$;

-- is_reference(value): returns whether an actor or a target is an object with a type of 1 to 100 and an id of 1 to 500
-- characters.
CREATE OR REPLACE FUNCTION pgaudit.is_reference(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_typeof(value->'type') = 'string' AND length(value->>'type') BETWEEN 1 AND 100
       AND jsonb_typeof(value->'id') = 'string' AND length(value->>'id') BETWEEN 1 AND 500
$$;

-- is_uuid(value): returns whether it is a UUID in lower case. A cast would raise an error that does not name the field.
CREATE OR REPLACE FUNCTION pgaudit.is_uuid(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT value LIKE '________-____-____-____-____________' AND value ~ '^[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+$'
$$;

-- is_iso_time(value): returns whether it is ISO 8601 with an offset, between the years 1 and 9999 in every time zone.
-- Replaces 'Z', because since PostgreSQL 18 a session can give it another meaning. The cast alone would accept 'now',
-- times without a zone, and 24:00:00. The pattern has no counted repetitions, because they take twice as long.
CREATE OR REPLACE FUNCTION pgaudit.is_iso_time(value text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN value ~ ('^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]'
                              '([.][0-9][0-9]?[0-9]?[0-9]?[0-9]?[0-9]?)?(Z|[+-][0-9][0-9]:[0-9][0-9])$')
                     AND substr(value, 12, 2) < '24' AND substr(value, 18, 2) < '60'
                THEN pgaudit.try_timestamptz(replace(value, 'Z', '+00:00')) >= '0001-01-02T00:00:00+00:00'
                 AND pgaudit.try_timestamptz(replace(value, 'Z', '+00:00')) < '9999-12-31T00:00:00+00:00'
           END
$$;

-- may_seal_targets(): returns whether the session's role seals the index of targets, as workers do.
CREATE OR REPLACE FUNCTION pgaudit.may_seal_targets() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.has_function_privilege(
        session_user, 'pgaudit.add_target_period(text, bigint, bigint, bigint, bytea, uuid)', 'EXECUTE')
$$;

-- event_problem(event, content): returns why the event is invalid; NULL if it is valid.
--   event    with the server's stamps
--   content  event::text, computed once for size and hash
-- The checks are in the order of the event's fields. Each takes a fraction of a microsecond, is_iso_time 3 us.
CREATE OR REPLACE FUNCTION pgaudit.event_problem(event jsonb, content text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN NOT coalesce(pgaudit.is_uuid(event->>'id'), false)
            THEN 'id must be a UUID in lower case, such as 0190a5b4-7c3e-7d3a-8f00-0123456789ab'
        WHEN coalesce(length(event->>'action') > 200 OR event->>'action' !~ '^[a-z][a-z0-9_]*(?:[.][a-z][a-z0-9_]*)+$', true)
            THEN 'action must be "resource.verb", lower case and dotted, of at most 200 characters, such as "claim.approved"'
        WHEN coalesce(event->>'outcome' NOT IN ('success', 'failure', 'denied'), true)
            THEN 'outcome must be success, failure or denied'
        WHEN NOT coalesce(pgaudit.is_iso_time(event->>'occurred_at'), false)
            THEN 'occurred_at must be ISO 8601 with an offset and at most six decimals, between the years 1 and 9999, '
                 'such as 2026-01-31T12:00:00.000000Z'
        WHEN coalesce(event->'actor', 'null') <> 'null' AND NOT coalesce(pgaudit.is_reference(event->'actor'), false)
            THEN 'actor must be an object with a type of 1 to 100 and an id of 1 to 500 characters'
        WHEN event ? 'targets' AND jsonb_typeof(event->'targets') <> 'array'
            THEN 'targets must be an array'
        WHEN jsonb_array_length(event->'targets') = 1 AND NOT coalesce(pgaudit.is_reference(event->'targets'->0), false)
             OR jsonb_array_length(event->'targets') > 1 AND pgaudit.bad_target(event->'targets') IS NOT NULL
            THEN format('targets: number %s must be an object with a type of 1 to 100 and an id of 1 to 500 characters',
                        pgaudit.bad_target(event->'targets'))
        WHEN coalesce(event->'tenant', 'null') <> 'null'
             AND (jsonb_typeof(event->'tenant') <> 'string' OR length(event->>'tenant') > 500)
            THEN 'tenant must be a string of at most 500 characters'
        WHEN event @? '$.**{65}'
            THEN 'it is nested more than 64 levels deep'
        WHEN (strpos(content, '"_sd"') > 0 OR strpos(content, '"..."') > 0)
             AND (event @? '$.data.**."_sd"' OR event @? '$.data.**."..."'
                  OR event @? '$.changes.**."_sd"' OR event @? '$.changes.**."..."')
            THEN 'the keys "_sd" and "..." are reserved in data and changes'
        WHEN event->'context' ? 'source'
            THEN 'context.source is reserved for captured events'
        WHEN event->>'action' = 'audit.targets_sealed' AND NOT pgaudit.may_seal_targets()
            THEN 'the action audit.targets_sealed is reserved for workers'
    END
$$;

-- is_usual(event, content): returns true if the event is valid and of the usual kind: an actor with short strings, one
-- target, a time in UTC with microseconds. Costs half as much as event_problem(), which has to check an event for which
-- this is not true: it may still be valid. One jsonpath instead of some sixty expression nodes, because Postgres
-- prepares an expression again in each transaction.
--   event    with the server's stamps
--   content  event::text
-- A jsonb of 120 bytes cannot hold a string of more than 100 characters. In strict mode the jsonpath is NULL if a key
-- is missing or has another type.
CREATE OR REPLACE FUNCTION pgaudit.is_usual(event jsonb, content text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT event @@ 'strict $.action like_regex "^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)+$"
                     && ($.outcome == "success" || $.outcome == "failure" || $.outcome == "denied")
                     && $.occurred_at like_regex "^2[0-9]+-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]+Z$"
                     && $.actor.type.type() == "string" && $.actor.type != ""
                     && $.actor.id.type() == "string" && $.actor.id != ""
                     && $.targets.size() == 1
                     && $.targets[0].type.type() == "string" && $.targets[0].type != ""
                     && $.targets[0].id.type() == "string" && $.targets[0].id != ""
                     && !exists($ ? (exists(@.context.source))) && !exists($ ? (@.tenant.type() != "string"))
                     && !exists($.**{65})'
       AND length(concat(event->>'action', event->>'tenant')) <= 200
       AND pg_column_size(event->'actor') <= 120 AND pg_column_size(event->'targets') <= 120
       AND octet_length(content) <= 4000 AND strpos(content, '"_sd"') = 0 AND strpos(content, '"..."') = 0
       AND event->>'occurred_at' LIKE '____-__-__T__:__:__.______Z' AND pgaudit.is_uuid(event->>'id')
$$;

-- comparable_content(event): returns the event without the fields that differ when a client retries: it records later,
-- in another transaction and in a new span. Two events are the same if their comparable content is equal.
-- STABLE and without a search_path, like content_hash: otherwise it would not be inlined, and would cost ten times as
-- much.
CREATE OR REPLACE FUNCTION pgaudit.comparable_content(event jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT event - '{recorded_at,recorded_by,xid,context}'::text[] || jsonb_build_object('context',
               CASE jsonb_typeof(event->'context') WHEN 'object' THEN (event->'context') - '{trace_id,span_id}'::text[]
               ELSE coalesce(event->'context', '{}') END)
$$;

-- content_hash(event): returns the hash of the comparable content: equal for two events that are the same.
CREATE OR REPLACE FUNCTION pgaudit.content_hash(event jsonb) RETURNS bytea
LANGUAGE sql STABLE AS $$ SELECT pgaudit.leaf_hash(pgaudit.comparable_content(event)) $$;

-- try_timestamptz(value): returns the timestamp, or NULL if it is not one (a job inserted by hand may hold anything),
-- so that the views never raise.
CREATE OR REPLACE FUNCTION pgaudit.try_timestamptz(value text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN value::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

-- Recording: from the business transaction into the queue.

-- check_event(event): raises if the event is invalid or too large.
-- Returns its text, which the caller needs for hash and size.
--   PA001  the event is invalid; the message names the field
CREATE OR REPLACE FUNCTION pgaudit.check_event(event jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    content text;
    problem text;
BEGIN
    IF pg_column_size(event) <= 2000 THEN
        content := event::text;
        IF is_usual(event, content) THEN  -- nearly always
            RETURN content;
        END IF;
    END IF;
    -- Checked before the cast to text: a small value may print as a gigabyte. 2,000 bytes of jsonb print as at most
    -- 22 MB. As jsonb, no event within the limit is larger than six times its text.
    IF jsonb_typeof(event) IS DISTINCT FROM 'object' THEN
        problem := 'it must be a JSON object';
    ELSIF pg_column_size(event) > 6 * 65535 THEN
        problem := 'it is larger than 65,535 bytes';
    ELSIF pg_column_size(event) > 2000 AND has_long_number(event) THEN
        problem := 'it holds a number of more than 4,000 digits';
    ELSE
        content := event::text;
        problem := event_problem(event, content);
        IF problem IS NULL AND octet_length(content) > 4000 THEN
            problem := size_problem(event, content);
        END IF;
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'invalid audit event: %', problem USING ERRCODE = 'PA001';
    END IF;
    RETURN content;
END $$;

-- size_problem(event, content): returns what is too large in an event of more than 4,000 bytes; NULL if nothing is.
CREATE OR REPLACE FUNCTION pgaudit.size_problem(event jsonb, content text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE
        WHEN octet_length(content) > max_event_bytes
            THEN format('its text has %s bytes, %s are allowed (pgaudit.settings.max_event_bytes); '
                        'store the bulk elsewhere and record a reference to it', octet_length(content), max_event_bytes)
        WHEN has_long_number(event)
            THEN 'it holds a number of more than 4,000 digits'
    END FROM settings
$$;

-- with_receipts(events): returns the events, and lets record write receipts until the transaction ends. So
-- `SELECT pgaudit.record(pgaudit.with_receipts($1))` is one statement, and the setting never outlives its transaction.
CREATE OR REPLACE FUNCTION pgaudit.with_receipts(events jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM set_config('audit.wal_receipts', 'on', true);
    RETURN events;
END $$;

-- receipt_prefix(): returns the prefix of this database's receipts: the WAL has those of all databases of the server, and
-- pg_waldump does not say which database a message is from.
CREATE OR REPLACE FUNCTION pgaudit.receipt_prefix() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN 'pgaudit:' || (SELECT oid FROM pg_database WHERE datname = current_database());
END $$;

-- hash_with_receipt(content, prefix): returns the leaf hash of an event's text, and writes it into the WAL as a
-- transactional message: a receipt, which `pgaudit reconcile` later compares with log and queue. 96 bytes, and no row.
CREATE OR REPLACE FUNCTION pgaudit.hash_with_receipt(content text, prefix text) RETURNS bytea
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    hash bytea := sha256(decode('00', 'hex') || convert_to(content, 'UTF8'));
BEGIN
    PERFORM pg_logical_emit_message(true, prefix, hash);
    RETURN hash;
END $$;

-- record(events): records a JSON array of audit events in the current transaction, one job each. With the setting
-- audit.wal_receipts = on, also writes a receipt of each.
-- SECURITY DEFINER: a writer needs EXECUTE on this function, and no other right. The session's TimeZone and DateStyle
-- have no effect: the stamps do not depend on them, and is_iso_time rejects a time that would.
-- The setting audit.first_job is a hint for check_guarded_changes: no job of this transaction has a lower id.
-- Raises, and records nothing:
--   22004, 22023  there are no events, or the argument is not an array
--   PA001         an event is invalid; the message names the field
CREATE OR REPLACE FUNCTION pgaudit.record(events jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    expected integer := jsonb_array_length(events);
    inserted integer;
    stamped  jsonb;
    content  text;
    receipts text := CASE WHEN current_setting('audit.wal_receipts', true) = 'on' THEN receipt_prefix() END;
BEGIN
    IF expected = 1 THEN  -- nearly always; a query over the array costs a tenth more
        stamped := with_server_stamps(events->0);  -- takes the xid before the job's id: advance_watermark relies on it
        content := check_event(stamped);
        INSERT INTO audit_jobs (event, leaf_hash, event_bytes)
        VALUES (stamped, CASE WHEN receipts IS NULL THEN sha256(decode('00', 'hex') || convert_to(content, 'UTF8'))
                              ELSE hash_with_receipt(content, receipts) END, octet_length(content));
    ELSIF expected > 1 THEN
        IF coalesce(current_setting('audit.first_job', true), '') = '' THEN
            PERFORM set_config('audit.first_job', (SELECT last_value FROM procrastinate_jobs_id_seq)::text, true);
        END IF;
        INSERT INTO audit_jobs (event, leaf_hash, event_bytes)
        SELECT given.stamped, CASE WHEN receipts IS NULL THEN sha256(decode('00', 'hex') || convert_to(given.content, 'UTF8'))
                                   ELSE hash_with_receipt(given.content, receipts) END, octet_length(given.content)
          FROM (SELECT event AS stamped, check_event(event) AS content
                  FROM (SELECT with_server_stamps(event) AS event FROM jsonb_array_elements(events) event
                        OFFSET 0) each_once  -- OFFSET: stamped once, so that hash and event have the same time
                OFFSET 0) given;
    ELSE
        RAISE EXCEPTION 'there are no events to record: pass a JSON array of at least one'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    IF inserted <> expected THEN
        RAISE EXCEPTION 'a trigger or rule on pgaudit.audit_jobs left % of % events out', expected - inserted, expected
            USING ERRCODE = 'triggered_data_change_violation',
                  HINT = 'Drop the trigger or rule: pgaudit health names those that are not pgaudit''s.';
    END IF;
    IF coalesce(current_setting('audit.first_job', true), '') = '' THEN
        PERFORM set_config('audit.first_job', currval('procrastinate_jobs_id_seq')::text, true);
    END IF;
END $$;

-- record_inline(events): records a JSON array of audit events and appends them to the audit log, in the current
-- transaction. All other appends wait until it ends. So it needs a right of its own, and is for tests and small loads.
-- Also appends up to 100 fresh jobs from the queue, such as an event that was recorded autonomously while another
-- transaction had locked the log.
-- Raises the error of an own event that cannot be appended. Other jobs that fail are retried, as in persist.
CREATE OR REPLACE FUNCTION pgaudit.record_inline(events jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'postgres'
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    issued   bigint := (SELECT last_value FROM procrastinate_jobs_id_seq);
    own      bigint[];
    jobs     bigint[];
    failures jsonb[];
    mine     jsonb;
BEGIN
    PERFORM record(events);
    own := array(SELECT id FROM audit_jobs
                  WHERE id >= issued AND status = 'todo' AND event->>'xid' = pg_current_xact_id()::text ORDER BY id);
    jobs := own || array(SELECT id FROM unnest(take_fresh_jobs(low_watermark(), 100)) id WHERE id <> ALL (own));
    failures := tampered_jobs(jobs);
    PERFORM lock_log();
    IF coalesce(current_setting('audit.first_index', true), '') = '' THEN
        PERFORM set_config('audit.first_index', (SELECT size FROM log_head)::text, true);
    END IF;
    failures := append(without_failed(jobs, failures), NULL) || failures;
    SELECT failure INTO mine FROM unnest(failures) failure WHERE (failure->>'job_id')::bigint = ANY (own) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '%', mine->>'message' USING ERRCODE = mine->>'sqlstate';
    END IF;
    PERFORM delete_logged_jobs(jobs, failures), record_failures(failures);
END $$;

-- Recording for callers whose change goes on without its event.

-- try_record(events, inline): records as record does, or as record_inline; returns a failure instead of raising it, so
-- that the caller's transaction stays usable. It runs with the rights of its caller and permits nothing by itself.
-- Returns NULLs, or:
--   failure    SQLSTATE of the error; PA001 when an event is refused
--   message    its message
-- Raised all the same: deadlocks and serialization failures (the caller has to repeat the transaction), cancelled
-- statements, and each failure after the 32nd call of a transaction. A call that catches is a subtransaction; with
-- more than 64 of them in one transaction, each snapshot of each other session has to look them up on disk.
CREATE OR REPLACE FUNCTION pgaudit.try_record(events jsonb, inline boolean, OUT failure text, OUT message text)
LANGUAGE plpgsql AS $$
DECLARE
    calls text := coalesce(current_setting('audit.caught_calls', true), '');  -- of this transaction, a dot for each
BEGIN
    IF length(calls) < 32 THEN
        PERFORM set_config('audit.caught_calls', calls || '.', true);
        BEGIN
            IF inline THEN PERFORM pgaudit.record_inline(events); ELSE PERFORM pgaudit.record(events); END IF;
        EXCEPTION
            WHEN transaction_rollback THEN
                RAISE;
            WHEN OTHERS THEN
                failure := SQLSTATE;
                message := SQLERRM;
        END;
    ELSIF inline THEN
        PERFORM pgaudit.record_inline(events);
    ELSE
        PERFORM pgaudit.record(events);
    END IF;
END $$;

-- Recording that somebody has read the log, by roles that may only read it.

-- record_access(event): records an audit event about reading, in the current transaction, as record does: the same
-- stamps, checks and hash. SECURITY DEFINER: a reader needs EXECUTE on this function, and has none on record.
-- Raises, and records nothing:
--   42501  the action is not one of reading
--   PA001  the event is invalid; the message names the field
CREATE OR REPLACE FUNCTION pgaudit.record_access(event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF coalesce(event->>'action' NOT IN ('audit.export_started', 'audit.exported', 'audit.viewed'), true) THEN
        RAISE EXCEPTION 'record_access records only audit.export_started, audit.exported and audit.viewed'
            USING ERRCODE = 'insufficient_privilege', HINT = 'A writer records other actions with pgaudit.record.';
    END IF;
    PERFORM record(jsonb_build_array(event));
END $$;

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

-- The low watermark: where the scan for fresh jobs begins.
--
-- It must not pass the id of a job that an open transaction may still commit. A transaction that inserts a job takes,
-- in this order: its xid, RowExclusiveLock on audit_jobs (until it ends), the job's id. So only transactions that hold
-- this lock and have an xid below safe_xid matter.

-- max_issued_id(): returns the highest job id issued so far. Call it before this transaction has an xid: then every
-- transaction that holds an id up to it has a smaller xid. Returns NULL if this transaction has an xid already.
CREATE OR REPLACE FUNCTION pgaudit.max_issued_id() RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN (SELECT last_value - (NOT is_called)::integer FROM procrastinate_jobs_id_seq
             WHERE pg_current_xact_id_if_assigned() IS NULL);
END $$;

-- open_recorders(before): returns the xids below `before` of the open transactions, prepared ones included, that may
-- hold a job id. A transaction also holds the xids of its subtransactions; its own is the smallest. pg_locks shows the
-- low 32 bits of an xid: they identify it, because a held xid is at most 2^31 behind the next one.
CREATE OR REPLACE FUNCTION pgaudit.open_recorders(before xid8) RETURNS xid8[]
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(array_agg(xid), '{}') FROM (
        SELECT (next - max((next - held.transactionid::text::bigint) & 4294967295))::text::xid8 AS xid
          FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint) AS clock (next),
               pg_locks recording JOIN pg_locks held USING (virtualtransaction)
         WHERE recording.locktype = 'relation' AND recording.mode = 'RowExclusiveLock'
           AND recording.relation = 'audit_jobs'::regclass
           AND recording.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND held.locktype = 'transactionid' AND held.mode = 'ExclusiveLock' AND held.granted
         GROUP BY virtualtransaction, next) open
     WHERE xid < before
$$;

-- advance_watermark(issued, reached): advances the low watermark to the oldest fresh job, but not past an id that an
-- open transaction may still commit. If a transaction stays open while 5,000 ids are taken, the watermark passes it and
-- stores its xid; requeue_jobs_of_passed_transactions() finds its jobs when it has ended. So a scan reads at most a few
-- thousand finished jobs, however long transactions stay open.
--   issued   max_issued_id(), called before this transaction had an xid
--   reached  the last id of the batch that was just taken
CREATE OR REPLACE FUNCTION pgaudit.advance_watermark(issued bigint, reached bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET enable_seqscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    last   queue_watermark;
    open   xid8[] := '{}';
    oldest bigint;
BEGIN
    IF issued IS NULL OR current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN;
    END IF;
    SELECT * INTO last FROM queue_watermark ORDER BY low_watermark DESC LIMIT 1;
    IF NOT FOUND THEN
        last := ROW (0, 0, '0', '{}')::queue_watermark;
    END IF;
    IF last.safe_xid > pg_snapshot_xmin(pg_current_snapshot()) THEN
        open := open_recorders(last.safe_xid);
        IF NOT open <@ last.passed_xids AND reached < last.low_watermark + 5000 THEN
            RETURN;
        END IF;
    END IF;
    -- A new snapshot, taken after pg_locks was read: it sees the jobs of each transaction that was not open there.
    SELECT min(id) INTO oldest FROM audit_jobs WHERE id >= last.low_watermark AND status = 'todo' AND scheduled_at IS NULL;
    INSERT INTO queue_watermark (low_watermark, max_issued_id, safe_xid, passed_xids)
    VALUES (least(last.max_issued_id + 1, oldest), issued, pg_current_xact_id(),
            array(SELECT unnest(last.passed_xids) UNION SELECT unnest(open)))
    ON CONFLICT (low_watermark) DO UPDATE  -- the watermark stays: renew its limits, so that it can advance
        SET max_issued_id = excluded.max_issued_id, safe_xid = excluded.safe_xid, passed_xids = excluded.passed_xids;
    DELETE FROM queue_watermark WHERE low_watermark < last.low_watermark;
END $$;

-- requeue_jobs_of_passed_transactions(): once a transaction that the watermark has passed has ended, makes the jobs due
-- that it has committed below the watermark. Otherwise does nothing.
CREATE OR REPLACE FUNCTION pgaudit.requeue_jobs_of_passed_transactions() RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    ended xid8[] := array(
        SELECT xid FROM (SELECT safe_xid, passed_xids FROM queue_watermark ORDER BY low_watermark DESC LIMIT 1) last,
                        unnest(passed_xids) xid
         WHERE safe_xid <= pg_snapshot_xmax(pg_current_snapshot()) AND pg_xact_status(xid) IS DISTINCT FROM 'in progress');
BEGIN
    -- The older snapshot of another isolation level would not see the jobs that they have committed.
    IF cardinality(ended) > 0 AND current_setting('transaction_isolation') = 'read committed' THEN
        PERFORM requeue_skipped_jobs();
        UPDATE queue_watermark SET passed_xids = array(SELECT unnest(passed_xids) EXCEPT SELECT unnest(ended));
    END IF;
END $$;

-- requeue_skipped_jobs(): makes the jobs due that no scan would find: fresh ones below the watermark (of a transaction
-- that it has passed, or inserted by hand), and those scheduled further ahead than any retry.
-- Returns how many.
CREATE OR REPLACE FUNCTION pgaudit.requeue_skipped_jobs() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET enable_seqscan = off SET jit = off AS $$
    WITH invalid_watermark AS (  -- from before a restore: above the sequence, or with an xid that is not issued yet
        DELETE FROM queue_watermark
         WHERE low_watermark > (SELECT last_value + 1 FROM procrastinate_jobs_id_seq)
            OR safe_xid > pg_snapshot_xmax(pg_current_snapshot()) RETURNING 1
    ), reset AS (
        INSERT INTO queue_watermark (low_watermark, max_issued_id, safe_xid)
        SELECT 0, 0, '0' FROM invalid_watermark LIMIT 1 ON CONFLICT DO NOTHING
    ), below_watermark AS (
        UPDATE audit_jobs SET scheduled_at = now()
         WHERE id < (SELECT max(low_watermark) FROM queue_watermark) AND status = 'todo' AND scheduled_at IS NULL RETURNING 1
    ), far_ahead AS (
        UPDATE audit_jobs SET scheduled_at = now()
         WHERE status = 'todo' AND scheduled_at > clock_timestamp() + interval '25 hours' RETURNING 1)
    SELECT (SELECT count(*) FROM below_watermark) + (SELECT count(*) FROM far_ahead)
$$;

-- The end of the audit log: appends the events of a batch.

-- lock_log(): waits for other appends, and blocks them until this transaction ends: so index order is commit order.
CREATE OR REPLACE FUNCTION pgaudit.lock_log() RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$ BEGIN PERFORM FROM log_lock FOR UPDATE; END $$;

-- jobs_in_order(jobs): returns the jobs in the order of their ids in the array, with n, their position from 1. STABLE
-- and without a search_path, so that it is inlined into the calling query. LATERAL and OFFSET make the planner look up
-- each job by its id. The queue's statistics are always stale: after a vacuum of an empty queue the planner expects one
-- row, and would read the whole index for each job.
CREATE OR REPLACE FUNCTION pgaudit.jobs_in_order(jobs bigint[])
RETURNS TABLE (n bigint, id bigint, event jsonb, leaf_hash bytea, event_bytes integer)
LANGUAGE sql STABLE AS $$
    SELECT n, id, event, leaf_hash, event_bytes
      FROM unnest(jobs) WITH ORDINALITY AS taken (id, n),
           LATERAL (SELECT event, leaf_hash, event_bytes FROM pgaudit.audit_jobs job WHERE job.id = taken.id OFFSET 0) job
$$;

-- tampered_jobs(jobs): returns a failure for each job whose event was changed in the queue: it must not enter the log
-- as if it were genuine. Call it after locking the jobs, so that they cannot change afterwards, and before lock_log():
-- computing the hashes takes a quarter of the time of the append, and can be done while another batch is appended.
CREATE OR REPLACE FUNCTION pgaudit.tampered_jobs(jobs bigint[]) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT jsonb_build_object('job_id', id, 'sqlstate', 'XX001', 'message', job_problem(event, leaf_hash),
                                  'context', 'pgaudit.tampered_jobs')
          FROM jobs_in_order(jobs) WHERE leaf_hash <> leaf_hash(event));
END $$;

-- append_rows(jobs, worker, known): appends the events of the jobs, in the order of the array, or raises and appends
-- none. The caller has checked the hashes and called lock_log().
--   worker  id of the worker; NULL for inline
--   known   whether the log may have their event ids already, with other content: then a row refers to the first one
CREATE OR REPLACE FUNCTION pgaudit.append_rows(jobs bigint[], worker bigint, known boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    last       batch;
    next_index bigint;
    keys       integer;
    persisted  timestamptz := clock_timestamp();
BEGIN
    SELECT * INTO last FROM batch ORDER BY first_index DESC LIMIT 1;
    next_index := coalesce(last.first_index + last.count, 0);
    IF known THEN
        INSERT INTO event_key (event_id, index)
        SELECT (event->>'id')::uuid, next_index + n - 1
          FROM jobs_in_order(jobs)
            ON CONFLICT DO NOTHING;
    ELSE  -- before the log: so a duplicate ends the attempt before rows of the log are written
        INSERT INTO event_key (event_id, index)
        SELECT (event->>'id')::uuid, next_index + n - 1
          FROM jobs_in_order(jobs);
        GET DIAGNOSTICS keys = ROW_COUNT;
        IF keys <> cardinality(jobs) THEN
            RAISE EXCEPTION 'a trigger or rule left rows out of pgaudit.event_key'
                USING ERRCODE = 'triggered_data_change_violation',
                      HINT = 'Drop the trigger or rule: pgaudit health names those that are not pgaudit''s.';
        END IF;
    END IF;
    WITH appended AS (
        INSERT INTO audit_log (index, event_id, occurred_at, recorded_at, persisted_at, action, outcome, actor_type, actor_id,
                               target_type, target_id, tenant, event, leaf_hash, conflicts_with)
        SELECT next_index + n - 1, (event->>'id')::uuid, (event->>'occurred_at')::timestamptz,
               (event->>'recorded_at')::timestamptz, persisted, event->>'action', event->>'outcome',
               event->'actor'->>'type', event->'actor'->>'id', event->'targets'->0->>'type', event->'targets'->0->>'id',
               event->>'tenant', event, leaf_hash,
               CASE WHEN known THEN (SELECT nullif(index, next_index + n - 1) FROM event_key
                                      WHERE event_id = (event->>'id')::uuid) END
          FROM (SELECT n, leaf_hash,  -- #> '{}': decompresses it once, instead of once for each column
                       CASE WHEN event_bytes > 2000 THEN event #> '{}' ELSE event END AS event
                  FROM jobs_in_order(jobs)
                OFFSET 0) job
        RETURNING index, recorded_at,
                  CASE WHEN jsonb_array_length(event->'targets') > 1 THEN event->'targets' END AS targets
    ), further_targets AS (
        INSERT INTO event_target (type, id, index)
        SELECT DISTINCT target->>'type', target->>'id', index
          FROM appended, jsonb_array_elements(targets) WITH ORDINALITY AS given (target, n)
         WHERE targets IS NOT NULL AND n > 1
    ), lag AS (
        SELECT width_bucket(persisted - recorded_at, lag_bucket_bounds()) AS bucket, count(*) AS events,
               min(recorded_at) AS oldest, max(recorded_at) AS newest, sum(persisted - recorded_at) AS total
          FROM appended GROUP BY 1
    ), summary AS (
        SELECT sum(events) AS events, min(oldest) AS oldest, max(newest) AS newest,
               greatest(max(newest), last.recorded_until) AS recorded_until, sum(total) AS lag_total
          FROM lag
    )
    INSERT INTO batch (first_index, count, persisted_at, oldest_recorded, newest_recorded, recorded_until, late, worker_id,
                       lag_buckets, lag_total)
    SELECT next_index, events, persisted, oldest, newest, recorded_until, oldest < recorded_until - late_after(), worker,
           array(SELECT coalesce(last.lag_buckets[bucket + 1], 0) + coalesce(lag.events, 0)
                   FROM generate_series(0, cardinality(lag_bucket_bounds())) bucket LEFT JOIN lag USING (bucket) ORDER BY bucket),
           -- In seconds: intervals would be added with their days in a field of 32 bits.
           make_interval(secs => extract(epoch FROM coalesce(last.lag_total, '0') + lag_total)::double precision)
      FROM summary WHERE events = cardinality(jobs);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a trigger or rule left events out of the audit log'
            USING ERRCODE = 'triggered_data_change_violation',
                  HINT = 'Drop the trigger or rule: pgaudit health names those that are not pgaudit''s.';
    END IF;
    IF known THEN
        INSERT INTO event_conflict (index, event_id, conflicts_with, content_hash, recorded_at)
        SELECT next_index + n - 1, event_id, key.index, content_hash(event), (event->>'recorded_at')::timestamptz
          FROM jobs_in_order(jobs)
          JOIN event_key key ON event_id = (event->>'id')::uuid AND key.index <> next_index + n - 1;
    END IF;
END $$;

-- is_infrastructure(sqlstate): returns whether the event is not to blame for the error: it is one of the connection,
-- transaction, resources, locks, operator intervention or server, or the schema is not migrated. _db_errors in Python
-- has the same list.
CREATE OR REPLACE FUNCTION pgaudit.is_infrastructure(sqlstate text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT left(sqlstate, 2) IN ('08', '25', '40', '42', '53', '55', '57', '58') $$;

-- try_append(jobs, worker, known): calls append_rows, and creates a missing partition.
-- Returns NULL, or the error because of which none was appended: {"sqlstate", "message", "context"}.
-- Raises an infrastructure error.
CREATE OR REPLACE FUNCTION pgaudit.try_append(jobs bigint[], worker bigint, known boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    state   text;
    message text;
    context text;
BEGIN
    IF cardinality(jobs) > 0 THEN
        PERFORM append_rows(jobs, worker, known);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
    IF is_infrastructure(state) THEN
        RAISE;
    ELSIF state = '23514' AND create_partitions((SELECT size FROM log_head) + cardinality(jobs) - 1) > 0 THEN
        RETURN try_append(jobs, worker, known);
    END IF;
    RETURN jsonb_build_object('sqlstate', state, 'message', left(message, 2000), 'context', left(context, 2000));
END $$;

-- append(jobs, worker): appends the events that can be appended. An event whose id the log has already, with the same
-- content, is noted as a sighting; with other content it is appended with a reference to the first. The caller has
-- called lock_log().
-- Returns the failures: {"job_id", "sqlstate", "message", "context"}.
CREATE OR REPLACE FUNCTION pgaudit.append(jobs bigint[], worker bigint) RETURNS jsonb[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    failures jsonb[];
    known    bigint[];
BEGIN
    IF try_append(jobs, worker) IS NULL THEN  -- nearly always
        RETURN '{}';
    END IF;
    failures := broken_jobs(jobs);
    jobs := without_failed(jobs, failures);
    known := known_jobs(jobs);
    RETURN failures || append_bisecting(array(SELECT id FROM unnest(jobs) id WHERE id <> ALL (known)), worker)
                    || append_known(known, worker);
END $$;

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

-- Persisting: from the queue into the log, one batch in one transaction.

-- persist(worker, first_job, max_jobs, max_attempts, retry_delay, max_retry_delay, traced): appends a batch and deletes
-- its jobs, or does neither.
--   worker           the worker's token; NULL to drain without one
--   first_job        the job that the worker has fetched; NULL for the oldest fresh ones
--   max_jobs         largest number of jobs in the batch
--   max_attempts, retry_delay, max_retry_delay
--                    see record_failures
--   traced           whether to return traceparents
-- Returns:
--   taken            number of jobs that were taken
--   failures         the jobs that could not be appended, as record_failures returns them
--   traceparents     W3C traceparents of the events taken, each once, at most 128
CREATE OR REPLACE FUNCTION pgaudit.persist(
    worker uuid, first_job bigint, max_jobs integer,
    max_attempts integer DEFAULT NULL, retry_delay interval DEFAULT NULL, max_retry_delay interval DEFAULT NULL,
    traced boolean DEFAULT false,
    OUT taken integer, OUT failures jsonb[], OUT traceparents text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'postgres'
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    issued bigint   := max_issued_id();  -- before this transaction has an xid
    holder bigint   := worker_id_of(worker);
    jobs   bigint[] := take_batch(holder, first_job, max_jobs);
BEGIN
    taken := cardinality(jobs);
    failures := '{}';
    IF taken > 0 THEN
        IF traced THEN
            traceparents := traceparents(jobs);
        END IF;
        failures := tampered_jobs(jobs);
        PERFORM lock_log();  -- before duplicates are looked for, so that events appended meanwhile are seen
        failures := failures || append(without_failed(jobs, failures), holder);
        PERFORM delete_logged_jobs(jobs, failures);
        failures := record_failures(failures, max_attempts, retry_delay, max_retry_delay);
        IF jobs[taken] > low_watermark() + 1000 THEN
            PERFORM advance_watermark(issued, jobs[taken]);
        END IF;
    END IF;
END $$;

-- delete_logged_jobs(jobs, failures): deletes the jobs that did not fail: their events are in the log.
CREATE OR REPLACE FUNCTION pgaudit.delete_logged_jobs(jobs bigint[], failures jsonb[]) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    deleted integer;
BEGIN
    jobs := without_failed(jobs, failures);
    DELETE FROM audit_jobs WHERE id = ANY (jobs);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    IF deleted <> cardinality(jobs) THEN
        RAISE EXCEPTION 'a trigger or rule keeps jobs in pgaudit.audit_jobs whose events are in the audit log'
            USING ERRCODE = 'triggered_data_change_violation',
                  HINT = 'Drop the trigger or rule: pgaudit health names those that are not pgaudit''s.';
    END IF;
END $$;

-- traceparents(jobs): returns W3C traceparents of the events, each once; at most 128, the limit of links of a span.
CREATE OR REPLACE FUNCTION pgaudit.traceparents(jobs bigint[]) RETURNS text[]
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT traceparent
          FROM (SELECT DISTINCT format('00-%s-%s-01', context->>'trace_id', context->>'span_id') AS traceparent
                  FROM (SELECT event->'context' AS context FROM audit_jobs WHERE id = ANY (jobs) OFFSET 0) opened
                OFFSET 0) named  -- OFFSET: evaluates the expression, which costs more than the rest, once for each row
         WHERE traceparent ~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01$'
         LIMIT 128);
END $$;

-- Sealing: the tiles of the Merkle tree over the log, and signed checkpoints of it. Worker processes compute and sign;
-- these functions store the results. Through them a worker reads hashes and ids of events, and no content.

-- try_lock_sealing(): returns whether this transaction may seal; only one can at a time. (A row: any role could hold an
-- advisory lock.)
CREATE OR REPLACE FUNCTION pgaudit.try_lock_sealing() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM FROM sealing_state FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
END $$;

-- lock_checkpoint(size): returns the note of a checkpoint, which no other transaction changes until this one ends.
CREATE OR REPLACE FUNCTION pgaudit.lock_checkpoint(size bigint) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS
$$ SELECT note FROM checkpoint c WHERE c.size = lock_checkpoint.size FOR UPDATE $$;

-- leaf_hashes(first_index, end_index): returns the leaf hashes of [first_index, end_index), one after the other. If rows
-- are missing, they are fewer.
CREATE OR REPLACE FUNCTION pgaudit.leaf_hashes(first_index bigint, end_index bigint) RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT coalesce(string_agg(leaf_hash, '' ORDER BY index), '') FROM audit_log
     WHERE index >= first_index AND index < end_index
$$;

-- add_tiles(level, first_number, hashes, roots): appends complete tiles to a level, the first of them with that number.
-- Raises 55000 unless the number is the next one of the level: another worker was faster.
CREATE OR REPLACE FUNCTION pgaudit.add_tiles(level smallint, first_number bigint, hashes bytea[], roots bytea[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    next_number bigint := coalesce((SELECT max(t.number) + 1 FROM tile t WHERE t.level = add_tiles.level), 0);
BEGIN
    IF first_number <> next_number THEN
        RAISE EXCEPTION 'the next tile of level % is %, not %', level, next_number, first_number
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO tile (level, number, hashes, root)
    SELECT add_tiles.level, first_number + n - 1, given.hashes, given.root
      FROM unnest(add_tiles.hashes, roots) WITH ORDINALITY AS given (hashes, root, n);
END $$;

-- add_checkpoint(size, note): stores a signed note. A note of that size is replaced only by one with the same text: with
-- further signatures below it.
-- Raises 55000 for another text, a tree that is larger than the log, or a new one that is smaller than the last.
CREATE OR REPLACE FUNCTION pgaudit.add_checkpoint(size bigint, note text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    last bigint := (SELECT max(size) FROM checkpoint);
    same text   := (SELECT c.note FROM checkpoint c WHERE c.size = add_checkpoint.size);
BEGIN
    IF add_checkpoint.size > (SELECT size FROM log_head) OR (same IS NULL AND add_checkpoint.size < last)
       OR split_part(add_checkpoint.note, E'\n\n', 1) <> split_part(same, E'\n\n', 1)
    THEN
        RAISE EXCEPTION 'a checkpoint of % events does not follow one of %', add_checkpoint.size, last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO checkpoint (size, note) VALUES (add_checkpoint.size, add_checkpoint.note)
        ON CONFLICT (size) DO UPDATE SET note = excluded.note;
END $$;

-- event_bytes(event): returns the text of an event in UTF-8. As the output function makes it: a superuser can replace the
-- cast to text by another one.
CREATE OR REPLACE FUNCTION pgaudit.event_bytes(event jsonb) RETURNS bytea
LANGUAGE sql STABLE AS
$$ SELECT pg_catalog.convert_to(pg_catalog.textin(pg_catalog.jsonb_out(event)), 'UTF8') $$;

-- recomputed_hashes(first_index, end_index, careful): returns a row for each tile of level 0 that has events in
-- [first_index, end_index): how many they are, their leaf hashes, computed from the events, how many differ from the
-- stored ones, and how many have a column that differs from the event.
--   careful  whether an event may hold anything: without, a value that is no time raises; with it takes twice as long
CREATE OR REPLACE FUNCTION pgaudit.recomputed_hashes(first_index bigint, end_index bigint, careful boolean DEFAULT false)
RETURNS TABLE (number bigint, events bigint, hashes bytea, altered bigint, drifted bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan SET jit = off AS $$
BEGIN
    RETURN QUERY
    SELECT l.index / 256, count(*), string_agg(l.computed, '' ORDER BY l.index),
           count(*) FILTER (WHERE l.leaf_hash <> l.computed), count(*) FILTER (WHERE l.drifted)
      FROM (SELECT log.index, log.leaf_hash, sha256('\x00'::bytea || event_bytes(event)) AS computed,
                   log.event_id::text IS DISTINCT FROM event->>'id'
                   OR log.action IS DISTINCT FROM event->>'action'
                   OR log.outcome IS DISTINCT FROM event->>'outcome'
                   OR log.actor_type IS DISTINCT FROM event->'actor'->>'type'
                   OR log.actor_id IS DISTINCT FROM event->'actor'->>'id'
                   OR log.target_type IS DISTINCT FROM event->'targets'->0->>'type'
                   OR log.target_id IS DISTINCT FROM event->'targets'->0->>'id'
                   OR log.tenant IS DISTINCT FROM event->>'tenant'
                   OR log.occurred_at IS DISTINCT FROM CASE WHEN careful THEN try_timestamptz(event->>'occurred_at')
                                                            ELSE (event->>'occurred_at')::timestamptz END
                   OR log.recorded_at IS DISTINCT FROM CASE WHEN careful THEN try_timestamptz(event->>'recorded_at')
                                                            ELSE (event->>'recorded_at')::timestamptz END AS drifted
              FROM audit_log log
             WHERE log.index >= first_index AND log.index < end_index
            OFFSET 0) l  -- each hash is computed once, and what is sorted has no events
     GROUP BY 1 ORDER BY 1;
END $$;

-- note_verification(first_index, end_index, whole, level, findings, found): keeps the result of verifying
-- [first_index, end_index).
--   whole     whether that is all that the log has
--   level     the level of assurance that was reached; NULL if there are findings
--   findings  how many there were
--   found     the first of them: an array of objects with name, message, index and event_id
CREATE OR REPLACE FUNCTION pgaudit.note_verification(
    first_index bigint, end_index bigint, whole boolean, level text, findings bigint, found jsonb)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    INSERT INTO verification (first_index, end_index, whole, level, findings, found)
    VALUES (first_index, end_index, whole, level, findings, found)
$$;

-- stored_hashes(first_index, end_index): returns the leaf hash of each event in [first_index, end_index), as it is stored
-- and as it is computed from the event, and the index under which the event's id was appended.
CREATE OR REPLACE FUNCTION pgaudit.stored_hashes(first_index bigint, end_index bigint)
RETURNS TABLE (index bigint, event_id uuid, stored bytea, computed bytea, appended_as bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT l.index, l.event_id, l.leaf_hash, pg_catalog.sha256('\x00'::bytea || event_bytes(l.event)), k.index
      FROM audit_log l LEFT JOIN event_key k ON k.event_id = l.event_id
     WHERE l.index >= first_index AND l.index < end_index ORDER BY l.index
$$;

-- note_sealing(refused): notes that the log was sealed just now, or why it was not.
CREATE OR REPLACE FUNCTION pgaudit.note_sealing(refused text DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    UPDATE sealing_state s
       SET sealed_at = CASE WHEN note_sealing.refused IS NULL THEN clock_timestamp() ELSE s.sealed_at END,
           refused = left(note_sealing.refused, 2000),
           refused_since = CASE WHEN note_sealing.refused IS NOT NULL THEN coalesce(s.refused_since, clock_timestamp()) END
$$;

-- claim_heartbeat(every): returns whether it is time to record another heartbeat event, and notes that it is recorded.
CREATE OR REPLACE FUNCTION pgaudit.claim_heartbeat(every interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE sealing_state SET heartbeat_at = clock_timestamp()
     WHERE heartbeat_at IS NULL OR heartbeat_at < clock_timestamp() - every;
    RETURN FOUND;
END $$;

-- claim_verification(every): returns whether it is time to verify again, and notes that the caller does. By time and not
-- by a lock, which a pooler would keep. A long verification claims it again with 0, so that no other one begins.
CREATE OR REPLACE FUNCTION pgaudit.claim_verification(every interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE sealing_state SET verifying_at = clock_timestamp()
     WHERE verifying_at IS NULL OR verifying_at < clock_timestamp() - every;
    RETURN FOUND;
END $$;

-- log_ends(): returns where the log ends by its batches, by its rows, and by its complete tiles.
CREATE OR REPLACE FUNCTION pgaudit.log_ends(OUT head bigint, OUT rows bigint, OUT tiled bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT (SELECT size FROM log_head), coalesce((SELECT max(index) + 1 FROM audit_log), 0),
           coalesce((SELECT max(number) + 1 FROM tile WHERE level = 0), 0) * 256
$$;

-- Anchors: which of them is to get the newest checkpoint, and what came of it. Worker processes send.

-- claim_anchors(names, at, lease): returns those of the anchors that the newest checkpoint is to be sent to at that
-- time, with the size of the last checkpoint that each took. Until the lease ends, no other process gets them. Anchors
-- that are not named are no longer in use: they are removed, and their receipts stay.
CREATE OR REPLACE FUNCTION pgaudit.claim_anchors(names text[], at timestamptz, lease interval)
RETURNS TABLE (name text, size bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM anchor a WHERE a.name <> ALL (names);
    INSERT INTO anchor (name) SELECT unnest(names) ON CONFLICT DO NOTHING;
    RETURN QUERY
        UPDATE anchor a SET next_attempt_at = at + lease
         WHERE a.name IN (SELECT due.name FROM anchor due
                           WHERE due.next_attempt_at <= at AND due.size < (SELECT max(c.size) FROM checkpoint c)
                             FOR UPDATE SKIP LOCKED)
        RETURNING a.name, a.size;
END $$;

-- note_anchored(name, size, at, receipt): notes that an anchor has taken a checkpoint, and stores its receipt if there
-- is one. The first receipt for a checkpoint is kept, because it proves the most.
CREATE OR REPLACE FUNCTION pgaudit.note_anchored(name text, size bigint, at timestamptz, receipt text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE anchor a
       SET size = greatest(a.size, note_anchored.size), anchored_at = at, attempts = 0, failed_at = NULL, error = NULL,
           next_attempt_at = '-infinity'
     WHERE a.name = note_anchored.name;
    INSERT INTO anchor_receipt (name, size, receipt)
    SELECT note_anchored.name, note_anchored.size, note_anchored.receipt WHERE note_anchored.receipt IS NOT NULL
        ON CONFLICT DO NOTHING;
END $$;

-- note_anchor_failure(name, at, error): notes that an anchor did not take a checkpoint. The next attempt follows after a
-- second, then two, four and so on; after five minutes at most.
CREATE OR REPLACE FUNCTION pgaudit.note_anchor_failure(name text, at timestamptz, error text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    UPDATE anchor a
       SET attempts = least(a.attempts, 1000000) + 1, failed_at = at, error = left(note_anchor_failure.error, 1000),
           next_attempt_at = at + least(interval '1 second' * 2 ^ least(a.attempts, 20), interval '5 minutes')
     WHERE a.name = note_anchor_failure.name
$$;

-- Each anchor with its lag: the age of the oldest checkpoint that it does not cover.
CREATE OR REPLACE VIEW pgaudit.anchor_stats AS
    SELECT name, size, anchored_at,
           coalesce((SELECT extract(epoch FROM clock_timestamp() - signed_at)::double precision
                       FROM pgaudit.checkpoint c WHERE c.size > a.size ORDER BY c.size LIMIT 1), 0) AS lag_seconds,
           attempts, failed_at, error, next_attempt_at
      FROM pgaudit.anchor a;

-- Completeness: the index of targets of each closed day and year. docs/concepts/completeness.md has the layout of bytes.

-- try_lock_target_periods(): returns whether this transaction may close periods; only one can at a time.
CREATE OR REPLACE FUNCTION pgaudit.try_lock_target_periods() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM FROM target_lock FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
END $$;

-- target_key(type, id): returns the key under which a target is sorted. Neither text can contain the byte 0.
CREATE OR REPLACE FUNCTION pgaudit.target_key(type text, id text) RETURNS bytea
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.sha256(pg_catalog.convert_to(type, 'UTF8') || pg_catalog.decode('00', 'hex')
                             || pg_catalog.convert_to(id, 'UTF8'))
$$;

-- sealed_targets(from_index): returns the events audit.targets_sealed from an index on, with what they say. An event with
-- an actor was recorded by an application, which cannot record one without.
CREATE OR REPLACE FUNCTION pgaudit.sealed_targets(from_index bigint) RETURNS TABLE (index bigint, data jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT l.index, l.event->'data' FROM audit_log l
     WHERE l.action = 'audit.targets_sealed' AND l.index >= from_index AND l.actor_id IS NULL ORDER BY l.index
$$;

-- sorted_targets(first_index, end_index): returns all targets of the events in [first_index, end_index), in ascending
-- order of their keys, 256 in a row: their keys, and the hashes of their lists of indexes. Reads the events themselves,
-- because only these are hashed into the log's tree: not the columns, and not event_target.
-- Raises XX001 if events are missing.
CREATE OR REPLACE FUNCTION pgaudit.sorted_targets(first_index bigint, end_index bigint)
RETURNS TABLE (number integer, keys bytea, digests bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
    missing bigint := end_index - first_index - (SELECT count(*) FROM audit_log l
                                                  WHERE l.index >= first_index AND l.index < end_index);
BEGIN
    IF missing <> 0 THEN
        RAISE EXCEPTION '% of the events % to % are missing from the log', missing, first_index, end_index - 1
            USING ERRCODE = 'data_corrupted', HINT = 'Run pgaudit verify.';
    END IF;
    RETURN QUERY
    WITH occurrence AS (
        SELECT DISTINCT target_key(target->>'type', target->>'id') AS key, l.index
          FROM audit_log l,
               jsonb_array_elements(CASE jsonb_typeof(l.event->'targets') WHEN 'array' THEN l.event->'targets' ELSE '[]' END) target
         WHERE l.index >= first_index AND l.index < end_index
    ), leaf AS (
        SELECT o.key, pg_catalog.sha256(string_agg(int8send(o.index), '' ORDER BY o.index)) AS digest,
               row_number() OVER (ORDER BY o.key) - 1 AS position
          FROM occurrence o GROUP BY o.key
    )
    SELECT (position / 256)::integer, string_agg(key, '' ORDER BY position), string_agg(digest, '' ORDER BY position)
      FROM leaf GROUP BY 1 ORDER BY 1;
END $$;

-- add_target_tiles(period, first_number, keys, digests, roots): stores leaves of a period that is not closed yet.
-- Raises 55000 if it is.
CREATE OR REPLACE FUNCTION pgaudit.add_target_tiles(
    period text, first_number integer, keys bytea[], digests bytea[], roots bytea[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM target_period p WHERE p.period = add_target_tiles.period) THEN
        RAISE EXCEPTION 'the period % is closed', period USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO target_tile (period, first_key, number, keys, digests, root)
    SELECT add_target_tiles.period, substr(given.keys, 1, 32), first_number + n - 1, given.keys, given.digests, given.root
      FROM unnest(add_target_tiles.keys, add_target_tiles.digests, roots) WITH ORDINALITY AS given (keys, digests, root, n);
END $$;

-- add_target_period(period, first_index, end_index, targets, root, event_id): closes a period.
-- Raises 55000 unless a day begins where the day before it ended, in the log and in the calendar.
CREATE OR REPLACE FUNCTION pgaudit.add_target_period(
    period text, first_index bigint, end_index bigint, targets bigint, root bytea, event_id uuid
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    last target_period;
BEGIN
    SELECT * INTO last FROM target_period WHERE length(period) = 10 ORDER BY period DESC LIMIT 1;
    IF length(add_target_period.period) = 10 AND last.period IS NOT NULL
       AND (last.end_index, last.period::date + 1) <> (add_target_period.first_index, add_target_period.period::date)
    THEN
        RAISE EXCEPTION 'the day %, from event % on, does not follow %, which ended before event %',
                        add_target_period.period, add_target_period.first_index, last.period, last.end_index
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO target_period (period, first_index, end_index, targets, root, event_id)
    VALUES (add_target_period.period, add_target_period.first_index, add_target_period.end_index,
            add_target_period.targets, add_target_period.root, add_target_period.event_id);
END $$;

-- prune_target_tiles(): removes the leaves of days whose year is closed, once the year's event is in a signed tree.
CREATE OR REPLACE FUNCTION pgaudit.prune_target_tiles() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    DELETE FROM target_tile WHERE length(period) = 10 AND left(period, 4) IN (
        SELECT p.period FROM target_period p JOIN event_key k ON k.event_id = p.event_id
         WHERE length(p.period) = 4 AND k.index < (SELECT max(size) FROM checkpoint))
$$;

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

-- Workers: their registration, their heartbeats, and the jobs that are reclaimed from stalled ones.

-- register_worker(stalled_after, max_stalls): adds a worker.
--   stalled_after  time without a heartbeat after which its jobs are reclaimed; at most a day
--   max_stalls     number of times that a job is reclaimed; the next stall ends it as failed
-- Returns its id, for people, and its token, which the worker passes to the other functions.
CREATE OR REPLACE FUNCTION pgaudit.register_worker(stalled_after interval DEFAULT '30 s', max_stalls integer DEFAULT 5)
RETURNS TABLE (worker_id bigint, token uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    INSERT INTO procrastinate_workers (last_heartbeat, stalled_after, max_stalls)
    VALUES (clock_timestamp(), least(greatest(stalled_after, '0'), '1 day'), greatest(max_stalls, 0)) RETURNING id, token
$$;

-- unregister_worker(worker): removes a worker that shuts down. Jobs that it still runs are stalled.
CREATE OR REPLACE FUNCTION pgaudit.unregister_worker(worker uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS
$$ DELETE FROM procrastinate_workers WHERE token = worker $$;

-- worker_id_of(worker): returns the id of the worker with that token; NULL if there is none.
CREATE OR REPLACE FUNCTION pgaudit.worker_id_of(worker uuid) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN (SELECT id FROM procrastinate_workers WHERE token = worker);
END $$;

-- heartbeat(worker): notes that the worker is alive.
-- Returns false if its row was deleted: then it has to register again.
CREATE OR REPLACE FUNCTION pgaudit.heartbeat(worker uuid) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH seen AS (UPDATE procrastinate_workers SET last_heartbeat = clock_timestamp() WHERE token = worker RETURNING 1)
    SELECT EXISTS (SELECT FROM seen)
$$;

-- running_jobs(worker): returns the ids of the jobs that the queue marks as run by the worker.
CREATE OR REPLACE FUNCTION pgaudit.running_jobs(worker uuid) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS
$$ SELECT id FROM audit_jobs WHERE status = 'doing' AND worker_id = worker_id_of(worker) $$;

-- unlink_deleted_workers(): trigger; clears worker_id of the jobs of deleted workers, as the foreign key of
-- Procrastinate's table does for other jobs.
CREATE OR REPLACE FUNCTION pgaudit.unlink_deleted_workers() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE audit_jobs j SET worker_id = NULL FROM deleted d WHERE j.worker_id = d.id AND j.status = 'doing';
    RETURN NULL;
END $$;

-- take_back_heartbeats(): a heartbeat that is still to come, because the clock was set back, counts as one of this moment:
-- the jobs of a worker that is gone must not wait until that time.
CREATE OR REPLACE FUNCTION pgaudit.take_back_heartbeats() RETURNS void
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    UPDATE procrastinate_workers SET last_heartbeat = clock_timestamp() WHERE id IN (
        SELECT id FROM procrastinate_workers WHERE last_heartbeat > clock_timestamp() FOR UPDATE SKIP LOCKED)
$$;

-- reclaim_stalled_jobs(): gives the jobs of stalled workers back to the queue, where they run alone from now on; ends
-- those as failed that have stalled more often than their worker's max_stalls. Of several concurrent callers, one gets
-- each job. (No advisory lock: any role could hold it.) Deletes workers without a heartbeat for a day.
-- Returns the reclaimed jobs, the worker of each, and how often each has stalled.
CREATE OR REPLACE FUNCTION pgaudit.reclaim_stalled_jobs()
RETURNS TABLE (job_id bigint, worker_id bigint, stalls integer, failed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM take_back_heartbeats();
    RETURN QUERY
    WITH stalled AS (
        SELECT j.id, s.worker_id AS lost_worker, s.heartbeat_age_seconds, s.max_stalls
          FROM stalled_workers_jobs() s JOIN audit_jobs j ON j.id = s.job_id AND j.status = 'doing'
           FOR UPDATE OF j SKIP LOCKED
    ), reclaimed AS (
        UPDATE audit_jobs j
           SET status = CASE WHEN j.stalls + 1 > s.max_stalls THEN 'failed' ELSE 'todo' END::procrastinate_job_status,
               stalls = j.stalls + 1, scheduled_at = clock_timestamp(), worker_id = NULL, abort_requested = false
          FROM stalled s WHERE j.id = s.id
        RETURNING j.*, s.lost_worker, s.heartbeat_age_seconds, s.max_stalls
    ), noted AS (
        INSERT INTO job_error (job_id, event_id, task_name, attempt, error_class, message)
        SELECT id, left(event->>'id', 100), task_name, attempts + 1, 'JobStalled',
               format('worker %s %s while it ran this job (stall %s of at most %s)', coalesce(lost_worker::text, 'unknown'),
                      coalesce('sent no heartbeat for ' || heartbeat_age_seconds::integer || ' s', 'vanished'),
                      stalls, max_stalls)
          FROM reclaimed
    )
    SELECT id, lost_worker, stalls, status = 'failed' FROM reclaimed;
    DELETE FROM procrastinate_workers WHERE id IN (
        SELECT id FROM procrastinate_workers
         WHERE last_heartbeat < clock_timestamp() - greatest(stalled_after, interval '1 day') FOR UPDATE SKIP LOCKED);
END $$;

-- stalled_workers_jobs(): returns the running jobs whose worker was deleted, or has sent no heartbeat for longer than
-- its stalled_after.
CREATE OR REPLACE FUNCTION pgaudit.stalled_workers_jobs()
RETURNS TABLE (job_id bigint, worker_id bigint, heartbeat_age_seconds double precision, max_stalls integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT j.id, j.worker_id, extract(epoch FROM clock_timestamp() - w.last_heartbeat)::double precision,
           coalesce(w.max_stalls, 5)
      FROM audit_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
     WHERE j.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < clock_timestamp() - w.stalled_after)
$$;

-- Values of the application's tables as JSON. The functions of 74_capture.sql are generated from these expressions.

-- try_jsonb(value): returns the value, or NULL where jsonb cannot hold it, such as "\u0000" in a column of type json.
CREATE OR REPLACE FUNCTION pgaudit.try_jsonb(value text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN value::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
    RETURN NULL;
END $$;

-- capturable(value): returns a value that consists of others (JSON, arrays, composites, ranges) as an event can hold
-- it: its text as a string if it is nested too deep, has a reserved key or a number of more than 4,000 digits.
CREATE OR REPLACE FUNCTION pgaudit.capturable(value text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    parsed jsonb := try_jsonb(value);
BEGIN
    IF parsed IS NULL OR parsed @? '$.**{55}' OR parsed @? '$.**."_sd"' OR parsed @? '$.**."..."'
       OR has_long_number(parsed) THEN
        RETURN to_json(value);
    END IF;
    RETURN value;
END $$;

-- omitted_value(value): returns what stands for a value that is too large for an event: its size and hash.
CREATE OR REPLACE FUNCTION pgaudit.omitted_value(value text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT jsonb_build_object('omitted', true, 'bytes', octet_length(value),
                              'sha256', encode(sha256(convert_to(value, 'UTF8')), 'hex'))
$$;

-- fitting_event(content): returns the event. While it is larger than max_event_bytes, its largest value is omitted; if
-- all are small, changes are.
CREATE OR REPLACE FUNCTION pgaudit.fitting_event(content text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    event   jsonb := content::jsonb;
    allowed integer := (SELECT max_event_bytes FROM settings);
    path    text[];
    value   jsonb;
BEGIN
    WHILE octet_length(event::text) > allowed LOOP
        SELECT ARRAY['changes', (position - 1)::text, side], change->side INTO path, value
          FROM jsonb_array_elements(event->'changes') WITH ORDINALITY AS given (change, position),
               unnest('{before,after}'::text[]) side
         WHERE change ? side ORDER BY octet_length(change->>side) DESC NULLS LAST LIMIT 1;
        IF octet_length(event #>> path) < 200 THEN  -- a table of a thousand columns
            RETURN with_fewer_changes(event, allowed);
        END IF;
        event := jsonb_set(event, path, omitted_value(event #>> path));
    END LOOP;
    RETURN event;
END $$;

-- with_fewer_changes(event, allowed): returns a captured event with as many of its changes as fit into that many bytes.
-- data.omitted_changes says how many are left out, with the size and hash of their text.
CREATE OR REPLACE FUNCTION pgaudit.with_fewer_changes(event jsonb, allowed integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT event || jsonb_build_object('changes', coalesce(jsonb_agg(change ORDER BY n) FILTER (WHERE fits), '[]'),
               'data', jsonb_build_object('omitted_changes', jsonb_build_object('count', count(*) FILTER (WHERE NOT fits))
                   || omitted_value((jsonb_agg(change ORDER BY n) FILTER (WHERE NOT fits))::text)))
      FROM (SELECT change, n, sum(octet_length(change::text) + 2) OVER (ORDER BY n)
                              <= allowed - 300 - octet_length((event - 'changes')::text) AS fits  -- 300: data
              FROM jsonb_array_elements(event->'changes') WITH ORDINALITY AS given (change, n)) measured
$$;

-- fitting_key(value): returns the id of a target: of 1 to 500 characters. A longer one ends with its hash.
CREATE OR REPLACE FUNCTION pgaudit.fitting_key(value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN value IS NULL THEN 'NULL' WHEN value = '' THEN '""' WHEN length(value) <= 500 THEN value
                ELSE left(value, 400) || '…' || encode(sha256(convert_to(value, 'UTF8')), 'hex') END
$$;

-- key_part(value): returns one of the values of a composite key; they are joined with commas.
CREATE OR REPLACE FUNCTION pgaudit.key_part(value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS
$$ SELECT coalesce(replace(replace(value, '!', '!!'), ',', '!,'), 'NULL') $$;

-- base_type(type): returns the type below a domain; another one as it is.
CREATE OR REPLACE FUNCTION pgaudit.base_type(type oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    WITH RECURSIVE base (oid, below) AS (
        SELECT t.oid, typbasetype FROM pg_type t WHERE t.oid = type
        UNION ALL SELECT t.oid, t.typbasetype FROM base JOIN pg_type t ON t.oid = below)
    SELECT oid FROM base WHERE below = 0
$$;

-- parts_of(type): returns the types that a value consists of: itself, or the base type of a domain, elements and
-- attributes.
CREATE OR REPLACE FUNCTION pgaudit.parts_of(type oid) RETURNS TABLE (part oid, kind text)
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    WITH RECURSIVE parts (oid) AS (
        SELECT base_type(type)
        UNION SELECT base_type(inner_type) FROM parts JOIN pg_type t ON t.oid = parts.oid, LATERAL (
            SELECT typelem AS inner_type WHERE typcategory = 'A'
            UNION ALL SELECT atttypid FROM pg_attribute WHERE attrelid = typrelid AND typtype = 'c' AND attnum > 0 AND NOT attisdropped
        ) inside)
    SELECT oid, CASE WHEN typtype = 'c' THEN 'composite' WHEN typcategory = 'A' THEN 'array' ELSE 'scalar' END
      FROM parts JOIN pg_type t USING (oid)
$$;

-- has_foreign_parts(type): returns whether a value has parts of types that are not PostgreSQL's. to_json and ::text
-- would call a cast that the owner of such a type has made, with the rights of the schema's owner; their text is safe.
CREATE OR REPLACE FUNCTION pgaudit.has_foreign_parts(type oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS
$$ SELECT EXISTS (SELECT FROM parts_of(type) WHERE kind = 'scalar' AND part >= 16384) $$;

-- text_expression(type, value): returns the SQL expression of a value's text, without calling a cast that a user has
-- made.
CREATE OR REPLACE FUNCTION pgaudit.text_expression(type oid, value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format(CASE WHEN kind = 'scalar' AND part < 16384 THEN '%1$s::text'
                       ELSE 'CASE WHEN %1$s IS DISTINCT FROM NULL THEN pg_catalog.format(''%%s'', %1$s) END' END, value)
      FROM parts_of(type) LIMIT 1
$$;

-- json_expression(type, value): returns the SQL expression of a column's value as JSON text. value is the expression of
-- the column, such as new.amount. The functions in which it stands fix the settings that the text of a value depends
-- on.
CREATE OR REPLACE FUNCTION pgaudit.json_expression(type oid, value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN typlen = -1 THEN format('CASE WHEN pg_catalog.pg_column_size(%s) > 100000 '
                                             'THEN pgaudit.omitted_value(%s)::text ELSE %s END', value, as_text, short)
                ELSE short END
      FROM (SELECT typlen, as_text, format(CASE
                WHEN oid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN '%1$s::text'
                WHEN oid = 'numeric'::regtype
                    THEN 'CASE WHEN pg_catalog.abs(%1$s) < ''1e1000'' AND pg_catalog.scale(%1$s) < 1000 THEN %1$s::text '
                         'ELSE pg_catalog.to_json(%1$s::text)::text END'
                WHEN oid IN ('bytea'::regtype, 'xml'::regtype) OR has_foreign_parts(oid) THEN 'pg_catalog.to_json(%2$s)::text'
                WHEN oid = 'json'::regtype THEN 'pgaudit.capturable(%1$s::text)'
                WHEN oid <> 'uuid'::regtype AND typcategory IN ('A', 'C', 'U', 'R')
                    THEN 'pgaudit.capturable(pg_catalog.to_json(%1$s)::text)'
                ELSE 'pg_catalog.to_json(%1$s)::text' END, value, as_text) AS short
              FROM pg_type t, text_expression(t.oid, value) as_text WHERE t.oid = base_type(type)) expression
$$;

-- changed_expression(type, before, after): returns the SQL condition under which a column was changed. Where "=" takes
-- different values for equal, as it does 1.0 and 1.00, or does not exist, the bytes are compared. COLLATE "C": in the
-- column's own collation "a" and "A" may be equal.
CREATE OR REPLACE FUNCTION pgaudit.changed_expression(type oid, before text, after text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format(CASE
        WHEN base_type(type) = ANY ('{bool,int2,int4,int8,oid,uuid,date,time,timestamp,timestamptz,bytea}'::regtype[]::oid[])
            THEN '%s IS DISTINCT FROM %s'
        WHEN base_type(type) = ANY ('{text,varchar}'::regtype[]::oid[]) THEN '%s IS DISTINCT FROM (%s COLLATE "C")'
        ELSE 'pg_catalog.record_image_ne(ROW(%s), ROW(%s))' END, before, after)
$$;

-- The columns of captured and guarded tables: what they are, and what those are called now that options name.

-- shape_of(relation): returns a number for the columns of a table with their types, in any order: a generated function
-- fits as long as it is the same. No sort, and no cast to text, because each changing statement pays for it.
CREATE OR REPLACE FUNCTION pgaudit.shape_of(relation oid) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.bit_xor(pg_catalog.hashnameextended(attname, atttypid::bigint)) FROM pg_catalog.pg_attribute
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;

-- deep_shape_of(relation): returns shape_of, and that of the composite types among its columns, in one text.
CREATE OR REPLACE FUNCTION pgaudit.deep_shape_of(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT concat_ws(';', shape_of(relation), (
        SELECT string_agg(DISTINCT part || ' ' || shape_of(typrelid), ';')
          FROM pg_attribute, LATERAL parts_of(atttypid), pg_type t
         WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND t.oid = part AND kind = 'composite'))
$$;

-- shape_condition(relation): returns the SQL condition under which the columns are no longer those that a function was
-- generated for. The query of shape_of stands in it, because calling that function takes longer than the query.
CREATE OR REPLACE FUNCTION pgaudit.shape_condition(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN deep_shape_of(relation) = shape_of(relation)::text
                THEN format('(SELECT pg_catalog.bit_xor(pg_catalog.hashnameextended(attname, atttypid::bigint)) '
                            'FROM pg_catalog.pg_attribute WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped) '
                            'IS DISTINCT FROM %s', shape_of(relation))
                ELSE format('pgaudit.deep_shape_of(TG_RELID) <> %L', deep_shape_of(relation)) END
$$;

-- numbered_columns(relation): returns the numbers of a table's columns by their names.
CREATE OR REPLACE FUNCTION pgaudit.numbered_columns(relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT jsonb_object_agg(attname, attnum) FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;

-- restored_numbers(known, present): returns the numbers that known columns have now by their names at that time. A
-- restore closes the gaps that dropped columns have left: then columns have lower numbers, in the same order.
CREATE OR REPLACE FUNCTION pgaudit.restored_numbers(known jsonb, present jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM jsonb_each(known) k JOIN jsonb_each(present) p USING (key) WHERE k.value > p.value)
                THEN (SELECT jsonb_object_agg(key, n) FROM (
                        SELECT key, row_number() OVER (ORDER BY value::integer) AS n FROM jsonb_each(known)) ranked)
                ELSE known END
$$;

-- columns_now(known, relation): returns what columns of a table are called now: their name, if there is such a column,
-- and the new name of the column with their number. Both, if a column was renamed and another one took its name.
--   known  the numbers of all columns at the time when they had the names known_name
CREATE OR REPLACE FUNCTION pgaudit.columns_now(known jsonb, relation oid)
RETURNS TABLE (known_name text, present_name text, is_renamed boolean)
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT k.key, p.key, p.key <> k.key
      FROM numbered_columns(relation) present, jsonb_each(restored_numbers(known, present)) k
      JOIN jsonb_each(present) p ON p.key = k.key OR p.value = k.value AND NOT known ? p.key
$$;

-- names_now(names, known, relation): returns the present names of columns, without those that were dropped. A renamed
-- column remains masked, excluded or chosen beside another one that took its name.
CREATE OR REPLACE FUNCTION pgaudit.names_now(names text[], known jsonb, relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN names IS NOT NULL THEN array(
        SELECT present_name
          FROM unnest(names) WITH ORDINALITY AS given (name, n) JOIN columns_now(known, relation) ON known_name = name
         ORDER BY n, is_renamed) END
$$;

-- key_now(names, known, relation): returns the present names of the columns of a key, without those that were dropped.
CREATE OR REPLACE FUNCTION pgaudit.key_now(names text[], known jsonb, relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT array(SELECT present_name FROM (
        SELECT DISTINCT ON (n) n, present_name
          FROM unnest(names) WITH ORDINALITY AS given (name, n) JOIN columns_now(known, relation) ON known_name = name
         ORDER BY n, is_renamed) found ORDER BY n)
$$;

-- renamed_now(renamed, known, relation): returns the present names of the columns that a condition calls otherwise.
--   renamed  the same at the time of known
CREATE OR REPLACE FUNCTION pgaudit.renamed_now(renamed jsonb, known jsonb, relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(jsonb_object_agg(name, present_name), '{}') FROM (
        SELECT DISTINCT ON (name) coalesce(r.key, known_name) AS name, present_name
          FROM columns_now(known, relation) LEFT JOIN jsonb_each_text(renamed) r ON r.value = known_name
         ORDER BY name, is_renamed) found WHERE name <> present_name
$$;

-- columns_to_capture(relation, columns, excluded): returns the columns whose values go into events: the chosen ones, or
-- all where columns is NULL. Virtual generated columns are left out: triggers do not see their values.
CREATE OR REPLACE FUNCTION pgaudit.columns_to_capture(relation oid, columns text[], excluded text[])
RETURNS TABLE (name text, type oid)
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT attname, atttypid FROM pg_attribute
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'
       AND (columns IS NULL OR attname = ANY (columns)) AND attname <> ALL (excluded)
     ORDER BY attnum
$$;

-- The triggers of captured and guarded tables.

-- row_level_reason(relation): returns why the triggers of a table must fire for each row; NULL where they may fire for
-- each statement. Statement is the rule: its transition tables make one INSERT of a bulk change. But a statement fires
-- only the triggers of the table that it names, and after all row triggers: rows that come through other tables, or
-- that other row triggers may change again, would be missed or read too late. Our row triggers fire before those.
CREATE OR REPLACE FUNCTION pgaudit.row_level_reason(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM pg_class WHERE oid = relation AND relkind = 'p') THEN 'it is partitioned'
                WHEN EXISTS (SELECT FROM pg_inherits WHERE inhparent = relation) THEN 'tables inherit from it'
                WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = relation) THEN 'it is a part of another table'
                ELSE (SELECT 'it has AFTER ROW triggers: ' || string_agg(tgname, ', ' ORDER BY tgname) FROM pg_trigger
                       WHERE tgrelid = relation AND NOT tgisinternal AND tgtype & 1 = 1 AND tgtype & 2 = 0
                         AND tgfoid NOT IN (SELECT oid FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace)) END
$$;

-- level_of_capture(relation): returns what the triggers of a table must fire for: statement or row.
CREATE OR REPLACE FUNCTION pgaudit.level_of_capture(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS
$$ SELECT CASE WHEN row_level_reason(relation) IS NULL THEN 'statement' ELSE 'row' END $$;

-- triggers_of(relation, purpose): returns the names of its triggers for the purpose: capture or guard.
CREATE OR REPLACE FUNCTION pgaudit.triggers_of(relation oid, purpose text) RETURNS SETOF name
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT tgname FROM pg_trigger WHERE tgrelid = relation AND NOT tgisinternal
       AND tgname = ANY (array(SELECT format('0_pgaudit_%s_%s', purpose, operation)
                                 FROM unnest('{insert,update,delete,truncate}'::text[]) operation)::name[])
$$;

-- partition_tree(relation): returns a table and its partitions, of all levels. pg_partition_tree would lock them all.
CREATE OR REPLACE FUNCTION pgaudit.partition_tree(relation oid) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    WITH RECURSIVE tree (relation) AS (
        SELECT partition_tree.relation
        UNION ALL
        SELECT inhrelid FROM tree JOIN pg_inherits ON inhparent = tree.relation JOIN pg_class c ON c.oid = inhrelid
         WHERE relispartition)
    SELECT relation FROM tree
$$;

-- create_triggers(relation, purpose, function): creates the triggers of a table. Their names begin with 0, because
-- triggers fire in the order of their names. PostgreSQL copies row triggers to each partition, but not that of
-- TRUNCATE.
CREATE OR REPLACE FUNCTION pgaudit.create_triggers(relation regclass, purpose text, function text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    level     text := level_of_capture(relation);
    operation text;
BEGIN
    PERFORM drop_triggers(relation, purpose, function);
    FOREACH operation IN ARRAY '{insert,update,delete}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH %s EXECUTE FUNCTION pgaudit.%I()',
                       format('0_pgaudit_%s_%s', purpose, operation), operation, relation,
                       CASE WHEN level = 'statement' THEN 'REFERENCING' || CASE WHEN operation <> 'insert' THEN ' OLD TABLE AS old_rows' ELSE '' END
                            || CASE WHEN operation <> 'delete' THEN ' NEW TABLE AS new_rows' ELSE '' END END, level, function);
    END LOOP;
    PERFORM create_truncate_trigger(member, purpose, function) FROM partition_tree(relation) member;
    PERFORM enable_triggers(relation, purpose, true);
END $$;

-- create_truncate_trigger(relation, purpose, function): creates the trigger of a table, or of a partition.
CREATE OR REPLACE FUNCTION pgaudit.create_truncate_trigger(relation regclass, purpose text, function text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    name text := format('0_pgaudit_%s_truncate', purpose);
BEGIN
    EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.%I()',
                   name, relation, function);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', relation, name);
END $$;

-- enable_triggers(relation, purpose, enabled): enables or disables the triggers of a table and its partitions. Enabled
-- ones fire always, also where session_replication_role would switch others off.
CREATE OR REPLACE FUNCTION pgaudit.enable_triggers(relation regclass, purpose text, enabled boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    member  regclass;
    trigger name;
BEGIN
    FOR member, trigger IN SELECT m, t FROM partition_tree(relation) m, triggers_of(m, purpose) t LOOP
        EXECUTE format('ALTER TABLE %s %s TRIGGER %I', member, CASE WHEN enabled THEN 'ENABLE ALWAYS' ELSE 'DISABLE' END, trigger);
    END LOOP;
END $$;

-- drop_triggers(relation, purpose, function): drops the triggers of a table, and all others that call its function:
-- renamed ones, and those on partitions that were detached. PostgreSQL drops its copies on the partitions.
CREATE OR REPLACE FUNCTION pgaudit.drop_triggers(relation regclass, purpose text, function text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    member  regclass;
    trigger name;
BEGIN
    FOR member, trigger IN
        SELECT tgrelid, tgname FROM pg_trigger t
         WHERE tgparentid = 0 AND NOT tgisinternal
           AND (tgfoid = (SELECT oid FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace AND proname = function)
                OR tgrelid IN (SELECT partition_tree(relation)) AND tgname IN (SELECT triggers_of(tgrelid, purpose))) LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger, member);
    END LOOP;
END $$;

-- install_triggers(purpose, relation, id, body, settings): creates function and triggers of a table, and records that.
--   purpose   capture or guard
--   id        its number in captured_table or guarded_table
--   settings  its row there
CREATE OR REPLACE FUNCTION pgaudit.install_triggers(purpose text, relation regclass, id integer, body text, settings jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM create_trigger_function(purpose || '_' || id, body);
    PERFORM create_triggers(relation, purpose, purpose || '_' || id);
    PERFORM record_about_table(format('audit.%s_added', purpose), relation, jsonb_strip_nulls(
        settings - '{id,relation,renamed_columns,known_columns,added_at,added_by}'::text[]));
END $$;

-- pause_triggers(purpose, relation, paused): disables the triggers of a table, or enables them again, and records that.
CREATE OR REPLACE FUNCTION pgaudit.pause_triggers(purpose text, relation regclass, paused boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM record_about_table(format('audit.%s_%s', purpose, CASE WHEN paused THEN 'paused' ELSE 'resumed' END), relation);
    PERFORM enable_triggers(relation, purpose, NOT paused);
END $$;

-- remove_triggers(purpose, relation, id): drops function and triggers of a table, and records that.
CREATE OR REPLACE FUNCTION pgaudit.remove_triggers(purpose text, relation regclass, id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM record_about_table(format('audit.%s_removed', purpose), relation);
    PERFORM drop_triggers(relation, purpose, purpose || '_' || id);
    EXECUTE format('DROP FUNCTION IF EXISTS pgaudit.%I()', purpose || '_' || id);
END $$;

-- children_of(relation): returns the tables that inherit from a table, without its partitions.
CREATE OR REPLACE FUNCTION pgaudit.children_of(relation regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = relation AND NOT relispartition
$$;

-- Capture: triggers on the application's tables that record an event for each changed row, whoever changed it. Their
-- functions are generated for each table, because comparing two rows of unknown columns takes three times as long.

-- is_trusted_type(type): returns whether only a superuser or the schema's owner can make casts and operators for a type.
-- A condition that uses another one might call them, with the rights of the schema's owner.
CREATE OR REPLACE FUNCTION pgaudit.is_trusted_type(type oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT rolsuper OR typowner = (SELECT nspowner FROM pg_namespace WHERE nspname = 'pgaudit')
      FROM pg_type t JOIN pg_roles r ON r.oid = typowner WHERE t.oid = base_type(type)
$$;

-- condition_row(relation, renamed, row): returns the query of a row as a condition sees it. Columns of types that are not
-- trusted are text.
--   renamed  the present names of columns that the condition calls otherwise
--   row      old or new; NULL for a row without values
CREATE OR REPLACE FUNCTION pgaudit.condition_row(relation oid, renamed jsonb, "row" text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT 'SELECT ' || string_agg(format('%s AS %I',
        CASE WHEN "row" IS NULL
             THEN format('NULL::%s', CASE WHEN trusted THEN format_type(base_type(atttypid), NULL) ELSE 'text' END)
             WHEN trusted THEN format('%s.%I', "row", attname)
             ELSE text_expression(atttypid, format('%s.%I', "row", attname)) END, coalesce(name, attname)), ', ' ORDER BY attnum)
      FROM pg_attribute LEFT JOIN jsonb_each_text(renamed) AS other (name, present_name) ON present_name = attname,
           LATERAL is_trusted_type(atttypid) trusted
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'
       AND (name IS NOT NULL OR NOT renamed ? attname)
$$;

-- condition_expression(capture, relation): returns the SQL expression of a capture's condition; NULL if it has none.
CREATE OR REPLACE FUNCTION pgaudit.condition_expression(capture pgaudit.captured_table, relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN capture.condition IS NOT NULL
                THEN format(E'(SELECT (%s\n) FROM (%s) old, (%s) new)', capture.condition,
                            condition_row(relation, capture.renamed_columns, 'old'),
                            condition_row(relation, capture.renamed_columns, 'new')) END
$$;

-- key_expression(relation, key, row): returns the SQL expression of a row's key: the id of the target.
CREATE OR REPLACE FUNCTION pgaudit.key_expression(relation oid, key text[], "row" text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN cardinality(key) > 1
                THEN 'pgaudit.fitting_key(' || string_agg(format('pgaudit.key_part(%s)', value), $s$ || ',' || $s$ ORDER BY n) || ')'
                WHEN bool_and(atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype))
                THEN format('coalesce(%s, ''NULL'')', min(value))
                ELSE min(format('pgaudit.fitting_key(%s)', value)) END
      FROM unnest(key) WITH ORDINALITY AS part (name, n)
      JOIN pg_attribute ON attrelid = relation AND attname = name AND NOT attisdropped,
           LATERAL text_expression(atttypid, format('%s.%I', "row", name)) value
$$;

-- change_expression(column, operation, masked): returns the SQL expression of a column's change, in JSON after a comma;
-- it is NULL where there is none. Of a masked column it says that it was changed, but not its values.
CREATE OR REPLACE FUNCTION pgaudit.change_expression(name text, type oid, operation text, masked boolean)
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE operation
        WHEN 'UPDATE' THEN format($s$CASE WHEN %s THEN %L || coalesce(%s, 'null') || ',"after":' || coalesce(%s, 'null') || '}' END$s$,
            changed_expression(type, o, n), format(',{"path":%s,"before":', to_json(name)),
            CASE WHEN masked THEN hidden ELSE json_expression(type, o) END,
            CASE WHEN masked THEN hidden ELSE json_expression(type, n) END)
        WHEN 'INSERT' THEN format($s$CASE WHEN %s IS DISTINCT FROM NULL THEN %L || %s || '}' END$s$,
            n, format(',{"path":%s,"after":', to_json(name)), CASE WHEN masked THEN hidden ELSE json_expression(type, n) END)
        WHEN 'DELETE' THEN format($s$CASE WHEN %s IS DISTINCT FROM NULL THEN %L || %s || '}' END$s$,
            o, format(',{"path":%s,"before":', to_json(name)), CASE WHEN masked THEN hidden ELSE json_expression(type, o) END)
        END
      FROM (SELECT format('old.%I', name) AS o, format('new.%I', name) AS n, $s$'"***"'$s$ AS hidden) row
$$;

-- changes_expression(…): returns the SQL expression of the changes of a row, in JSON with a comma before each. A
-- function call takes at most 100 arguments.
CREATE OR REPLACE FUNCTION pgaudit.changes_expression(relation oid, columns text[], excluded text[], masked text[],
                                                      operation text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(string_agg(portion, ' || '), $s$''$s$)
      FROM (SELECT format('pg_catalog.concat(%s)', string_agg(change_expression(
                       name, type, operation, name = ANY (masked)), E',\n               ' ORDER BY n)) AS portion
              FROM columns_to_capture(relation, columns, excluded) WITH ORDINALITY AS c (name, type, n)
             GROUP BY n / 100) portions
$$;

-- changed_condition(…): returns the SQL condition under which an UPDATE has changed any recorded column.
CREATE OR REPLACE FUNCTION pgaudit.changed_condition(relation oid, columns text[], excluded text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(string_agg(changed_expression(type, format('old.%I', name), format('new.%I', name)), ' OR '), 'false')
      FROM columns_to_capture(relation, columns, excluded)
$$;

-- rows_of(operation, level, old_row, new_row): returns the SQL of the changed rows: old before, new after. The two
-- transition tables of an UPDATE have its rows in the same order. Their number is called ctid, as no column of a table
-- can be.
--   level  statement or row: what the trigger fires for; single: a statement that has changed one row, or none
CREATE OR REPLACE FUNCTION pgaudit.rows_of(operation text, level text, old_row text, new_row text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE level || ' ' || operation
        WHEN 'single INSERT' THEN 'new_rows new'
        WHEN 'single DELETE' THEN 'old_rows old'
        WHEN 'single UPDATE' THEN 'old_rows old, new_rows new'
        WHEN 'statement INSERT' THEN 'new_rows new'
        WHEN 'statement DELETE' THEN 'old_rows old'
        WHEN 'statement UPDATE' THEN '(SELECT pg_catalog.row_number() OVER () AS ctid, * FROM old_rows) old '
                                     'JOIN (SELECT pg_catalog.row_number() OVER () AS ctid, * FROM new_rows) new USING (ctid)'
        WHEN 'row INSERT' THEN format('(SELECT %s.*) new', new_row)
        WHEN 'row DELETE' THEN format('(SELECT %s.*) old', old_row)
        WHEN 'row UPDATE' THEN format('(SELECT %s.*) old, (SELECT %s.*) new', old_row, new_row) END
$$;

-- event_expression(capture, head, key, new_key, changes): returns the SQL expression of an event's text, of those for its
-- parts; changes are in JSON, with commas between them.
CREATE OR REPLACE FUNCTION pgaudit.event_expression(capture pgaudit.captured_table, head text, key text, new_key text, changes text)
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($expression$%1$s || pg_catalog.substr(pg_catalog.gen_random_uuid()::text, 16)
           || %2$L || pg_catalog.to_json(%4$s)::text || CASE WHEN %4$s = %5$s THEN '}' ELSE %3$L || pg_catalog.to_json(%5$s)::text || ',"role":"new"}' END
           || '],"changes":[' || %6$s || ']}'$expression$, head, '","targets":[' || target, '},' || target, key, new_key, changes)
      FROM format('{"type":%s,"id":', to_json(capture.target_type)) target
$$;

-- fitting_expression(content): returns the SQL expression of an event of which that expression is the text.
CREATE OR REPLACE FUNCTION pgaudit.fitting_expression(content text) RETURNS text
LANGUAGE sql IMMUTABLE AS
$$ SELECT format('CASE WHEN pg_catalog.octet_length(%1$s) > 8000 THEN pgaudit.fitting_event(%1$s) ELSE %1$s::jsonb END', content) $$;

-- hash_expression(content, receipts): returns the SQL expression of an event's leaf hash.
CREATE OR REPLACE FUNCTION pgaudit.hash_expression(content text, receipts text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format($expression$CASE WHEN %2$s IS NULL THEN pg_catalog.sha256(pg_catalog.decode('00', 'hex') || pg_catalog.convert_to(%1$s, 'UTF8'))
                         ELSE pgaudit.hash_with_receipt(%1$s, %2$s) END$expression$, content, receipts)
$$;

-- change_query(capture, relation, operation, level, names): returns the query of the changed rows of a table: key,
-- new_key (another one if the key was changed), and content, the text of the event.
--   relation  the table, or its partition or child
--   level     what rows_of takes
--   names     of the results of captured_head and receipt_prefix, and of OLD and NEW, in the query: variables of a
--             generated function, or parameters
CREATE OR REPLACE FUNCTION pgaudit.change_query(capture pgaudit.captured_table, relation oid, operation text, level text,
                                                names text[] DEFAULT '{captured.head,captured.receipts,OLD,NEW}')
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($query$SELECT c.key, c.new_key, %1$s AS content
      FROM (SELECT %2$s AS key, %3$s AS new_key,
               %4$s AS changes
              FROM %5$s
             WHERE %6$s
            OFFSET 0) c
     WHERE %7$s
    OFFSET 0$query$,
        event_expression(capture, names[1], 'c.key', 'c.new_key', 'pg_catalog.substr(c.changes, 2)'),
        key_expression(relation, capture.key_columns, CASE operation WHEN 'INSERT' THEN 'new' ELSE 'old' END),
        key_expression(relation, capture.key_columns, CASE operation WHEN 'DELETE' THEN 'old' ELSE 'new' END),
        changes_expression(relation, capture.columns, capture.excluded, capture.masked, operation),
        rows_of(operation, level, names[3], names[4]),
        coalesce(CASE WHEN operation = 'UPDATE' THEN condition_expression(capture, relation) END, 'true'),
        CASE operation WHEN 'UPDATE' THEN $s$c.changes <> ''$s$ ELSE 'true' END)
$$;

-- key_query(…): returns the query of the keys of the changed rows alone: key and new_key; takes what change_query
-- takes.
CREATE OR REPLACE FUNCTION pgaudit.key_query(capture pgaudit.captured_table, relation oid, operation text, level text, names text[])
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format('SELECT %s AS key, %s AS new_key FROM %s WHERE %s',
        key_expression(relation, capture.key_columns, CASE operation WHEN 'INSERT' THEN 'new' ELSE 'old' END),
        key_expression(relation, capture.key_columns, CASE operation WHEN 'DELETE' THEN 'old' ELSE 'new' END),
        rows_of(operation, level, names[3], names[4]),
        CASE operation WHEN 'UPDATE' THEN format('%s AND (%s)', coalesce(condition_expression(capture, relation), 'true'),
                                                 changed_condition(relation, capture.columns, capture.excluded)) ELSE 'true' END)
$$;

-- capture_query(…): returns the statement that records an event for each changed row; takes what change_query takes.
CREATE OR REPLACE FUNCTION pgaudit.capture_query(capture pgaudit.captured_table, relation oid, operation text, level text,
                                                 names text[] DEFAULT '{captured.head,captured.receipts,OLD,NEW}')
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($query$INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
    SELECT e.event, %1$s, pg_catalog.octet_length(e.content)
      FROM (SELECT f.event, f.event::text AS content
              FROM (SELECT %2$s AS event
                      FROM (%3$s) t
                    OFFSET 0) f
            OFFSET 0) e$query$, hash_expression('e.content', names[2]), fitting_expression('t.content'),
        change_query(capture, relation, operation, level, names))
$$;

-- Capture of an UPDATE of one row, which most statements are: Postgres prepares each expression anew in each transaction,
-- which takes longer than to evaluate it. So the values are given to json_build_object. It cannot hold those of unusual
-- size: they are left to the statement for any number of rows.

-- argument_expression(type, value): returns the SQL expression of a column's value as an argument of json_build_object,
-- which makes of it what json_expression does, if it is not unusual.
CREATE OR REPLACE FUNCTION pgaudit.argument_expression(type oid, value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN oid IN ('bytea'::regtype, 'xml'::regtype) OR has_foreign_parts(oid) THEN text_expression(oid, value)
                WHEN oid = 'json'::regtype THEN format('pgaudit.capturable(%s::text)::json', value)
                WHEN oid <> 'uuid'::regtype AND typcategory IN ('A', 'C', 'U', 'R')
                    THEN format('pgaudit.capturable(pg_catalog.to_json(%s)::text)::json', value)
                ELSE value END
      FROM pg_type t WHERE t.oid = base_type(type)
$$;

-- unusual_expression(type, value): returns the SQL condition under which a value needs json_expression: it is large, or a
-- number of many digits; NULL if no value of the type does.
CREATE OR REPLACE FUNCTION pgaudit.unusual_expression(type oid, value text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN oid = 'numeric'::regtype
                THEN format('pg_catalog.abs(%1$s) >= ''1e1000'' OR pg_catalog.scale(%1$s) >= 1000', value)
                WHEN typlen = -1 THEN format('pg_catalog.pg_column_size(%s) > 100000', value) END
      FROM pg_type t WHERE t.oid = base_type(type)
$$;

-- single_changes(capture): returns the SQL expression of the changes of the row, in JSON with commas between them. A
-- function call takes at most 100 arguments.
CREATE OR REPLACE FUNCTION pgaudit.single_changes(capture pgaudit.captured_table) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format('pg_catalog.concat_ws('','', %s)', coalesce(string_agg(portion, E',\n               ' ORDER BY first), 'NULL'))
      FROM (SELECT CASE WHEN count(*) OVER () = 1 THEN list ELSE format('nullif(pg_catalog.concat_ws('','', %s), '''')', list) END AS portion, first
              FROM (SELECT string_agg(format('CASE WHEN %s THEN pg_catalog.json_build_object(''path'', %L, ''before'', %s, ''after'', %s) END',
                               changed_expression(type, o, n), name,
                               CASE WHEN masked THEN $s$'***'$s$ ELSE argument_expression(type, o) END,
                               CASE WHEN masked THEN $s$'***'$s$ ELSE argument_expression(type, n) END), E',\n               ' ORDER BY number) AS list, min(number) AS first
                      FROM columns_to_capture(capture.relation, capture.columns, capture.excluded) WITH ORDINALITY AS c (name, type, number),
                           LATERAL (SELECT format('old.%I', name) AS o, format('new.%I', name) AS n,
                                           name = ANY (capture.masked) AS masked) row
                     GROUP BY number / 90) lists) portions
$$;

-- unusual_row(capture): returns the SQL condition under which a value of the row before or after is unusual.
CREATE OR REPLACE FUNCTION pgaudit.unusual_row(capture pgaudit.captured_table) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(string_agg(condition, ' OR '), 'false')
      FROM columns_to_capture(capture.relation, capture.columns, capture.excluded),
           unnest('{old,new}'::text[]) side, LATERAL unusual_expression(type, format('%I.%I', side, name)) condition
     WHERE name <> ALL (capture.masked)
$$;

-- single_update(capture, many): returns the commands of a statement's trigger for UPDATE.
--   many  the statement for any number of rows
CREATE OR REPLACE FUNCTION pgaudit.single_update(capture pgaudit.captured_table, many text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($commands$<<single>>
    DECLARE
        key     text;
        new_key text;
        changes text;  -- NULL: several rows, or unusual ones; empty: nothing to record
        content text;
        event   jsonb;
    BEGIN
        SELECT %1$s, %2$s,
               CASE WHEN EXISTS (SELECT FROM old_rows OFFSET 1) THEN NULL WHEN (%3$s) IS NOT TRUE THEN '' WHEN %4$s THEN NULL ELSE %5$s END
          INTO single.key, single.new_key, single.changes FROM old_rows old, new_rows new;
        IF single.changes <> '' THEN
            single.content := %6$s;
            single.event := %7$s;
            single.content := single.event::text;
            INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
            VALUES (single.event, %8$s, pg_catalog.octet_length(single.content));
        ELSIF FOUND AND single.changes IS NULL THEN
            %9$s;
        END IF;
    END$commands$,
        key_expression(capture.relation, capture.key_columns, 'old'), key_expression(capture.relation, capture.key_columns, 'new'),
        coalesce(condition_expression(capture, capture.relation), 'true'), unusual_row(capture), single_changes(capture),
        event_expression(capture, 'captured.head', 'single.key', 'single.new_key', 'single.changes'),
        fitting_expression('single.content'), hash_expression('single.content', 'captured.receipts'), many)
$$;

-- The functions of these triggers: generated for the columns of each captured table, and adapted when they change.

-- create_trigger_function(name, body): creates a generated function, or replaces it. It fixes the settings that the
-- text of a value depends on, and how strings in a condition are read. It forbids nested loops, because rows of
-- transition tables are joined by their numbers, and a plan that was made for one row may meet a million.
CREATE OR REPLACE FUNCTION pgaudit.create_trigger_function(name text, body text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    EXECUTE format($function$CREATE OR REPLACE FUNCTION pgaudit.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pgaudit, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'postgres'
        SET bytea_output = 'hex' SET extra_float_digits = 1 SET lc_monetary = 'C'
        SET standard_conforming_strings = on SET enable_nestloop = off SET plan_cache_mode = force_generic_plan
        SET jit = off AS %L$function$,
        name, body);
    EXECUTE format('REVOKE ALL ON FUNCTION pgaudit.%I() FROM PUBLIC', name);
    EXECUTE format('COMMENT ON FUNCTION pgaudit.%I() IS %L', name, generated_comment(body));
END $$;

-- generated_comment(body): returns the comment of a generated function. Its hash no longer fits a body that was
-- altered.
CREATE OR REPLACE FUNCTION pgaudit.generated_comment(body text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS
$$ SELECT 'Generated by pgaudit: ' || encode(sha256(convert_to(body, 'UTF8')), 'hex') $$;

-- names_expression(rows): returns the SQL expression of a JSON object with the columns of changed rows as they are now;
-- NULL if there are no rows. Its values are null: JSON of a value would call a cast that the owner of its type has made.
CREATE OR REPLACE FUNCTION pgaudit.names_expression(rows text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format('(SELECT pg_catalog.row_to_json(n) '
                  'FROM (SELECT r.* FROM (SELECT FROM %s f LIMIT 1) f LEFT JOIN %1$s r ON false) n)', rows)
$$;

-- snapshot_check(level): returns the commands that compare the columns in the transaction's snapshot with those of a
-- row. They do nothing in READ COMMITTED, where each command has a snapshot of its own.
CREATE OR REPLACE FUNCTION pgaudit.snapshot_check(level text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($body$IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        IF TG_OP = 'DELETE' THEN
            captured.names := %s;
        ELSE
            captured.names := %s;
        END IF;
        IF captured.names IS NULL THEN
            RETURN NULL;
        END IF;
        PERFORM pgaudit.check_columns(TG_RELID, captured.names);
    END IF;$body$,
        names_expression(CASE level WHEN 'row' THEN '(SELECT OLD.*)' ELSE 'old_rows' END),
        names_expression(CASE level WHEN 'row' THEN '(SELECT NEW.*)' ELSE 'new_rows' END))
$$;

-- one_or_many(operation, one, many): returns the command of a statement's trigger: one for a single row, or none; many
-- for any number. Most statements change one row, for which windows and joins take longer than all else.
CREATE OR REPLACE FUNCTION pgaudit.one_or_many(operation text, one text, many text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format(E'IF NOT EXISTS (SELECT FROM %s OFFSET 1) THEN\n    %s;\n    ELSE\n    %s;\n    END IF',
                  CASE operation WHEN 'INSERT' THEN 'new_rows' ELSE 'old_rows' END, one, many)
$$;

-- trigger_body(purpose, id, relation, head, receipts, truncated, commands): returns the body of the trigger function of
-- a captured or guarded table.
--   purpose    capture or guard
--   id         its number in captured_table or guarded_table
--   head       expression of captured_head's result, or of '' where no event is made
--   receipts   expression of receipt_prefix's result; NULL without receipts
--   truncated  call of the function that is told of a TRUNCATE
--   commands   what is done about INSERT, UPDATE and DELETE, as long as the columns are those that it was generated for
CREATE OR REPLACE FUNCTION pgaudit.trigger_body(purpose text, id integer, relation oid, head text, receipts text, truncated text,
                                                commands text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format($body$
-- Generated by pgaudit for the table of %8$s %2$s. Replaced when its columns change.
#variable_conflict use_column
<<captured>>
DECLARE
    head     text;
    receipts text := %4$s;
    names    json;
BEGIN
    IF pg_catalog.current_setting('session_replication_role') = 'replica' AND pgaudit.is_replicated() THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM %5$s;
        RETURN NULL;
    END IF;
    captured.head := %3$s;
    %6$s
    IF %7$s THEN
        PERFORM pgaudit.regenerate_%1$s(%2$s);
        EXECUTE pgaudit.%1$s_query(pgaudit.current_%1$s(%2$s), TG_RELID, TG_OP, %9$L, '{$1,$2,$3,$4}')
          USING captured.head, captured.receipts%10$s;
    ELSIF TG_OP = 'INSERT' THEN
    %11$s;
    ELSIF TG_OP = 'UPDATE' THEN
    %12$s;
    ELSE
    %13$s;
    END IF;
    RETURN NULL;
END $body$,
        purpose, id, head, receipts, truncated, snapshot_check(level), shape_condition(relation),
        CASE purpose WHEN 'capture' THEN 'captured_table' ELSE 'guarded_table' END, level,
        CASE level WHEN 'row' THEN ', OLD, NEW' ELSE '' END, commands[1], commands[2], commands[3])
      FROM level_of_capture(relation) level
$$;

-- head_expression(action): returns the expression of captured_head's result in a trigger function.
CREATE OR REPLACE FUNCTION pgaudit.head_expression(action text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format('pgaudit.captured_head(CASE TG_OP WHEN ''INSERT'' THEN %L WHEN ''UPDATE'' THEN %L ELSE %L END)',
                  action || '.created', action || '.updated', action || '.deleted')
$$;

-- capture_body(capture): returns the body of the trigger function of a captured table.
CREATE OR REPLACE FUNCTION pgaudit.capture_body(capture pgaudit.captured_table) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT trigger_body('capture', capture.id, capture.relation, head_expression(capture.action),
        $s$CASE WHEN pg_catalog.current_setting('audit.wal_receipts', true) = 'on' THEN pgaudit.receipt_prefix() END$s$,
        format('pgaudit.record_about_table(%L, TG_RELID)', capture.action || '.truncated'),
        ARRAY[capture_query(capture, capture.relation, 'INSERT', level),
              CASE level WHEN 'row' THEN capture_query(capture, capture.relation, 'UPDATE', level)
                         ELSE single_update(capture, capture_query(capture, capture.relation, 'UPDATE', level)) END,
              capture_query(capture, capture.relation, 'DELETE', level)])
      FROM level_of_capture(capture.relation) level
$$;

-- current_key(names, known, relation): returns the present names of the columns of a key.
CREATE OR REPLACE FUNCTION pgaudit.current_key(names text[], known jsonb, relation regclass) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    present text[] := key_now(names, known, relation);
BEGIN
    IF cardinality(present) < cardinality(names) THEN
        RAISE EXCEPTION 'a key column of the table % no longer exists', relation
            USING ERRCODE = 'undefined_column', HINT = 'Name the new key: pgaudit capture add, or pgaudit guard add.';
    END IF;
    RETURN present;
END $$;

-- current_capture(id): returns how a table is captured, with the present names of its columns.
CREATE OR REPLACE FUNCTION pgaudit.current_capture(id integer) RETURNS pgaudit.captured_table
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    capture captured_table := (SELECT c FROM captured_table c WHERE c.id = current_capture.id);
BEGIN
    capture.key_columns := current_key(capture.key_columns, capture.known_columns, capture.relation);
    capture.columns := names_now(capture.columns, capture.known_columns, capture.relation);
    capture.excluded := names_now(capture.excluded, capture.known_columns, capture.relation);
    capture.masked := names_now(capture.masked, capture.known_columns, capture.relation);
    capture.renamed_columns := renamed_now(capture.renamed_columns, capture.known_columns, capture.relation);
    RETURN capture;
END $$;

-- regenerate_capture(id): adapts a captured table's function to its columns, unless another transaction does so right
-- now, or this one has a snapshot that others may be ahead of: any isolation level but READ COMMITTED. Until it is
-- adapted, each change builds its statement at run time.
CREATE OR REPLACE FUNCTION pgaudit.regenerate_capture(id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    capture captured_table;
BEGIN
    PERFORM FROM captured_table c WHERE c.id = regenerate_capture.id AND current_setting('transaction_isolation') = 'read committed'
        FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        capture := current_capture(id);
        UPDATE captured_table c SET key_columns = capture.key_columns, columns = capture.columns, excluded = capture.excluded,
               masked = capture.masked, renamed_columns = capture.renamed_columns,
               known_columns = numbered_columns(capture.relation)
         WHERE c.id = regenerate_capture.id;
        PERFORM create_trigger_function('capture_' || id, capture_body(capture));
        PERFORM record_about_table('audit.columns_changed', capture.relation, jsonb_build_object(
            'columns', (SELECT jsonb_agg(name ORDER BY name) FROM jsonb_object_keys(numbered_columns(capture.relation)) name)));
    END IF;
END $$;

-- Capture at run time.

-- context_of_application(): returns actor, tenant and context as the application has set them in audit.context, without
-- fields that no event has; NULL if it is not set or not valid. Each field has at most 1,000 characters: the number
-- 1e131071 is short in a setting, and long as text.
CREATE OR REPLACE FUNCTION pgaudit.context_of_application() RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    given text  := current_setting('audit.context', true);
    said  jsonb := CASE WHEN given <> '' AND octet_length(given) <= 8000 THEN try_jsonb(given) END;
    actor jsonb := said->'actor';
BEGIN
    IF jsonb_typeof(said) IS DISTINCT FROM 'object' THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'actor', CASE WHEN is_reference(actor) THEN jsonb_build_object('type', actor->>'type', 'id', actor->>'id',
                      'name', left(actor->>'name', 500), 'on_behalf_of', left(actor->>'on_behalf_of', 500)) END,
        'tenant', left(said->>'tenant', 500),
        'context', (SELECT jsonb_object_agg(key, left(value, 1000)) FROM jsonb_each_text(
                        CASE WHEN jsonb_typeof(said->'context') = 'object' THEN said->'context' ELSE '{}' END)
                     WHERE key = ANY ('{request_id,trace_id,span_id,session_id,ip,user_agent,correlation_id,causation_id}'))));
END $$;

-- captured_head(action): returns the beginning of a captured event: all that does not depend on the row, and the first
-- 15 characters of its id, a UUIDv7: the time and the version. substr(gen_random_uuid()::text, 16) is the rest of one.
--   context.source  application, if audit.context names the actor; database, if only the role is known
--   context         session_user, current_user, client_address and application_name, as the server knows them
-- It joins text, and calls context_of_application only if audit.context is set, because each changing statement pays
-- for it. It has no SET, which would take a fifth longer; so all names have their schema.
CREATE OR REPLACE FUNCTION pgaudit.captured_head(action text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    clock   timestamptz := pg_catalog.clock_timestamp();
    millis  text  := pg_catalog.lpad(pg_catalog.to_hex((extract(epoch FROM clock) * 1000)::bigint), 12, '0');
    moment  text  := pg_catalog.to_char(clock AT TIME ZONE interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    login   text  := pg_catalog.to_json(session_user)::text;
    actor   text  := '{"type":"db_user","id":' || login || '}';
    context text  := pg_catalog.concat('{"source":"database","session_user":', login,
        ',"current_user":' || coalesce(pg_catalog.to_json(nullif(pg_catalog.current_setting('role'), 'none'))::text, login),
        ',"client_address":"' || pg_catalog.host(pg_catalog.inet_client_addr()) || '"',
        ',"application_name":' || pg_catalog.to_json(nullif(pg_catalog.current_setting('application_name'), ''))::text, '}');
    said    jsonb;
BEGIN
    IF pg_catalog.current_setting('audit.context', true) <> '' THEN
        said := pgaudit.context_of_application();
        actor := coalesce(said->>'actor', actor);
        context := coalesce(said->'context', '{}') || context::jsonb
                || CASE WHEN said ? 'actor' THEN '{"source": "application"}' ELSE '{}' END::jsonb;
    END IF;
    RETURN pg_catalog.concat('{"action":', pg_catalog.to_json(action), ',"outcome":"success","schema_version":1,"occurred_at":"', moment,
        '","recorded_at":"', moment, '","recorded_by":', login, ',"xid":"', pg_catalog.pg_current_xact_id(), '","actor":', actor,
        ',"context":', context, ',"tenant":' || (said->'tenant')::text, ',"id":"', pg_catalog.left(millis, 8), '-',
        pg_catalog.right(millis, 4), '-7');
END $$;

-- is_replicated(): returns whether the change comes from a publisher, where it was captured. session_replication_role
-- alone does not say so: a role that may set it would evade every capture.
CREATE OR REPLACE FUNCTION pgaudit.is_replicated() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    RETURN current_setting('session_replication_role') = 'replica'
       AND EXISTS (SELECT FROM pg_stat_subscription WHERE pid = pg_backend_pid());
END $$;

-- event_about_table(action, relation, data): returns the text of an event about a table as a whole, by its number if it
-- was dropped.
CREATE OR REPLACE FUNCTION pgaudit.event_about_table(action text, relation regclass, data jsonb DEFAULT NULL) RETURNS text
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    SELECT ((captured_head(action) || substr(gen_random_uuid()::text, 16) || '"}')::jsonb || jsonb_build_object(
               'targets', jsonb_build_array(jsonb_build_object(
                   'type', 'table', 'id', coalesce(table_name(relation), relation::text))))
            || CASE WHEN data IS NULL THEN '{}' ELSE jsonb_build_object('data', data) END)::text
$$;

-- record_about_table(action, relation, data): records an event about a table as a whole.
CREATE OR REPLACE FUNCTION pgaudit.record_about_table(action text, relation regclass, data jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql SET search_path = pgaudit, pg_temp AS
$$ SELECT record_contents(ARRAY[event_about_table(action, relation, data)]) $$;

-- record_contents(contents): records captured events, each given as its text.
CREATE OR REPLACE FUNCTION pgaudit.record_contents(contents text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    receipts text := CASE WHEN current_setting('audit.wal_receipts', true) = 'on' THEN receipt_prefix() END;
BEGIN
    INSERT INTO audit_jobs (event, leaf_hash, event_bytes)
    SELECT event, CASE WHEN receipts IS NULL THEN sha256(decode('00', 'hex') || convert_to(event::text, 'UTF8'))
                       ELSE hash_with_receipt(event::text, receipts) END, octet_length(event::text)
      FROM (SELECT CASE WHEN octet_length(content) > 8000 THEN fitting_event(content) ELSE content::jsonb END AS event
              FROM unnest(contents) content OFFSET 0) given;
END $$;

-- table_name(relation): returns its name with its schema.
CREATE OR REPLACE FUNCTION pgaudit.table_name(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT nspname || '.' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = relation
$$;

-- check_columns(relation, names): raises if a transaction's snapshot is older than the columns of a table that it
-- changes: it cannot see which columns they were, so it has to be repeated.
--   names  JSON with the columns of the changed rows as they are now
CREATE OR REPLACE FUNCTION pgaudit.check_columns(relation regclass, names json) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF (SELECT jsonb_object_agg(name, 0) FROM json_object_keys(names) name)
       <> (SELECT jsonb_object_agg(name, 0) FROM jsonb_object_keys(numbered_columns(relation)) name) THEN
        RAISE EXCEPTION 'could not serialize access: the columns of % have changed since the transaction began', relation
            USING ERRCODE = 'serialization_failure', HINT = 'Repeat the transaction.';
    END IF;
END $$;

-- captured_operations(relation): returns the operations whose capture is enabled, such as {insert,update,delete}. Any
-- role may ask: the catalog is readable for everyone.
CREATE OR REPLACE FUNCTION pgaudit.captured_operations(relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce(array_agg(substr(tgname, 19) ORDER BY tgname), '{}') FROM pg_trigger
     WHERE tgrelid = relation AND NOT tgisinternal AND starts_with(tgname, '0_pgaudit_capture_') AND tgenabled = 'A'
$$;

-- record_uncaptured(changes): records the events of changes that no trigger captures, so that a change that an ORM and
-- a trigger see is recorded once. For a JSON array of {"table": "public.claims", "operation": "update", "event": {…}}.
-- Returns how many it has recorded; raises as record does.
CREATE OR REPLACE FUNCTION pgaudit.record_uncaptured(changes jsonb) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    events jsonb := (
        SELECT coalesce(jsonb_agg(change->'event' ORDER BY n), '[]')
          FROM jsonb_array_elements(changes) WITH ORDINALITY AS given (change, n)
         WHERE change->>'operation' <> ALL (pgaudit.captured_operations((change->>'table')::regclass)));
BEGIN
    IF events <> '[]' THEN
        PERFORM pgaudit.record(events);
    END IF;
    RETURN jsonb_array_length(events);
END $$;

-- Adding capture to tables of the application, pausing and removing it.

-- add_capture(relation, target, key, …): records an event for each change of a table from now on; replaces what was
-- added before. Its children are captured, too. For the role that owns schema and table.
--   target     type of the target, such as claim; its id is the row's key
--   key        columns of the key
--   action     what the actions begin with: claim.created, claim.updated …; the target's type when left out
--   columns    columns to record; all when left out
--   excluded   columns that are not recorded, such as a search vector; a change of these alone is no event
--   masked     columns whose changes are recorded without their values
--   condition  an UPDATE is recorded only where this SQL holds: new.status IS DISTINCT FROM old.status
--   renamed_columns  the present names of columns that the condition calls otherwise, because they were renamed
-- Raises:
--   22023  the table cannot be captured in this way; the message says why
CREATE OR REPLACE FUNCTION pgaudit.add_capture(relation regclass, target text, key text[], action text DEFAULT NULL,
    columns text[] DEFAULT NULL, excluded text[] DEFAULT '{}', masked text[] DEFAULT '{}', condition text DEFAULT NULL,
    renamed_columns jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    capture captured_table;
    child   regclass;
BEGIN
    PERFORM check_captured(add_capture.relation, add_capture.target, add_capture.key, coalesce(add_capture.action, add_capture.target),
                           add_capture.key || add_capture.columns || add_capture.excluded || add_capture.masked, 'captured');
    PERFORM check_condition(add_capture.relation, add_capture.condition, add_capture.renamed_columns, 'captured');
    INSERT INTO captured_table AS c (relation, target_type, key_columns, action, columns, excluded, masked, condition,
                                     renamed_columns, known_columns)
    VALUES (add_capture.relation, target, key, coalesce(add_capture.action, target), add_capture.columns, add_capture.excluded,
            add_capture.masked, add_capture.condition, add_capture.renamed_columns, numbered_columns(add_capture.relation))
    ON CONFLICT (relation) DO UPDATE SET
        target_type = excluded.target_type, key_columns = excluded.key_columns, action = excluded.action, columns = excluded.columns,
        excluded = excluded.excluded, masked = excluded.masked, condition = excluded.condition,
        renamed_columns = excluded.renamed_columns, known_columns = excluded.known_columns,
        added_at = clock_timestamp(), added_by = session_user, paused_at = NULL, paused_by = NULL
    RETURNING c.* INTO capture;
    PERFORM install_triggers('capture', capture.relation, capture.id, capture_body(capture), to_jsonb(capture));
    FOR child IN SELECT children_of(capture.relation) LOOP
        PERFORM add_capture(child, target, key, add_capture.action, add_capture.columns, add_capture.excluded, add_capture.masked,
                            add_capture.condition, add_capture.renamed_columns);
    END LOOP;
END $$;

-- check_captured(relation, target, key, action, columns, purpose): raises if a table cannot be captured or guarded in this
-- way.
--   columns  all that are named anywhere
--   purpose  captured or guarded
CREATE OR REPLACE FUNCTION pgaudit.check_captured(relation regclass, target text, key text[], action text, columns text[], purpose text)
RETURNS void LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    found   pg_class := (SELECT c FROM pg_class c WHERE oid = relation);
    problem text := CASE
        WHEN found.relkind NOT IN ('r', 'p') THEN 'it is not a table'
        WHEN found.relnamespace IN ('pgaudit'::regnamespace, 'pg_catalog'::regnamespace) THEN 'it is not a table of the application'
        WHEN found.relpersistence = 't' THEN 'it is temporary'
        WHEN NOT pg_has_role(found.relowner, 'USAGE')
            THEN format('it belongs to %s, and only a role that owns schema and table can do this: GRANT %1$I TO %I',
                        pg_get_userbyid(found.relowner), current_user)
        WHEN coalesce(cardinality(key), 0) = 0 THEN 'the key has no column'
        WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attname = ANY (key) AND attgenerated = 'v')
            THEN 'a column of the key is virtual: triggers do not see its value'
        WHEN coalesce(length(target) NOT BETWEEN 1 AND 100, true) THEN 'the target type must have 1 to 100 characters'
        WHEN coalesce(action !~ '^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)*$' OR length(action) > 180, true)
            THEN format('%L cannot begin an action: choose lower-case letters, digits and _, such as claim', action)
        ELSE (SELECT format('it has no column %s; its columns are %s', coalesce(name, 'NULL'),
                              (SELECT string_agg(known, ', ' ORDER BY known) FROM jsonb_object_keys(present) known))
                FROM unnest(columns) name, numbered_columns(relation) present WHERE (present ? name) IS NOT TRUE LIMIT 1) END;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be %: %', relation, purpose, problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;

-- check_condition(relation, condition, renamed_columns, purpose): raises if the condition is not valid for rows of the table:
-- otherwise the first UPDATE would fail. The query does not name the table: planning it might call a function in a
-- policy that the table's owner has made.
CREATE OR REPLACE FUNCTION pgaudit.check_condition(relation regclass, condition text, renamed_columns jsonb, purpose text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    unused record;
BEGIN
    IF condition IS NOT NULL THEN
        FOR unused IN EXECUTE format(E'SELECT FROM (%s) old, (%1$s) new WHERE false AND (%s\n)',
                                         condition_row(relation, renamed_columns, NULL), condition) LOOP
        END LOOP;  -- not EXECUTE alone, which takes several statements
    END IF;
EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
    RAISE EXCEPTION '% cannot be %: the condition is not valid: %', relation, purpose, SQLERRM USING ERRCODE = 'invalid_parameter_value',
        HINT = 'Name columns as new.status and old.status, and functions, types and operators that are not of PostgreSQL '
               'with their schema, such as public.is_large(new.amount).';
END $$;

-- remove_capture(relation): ends the capture of a table and its children. Returns whether there was one.
CREATE OR REPLACE FUNCTION pgaudit.remove_capture(relation regclass) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    number integer;
BEGIN
    PERFORM remove_capture(child) FROM children_of(relation) child;
    DELETE FROM captured_table c WHERE c.relation = remove_capture.relation RETURNING id INTO number;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM remove_triggers('capture', relation, number);
    RETURN true;
END $$;

-- pause_capture(relation, paused): interrupts the capture of a table, or resumes it. Returns whether there is one.
CREATE OR REPLACE FUNCTION pgaudit.pause_capture(relation regclass, paused boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE captured_table c SET paused_at = CASE WHEN paused THEN clock_timestamp() END, paused_by = CASE WHEN paused THEN session_user END
     WHERE c.relation = pause_capture.relation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM pause_triggers('capture', relation, paused);
    RETURN true;
END $$;

-- renew_capture(relation): adds the capture of a table again with the same options, which adapts triggers and function
-- to what the table is now. A pause goes on. Returns whether there is one.
CREATE OR REPLACE FUNCTION pgaudit.renew_capture(relation regclass) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    capture captured_table;
BEGIN
    SELECT current.* INTO capture FROM captured_table c, current_capture(c.id) current WHERE c.relation = renew_capture.relation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM add_capture(relation, capture.target_type, capture.key_columns, capture.action, capture.columns, capture.excluded,
                        capture.masked, capture.condition, capture.renamed_columns);
    IF capture.paused_at IS NOT NULL THEN
        PERFORM pause_capture(relation, true);
    END IF;
    RETURN true;
END $$;

-- Guards: a transaction that changes a row of a guarded table must record an event for that very target. Statements
-- note what they have changed, and a deferred trigger compares that with the recorded events when the transaction
-- commits.

-- as_capture(guard): returns how the changes of a guarded table would be captured.
CREATE OR REPLACE FUNCTION pgaudit.as_capture(guard pgaudit.guarded_table) RETURNS pgaudit.captured_table
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT ROW(guard.id, guard.relation, guard.target_type, guard.key_columns, guard.action, guard.columns, guard.excluded,
               guard.masked, guard.condition, guard.renamed_columns, guard.known_columns, guard.added_at, guard.added_by,
               NULL, NULL)::captured_table
$$;

-- guard_query(guard, relation, operation, level, names): returns the statement that notes the changed rows of a table;
-- their events, too, if these are recorded or compared at commit, each within max_event_bytes. A note has up to 10,000
-- rows, because an array has a gigabyte at most.
CREATE OR REPLACE FUNCTION pgaudit.guard_query(guard pgaudit.guarded_table, relation oid, operation text, level text,
                                               names text[] DEFAULT '{captured.head,captured.receipts,OLD,NEW}')
RETURNS text LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format(CASE level WHEN 'statement' THEN $many$INSERT INTO pgaudit.guarded_change (guard, operation, keys, new_keys, events)
    SELECT %s, %L, pg_catalog.array_agg(t.key), pg_catalog.array_agg(t.new_key), %s
      FROM (SELECT pg_catalog.row_number() OVER () AS n, q.* FROM (%s) q) t
     GROUP BY t.n / 10000$many$ ELSE $one$INSERT INTO pgaudit.guarded_change (guard, operation, keys, new_keys, events)
    SELECT %s, %L, ARRAY[t.key], ARRAY[t.new_key], %s FROM (%s) t$one$ END,
        guard.id, lower(operation),
        CASE WHEN NOT with_events THEN 'NULL'
             ELSE format(CASE level WHEN 'statement' THEN 'pg_catalog.array_agg(%s)' ELSE 'ARRAY[%s]' END, fitting) END,
        CASE WHEN with_events THEN change_query(as_capture(guard), relation, operation, level, names)
             ELSE key_query(as_capture(guard), relation, operation, level, names) END)
      FROM (SELECT guard.on_missing = 'capture' OR guard.with_changes AS with_events) needed,
           CAST('CASE WHEN pg_catalog.octet_length(t.content) > 8000 THEN pgaudit.fitting_event(t.content)::text '
                'ELSE t.content END' AS text) AS fitting
$$;

-- guard_command(guard, operation, level): returns the command that notes the changed rows in the generated function.
CREATE OR REPLACE FUNCTION pgaudit.guard_command(guard pgaudit.guarded_table, operation text, level text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE level WHEN 'row' THEN guard_query(guard, guard.relation, operation, level)
                      ELSE one_or_many(operation, guard_query(guard, guard.relation, operation, 'single'),
                                       guard_query(guard, guard.relation, operation, level)) END
$$;

-- guard_body(guard): returns the body of the trigger function of a guarded table.
CREATE OR REPLACE FUNCTION pgaudit.guard_body(guard pgaudit.guarded_table) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT trigger_body('guard', guard.id, guard.relation,
        CASE WHEN guard.on_missing = 'capture' OR guard.with_changes THEN head_expression(guard.action) ELSE quote_literal('') END,
        'NULL', format('pgaudit.check_guarded_truncate(%s, TG_RELID)', guard.id),
        array(SELECT guard_command(guard, operation, level_of_capture(guard.relation))
                FROM unnest('{INSERT,UPDATE,DELETE}'::text[]) WITH ORDINALITY AS o (operation, n) ORDER BY n))
$$;

-- current_guard(id): returns how a table is guarded, with the present names of its columns.
CREATE OR REPLACE FUNCTION pgaudit.current_guard(id integer) RETURNS pgaudit.guarded_table
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    guard guarded_table := (SELECT g FROM guarded_table g WHERE g.id = current_guard.id);
BEGIN
    guard.key_columns := current_key(guard.key_columns, guard.known_columns, guard.relation);
    guard.columns := names_now(guard.columns, guard.known_columns, guard.relation);
    guard.excluded := names_now(guard.excluded, guard.known_columns, guard.relation);
    guard.masked := names_now(guard.masked, guard.known_columns, guard.relation);
    guard.renamed_columns := renamed_now(guard.renamed_columns, guard.known_columns, guard.relation);
    RETURN guard;
END $$;

-- regenerate_guard(id): adapts a guarded table's function to its columns; see regenerate_capture.
CREATE OR REPLACE FUNCTION pgaudit.regenerate_guard(id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    guard guarded_table;
BEGIN
    PERFORM FROM guarded_table g WHERE g.id = regenerate_guard.id AND current_setting('transaction_isolation') = 'read committed'
        FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        guard := current_guard(id);
        UPDATE guarded_table g SET key_columns = guard.key_columns, columns = guard.columns, excluded = guard.excluded,
               masked = guard.masked, renamed_columns = guard.renamed_columns,
               known_columns = numbered_columns(guard.relation)
         WHERE g.id = regenerate_guard.id;
        PERFORM create_trigger_function('guard_' || id, guard_body(guard));
    END IF;
END $$;

-- add_guard(relation, target, key, …): from now on a transaction that changes a row of the table must record an event
-- for it. Replaces what was added before. Children are guarded, too. For the role that owns schema and table.
--   target, key, columns, excluded, masked, condition  as for add_capture
--   action        the same, for changes that are captured
--   on_missing    abort: the transaction fails; capture: its change is captured; warn: it is noted, with a warning
--   actions       the action of the event for each operation, such as {"insert": "claim.*", "delete": "claim.deleted"};
--                 any action for those left out
--   with_changes  the event must have the changes, too
CREATE OR REPLACE FUNCTION pgaudit.add_guard(relation regclass, target text, key text[], on_missing text DEFAULT 'abort',
    actions jsonb DEFAULT '{}', with_changes boolean DEFAULT false, action text DEFAULT NULL, columns text[] DEFAULT NULL,
    excluded text[] DEFAULT '{}', masked text[] DEFAULT '{}', condition text DEFAULT NULL,
    renamed_columns jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    guard guarded_table;
    child regclass;
BEGIN
    PERFORM check_captured(add_guard.relation, add_guard.target, add_guard.key, coalesce(add_guard.action, add_guard.target),
                           add_guard.key || add_guard.columns || add_guard.excluded || add_guard.masked, 'guarded');
    PERFORM check_condition(add_guard.relation, add_guard.condition, add_guard.renamed_columns, 'guarded');
    PERFORM check_guard_options(add_guard.on_missing, add_guard.actions, add_guard.action, add_guard.target);
    IF to_regclass('pgaudit.audit_jobs_event_id_idx') IS NULL THEN  -- by which an event is found that is queued already
        CREATE INDEX audit_jobs_event_id_idx ON audit_jobs ((event->>'id'));
    END IF;
    INSERT INTO guarded_table AS g (relation, target_type, key_columns, action, actions, on_missing, with_changes, columns, excluded,
                                    masked, condition, renamed_columns, known_columns)
    VALUES (add_guard.relation, target, key, coalesce(add_guard.action, target), add_guard.actions, add_guard.on_missing,
            add_guard.with_changes, add_guard.columns, add_guard.excluded, add_guard.masked, add_guard.condition,
            add_guard.renamed_columns, numbered_columns(add_guard.relation))
    ON CONFLICT (relation) DO UPDATE SET
        target_type = excluded.target_type, key_columns = excluded.key_columns, action = excluded.action, actions = excluded.actions,
        on_missing = excluded.on_missing, with_changes = excluded.with_changes, columns = excluded.columns,
        excluded = excluded.excluded, masked = excluded.masked, condition = excluded.condition,
        renamed_columns = excluded.renamed_columns, known_columns = excluded.known_columns,
        added_at = clock_timestamp(), added_by = session_user, paused_at = NULL, paused_by = NULL
    RETURNING g.* INTO guard;
    PERFORM install_triggers('guard', guard.relation, guard.id, guard_body(guard), to_jsonb(guard));
    FOR child IN SELECT children_of(guard.relation) LOOP
        PERFORM add_guard(child, target, key, add_guard.on_missing, add_guard.actions, add_guard.with_changes, add_guard.action,
                          add_guard.columns, add_guard.excluded, add_guard.masked, add_guard.condition,
                          add_guard.renamed_columns);
    END LOOP;
END $$;

-- check_guard_options(on_missing, actions, action, target): raises if the options of a guard are not valid.
CREATE OR REPLACE FUNCTION pgaudit.check_guard_options(on_missing text, actions jsonb, action text, target text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    problem text := CASE
        WHEN coalesce(on_missing NOT IN ('abort', 'capture', 'warn'), true) THEN 'on_missing must be abort, capture or warn'
        WHEN on_missing <> 'capture' AND action <> target
            THEN format('%L is how captured actions begin, but with on_missing = %s nothing is captured: leave it out, or choose capture',
                        action, on_missing)
        WHEN jsonb_typeof(actions) IS DISTINCT FROM 'object' THEN 'actions must be an object, such as {"delete": "claim.deleted"}'
        ELSE (SELECT format('%s: %s is no pattern of an action: use lower-case letters, digits, _, dots and *, such as claim.*',
                            operation, pattern)
                FROM jsonb_each_text(actions) AS given (operation, pattern)
               WHERE operation NOT IN ('insert', 'update', 'delete', 'truncate') OR coalesce(pattern !~ '^[a-z0-9_.*]+$', true) LIMIT 1) END;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;

-- remove_guard(relation): ends the guard of a table and its children. Returns whether there was one.
CREATE OR REPLACE FUNCTION pgaudit.remove_guard(relation regclass) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    number integer;
BEGIN
    PERFORM remove_guard(child) FROM children_of(relation) child;
    DELETE FROM guarded_table g WHERE g.relation = remove_guard.relation RETURNING id INTO number;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM remove_triggers('guard', relation, number);
    IF NOT EXISTS (SELECT FROM guarded_table) THEN
        DROP INDEX IF EXISTS audit_jobs_event_id_idx;
    END IF;
    RETURN true;
END $$;

-- pause_guard(relation, paused): interrupts the guard of a table, or resumes it. Returns whether there is one.
CREATE OR REPLACE FUNCTION pgaudit.pause_guard(relation regclass, paused boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE guarded_table g SET paused_at = CASE WHEN paused THEN clock_timestamp() END, paused_by = CASE WHEN paused THEN session_user END
     WHERE g.relation = pause_guard.relation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM pause_triggers('guard', relation, paused);
    RETURN true;
END $$;

-- renew_guard(relation): adds the guard of a table again with the same options, as renew_capture does.
CREATE OR REPLACE FUNCTION pgaudit.renew_guard(relation regclass) RETURNS boolean
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    guard guarded_table;
BEGIN
    SELECT current.* INTO guard FROM guarded_table g, current_guard(g.id) current WHERE g.relation = renew_guard.relation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM add_guard(relation, guard.target_type, guard.key_columns, guard.on_missing, guard.actions, guard.with_changes,
                      guard.action, guard.columns, guard.excluded, guard.masked, guard.condition, guard.renamed_columns);
    IF guard.paused_at IS NOT NULL THEN
        PERFORM pause_guard(relation, true);
    END IF;
    RETURN true;
END $$;

-- Guards at run time: what a transaction has changed is compared with what it has recorded.

-- recorded_events(): returns the events that satisfy a guard: the application has recorded them in this transaction
-- with the outcome success, and the log will have them. So neither captured events, nor one whose id is in the log
-- already, in the queue, or in another event of the transaction.
CREATE OR REPLACE FUNCTION pgaudit.recorded_events() RETURNS SETOF jsonb
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = on  -- by the indexes, however large queue and log are
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    first_job text := coalesce(current_setting('audit.first_job', true), '');
    mine      text := pg_current_xact_id()::text;
BEGIN
    IF first_job ~ '^[0-9]{1,18}$' THEN
        RETURN QUERY
            SELECT DISTINCT ON (j.event->>'id') j.event FROM audit_jobs j
             WHERE j.id >= first_job::bigint AND j.event->>'xid' = mine AND j.event->>'outcome' = 'success'
               AND NOT coalesce(j.event->'context' ? 'source', false)
               AND NOT EXISTS (SELECT FROM event_key k WHERE k.event_id = (j.event->>'id')::uuid)
               AND NOT EXISTS (SELECT FROM audit_jobs other WHERE other.event->>'id' = j.event->>'id' AND other.event->>'xid' <> mine)
             ORDER BY j.event->>'id', j.id;
    END IF;
    IF current_setting('audit.first_index', true) ~ '^[0-9]{1,18}$' THEN
        RETURN QUERY SELECT * FROM recorded_inline_events(current_setting('audit.first_index')::bigint);
    END IF;
END $$;

-- recorded_inline_events(first_index): returns those that are in the log already, because they were recorded in mode
-- inline.
--   first_index  no event of this transaction has a lower index
CREATE OR REPLACE FUNCTION pgaudit.recorded_inline_events(first_index bigint) RETURNS SETOF jsonb
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp SET plan_cache_mode = force_custom_plan AS $$  -- locks only the last partitions
BEGIN
    RETURN QUERY
        SELECT l.event FROM audit_log l
         WHERE l.index >= first_index AND l.event->>'xid' = pg_current_xact_id()::text AND l.outcome = 'success'
           AND l.conflicts_with IS NULL AND NOT coalesce(l.event->'context' ? 'source', false);
END $$;

-- fits_pattern(action, pattern): returns whether an action fits a pattern, as claim.paid fits claim.*; any action fits
-- NULL.
CREATE OR REPLACE FUNCTION pgaudit.fits_pattern(action text, pattern text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS
$$ SELECT pattern IS NULL OR action LIKE replace(replace(pattern, '_', '!_'), '*', '%') ESCAPE '!' $$;

-- is_same_value(given, actual): returns whether two values are the same, as an application and as Postgres write them:
-- 1 and "1.00", a time in two zones, or a large value and what stands for it in a captured event.
CREATE OR REPLACE FUNCTION pgaudit.is_same_value(given jsonb, actual jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    ours  text := coalesce(given, 'null') #>> '{}';
    truth text := coalesce(actual, 'null') #>> '{}';
BEGIN
    IF ours IS NOT DISTINCT FROM truth OR actual->'omitted' = 'true' AND actual = omitted_value(ours) THEN
        RETURN true;
    ELSIF jsonb_typeof(actual) = 'number' AND ours ~ '^[-+]?[0-9]+([.][0-9]+)?$' AND length(ours) < 1000 THEN
        RETURN ours::numeric = truth::numeric;
    ELSIF ours ~ '^[0-9]{4}-' AND truth ~ '^[0-9]{4}-' THEN  -- not 'now'
        RETURN coalesce(try_timestamptz(ours) = try_timestamptz(truth), false);
    END IF;
    RETURN false;
END $$;

-- has_changes(given, actual, masked): returns whether the changes of an event have each change of a row, with the value
-- that it has now. Masked columns are not compared.
CREATE OR REPLACE FUNCTION pgaudit.has_changes(given jsonb, actual jsonb, masked text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT NOT EXISTS (
        SELECT FROM jsonb_array_elements(coalesce(actual, '[]')) a
         WHERE a->>'path' <> ALL (masked)
           AND NOT EXISTS (SELECT FROM jsonb_array_elements(CASE WHEN jsonb_typeof(given) = 'array' THEN given ELSE '[]' END) g
                            WHERE g->>'path' = a->>'path' AND is_same_value(g->'after', a->'after')))
$$;

-- satisfies(action, changes, pattern, with_changes, event, masked): returns whether a recorded event, which has the target
-- already, is what a guard demands.
--   action, changes                those of the event
--   pattern, with_changes, masked  those of the guard
--   event                          how the change would be captured; NULL unless with_changes
-- Without SET, so that it becomes a part of the query that compares all targets.
CREATE OR REPLACE FUNCTION pgaudit.satisfies(action text, changes jsonb, pattern text, with_changes boolean, event text, masked text[])
RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT pgaudit.fits_pattern(action, pattern) AND (NOT with_changes OR pgaudit.has_changes(changes, event::jsonb->'changes', masked)) $$;

-- check_guarded_changes(): compares what the transaction has changed in guarded tables with what it has recorded. The
-- first of its deferred calls compares all of it; the others find nothing left.
CREATE OR REPLACE FUNCTION pgaudit.check_guarded_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' SET enable_nestloop = off SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
    missing record;
    guarded guarded_table;
BEGIN
    IF NOT EXISTS (SELECT FROM guarded_change WHERE xid = NEW.xid AND number = NEW.number) THEN
        RETURN NULL;
    END IF;
    FOR missing IN
        WITH noted AS (
            DELETE FROM guarded_change WHERE xid = NEW.xid RETURNING guard, operation, keys, new_keys, events
        ), guards AS MATERIALIZED (
            SELECT g.*, CASE WHEN with_changes THEN names_now(masked, known_columns, relation) END AS hidden
              FROM guarded_table g WHERE id IN (SELECT guard FROM noted)
        ), changed AS (
            SELECT g.id AS guard, g.target_type, n.operation, g.actions->>n.operation AS pattern, g.with_changes,
                   g.hidden AS masked, c.key, c.new_key, c.event,
                   CASE WHEN g.on_missing = 'capture' THEN row_number() OVER () / 10000 END AS portion  -- as in guard_query
              FROM noted n JOIN guards g ON g.id = n.guard,
                   LATERAL unnest(n.keys, n.new_keys, n.events) AS c (key, new_key, event)
        ), recorded AS MATERIALIZED (
            SELECT t.target->>'type' AS target_type, t.target->>'id' AS key, r.event->>'action' AS action, r.event->'changes' AS changes
              FROM recorded_events() AS r (event), LATERAL jsonb_array_elements(r.event->'targets') AS t (target)
        )
        SELECT c.guard, c.operation, array_agg(c.key ORDER BY length(c.key), c.key) AS keys,
               array_agg(c.event) FILTER (WHERE c.event IS NOT NULL) AS events
          FROM changed c
         WHERE NOT EXISTS (SELECT FROM recorded r WHERE r.target_type = c.target_type AND r.key = c.key
                              AND satisfies(r.action, r.changes, c.pattern, c.with_changes, c.event, c.masked))
           AND NOT EXISTS (SELECT FROM recorded r WHERE c.new_key <> c.key AND r.target_type = c.target_type AND r.key = c.new_key
                              AND satisfies(r.action, r.changes, c.pattern, c.with_changes, c.event, c.masked))
         GROUP BY c.guard, c.operation, c.portion LOOP
        SELECT g.* INTO guarded FROM guarded_table g WHERE g.id = missing.guard;
        PERFORM note_unrecorded(guarded, guarded.relation, missing.operation, cardinality(missing.keys),
                                array(SELECT guarded.target_type || ':' || key FROM unnest(missing.keys[:5]) key), missing.events);
    END LOOP;
    RETURN NULL;
END $$;

-- note_unrecorded(guard, relation, operation, count, targets, events): does what the guard says about changes without
-- an event: aborts, records the events that were captured for that case, or notes them and warns.
--   relation  the table, or the partition that was truncated
--   count     number of changed rows; targets has the first five
CREATE OR REPLACE FUNCTION pgaudit.note_unrecorded(guard pgaudit.guarded_table, relation regclass, operation text, count bigint,
                                                   targets text[], events text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    problem text := unrecorded_problem(relation, operation, count, targets);
    remedy  text := unrecorded_remedy(guard, operation, targets[1]);
BEGIN
    CASE guard.on_missing
        WHEN 'abort' THEN
            RAISE EXCEPTION '%', problem USING ERRCODE = 'PA002', SCHEMA = split_part(table_name(relation), '.', 1),
                TABLE = split_part(table_name(relation), '.', 2), HINT = remedy;
        WHEN 'capture' THEN
            PERFORM record_contents(events);
        ELSE
            INSERT INTO unrecorded_change (relation, operation, count, targets, xid, recorded_by, application_name)
            VALUES (relation, operation, count, targets, pg_current_xact_id(), session_user, current_setting('application_name'));
            RAISE WARNING '%', problem USING ERRCODE = '01PA2', HINT = remedy;
    END CASE;
END $$;

-- unrecorded_problem(relation, operation, count, targets): returns the sentence about changes without an event.
CREATE OR REPLACE FUNCTION pgaudit.unrecorded_problem(relation regclass, operation text, count bigint, targets text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE operation WHEN 'truncate' THEN format('TRUNCATE of %s without an audit event', table_name(relation))
                          ELSE format('%s: %s%s %s without an audit event', table_name(relation), array_to_string(targets[:3], ', '),
                                      CASE WHEN count > 3 THEN format(' and %s more', count - 3) ELSE '' END,
                                      CASE operation WHEN 'insert' THEN 'inserted' WHEN 'update' THEN 'updated' ELSE 'deleted' END) END
$$;

-- unrecorded_remedy(guard, operation, target): returns what a developer has to do about a change without an event.
CREATE OR REPLACE FUNCTION pgaudit.unrecorded_remedy(guard pgaudit.guarded_table, operation text, target text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT format('Record a new event%s in the same transaction: audit.record(conn, AuditEvent(action="%s", target="%s"%s)).',
                  CASE operation WHEN 'truncate' THEN ' before it,' ELSE '' END, replace(pattern, '*', '…'), target,
                  CASE WHEN guard.with_changes AND operation <> 'truncate' THEN ', changes=[…]' ELSE '' END)
      FROM coalesce(guard.actions->>operation, guard.action || CASE operation WHEN 'truncate' THEN '.truncated' ELSE '.*' END) pattern
$$;

-- check_guarded_truncate(guard, relation): decides about a TRUNCATE at once: PostgreSQL defers no trigger of TRUNCATE.
-- An event about a table is one about its partitions, which are truncated with it.
CREATE OR REPLACE FUNCTION pgaudit.check_guarded_truncate(guard integer, relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    guarded guarded_table := (SELECT g FROM guarded_table g WHERE g.id = guard);
    name    text := table_name(relation);
BEGIN
    IF NOT EXISTS (SELECT FROM recorded_events() AS r (event), LATERAL jsonb_array_elements(r.event->'targets') t
                    WHERE t->>'type' = 'table' AND t->>'id' IN (name, table_name(guarded.relation))
                      AND fits_pattern(r.event->>'action', guarded.actions->>'truncate')) THEN
        PERFORM note_unrecorded(guarded, relation, 'truncate', 1, ARRAY['table:' || name],
                                ARRAY[event_about_table(guarded.action || '.truncated', relation)]);
    END IF;
END $$;

-- prune_unrecorded_changes(age): deletes the notes that are older.
CREATE OR REPLACE FUNCTION pgaudit.prune_unrecorded_changes(age interval) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS
$$ DELETE FROM unrecorded_change WHERE found_at < clock_timestamp() - age $$;

-- Partitions of the audit log, by ranges of its index. The oldest can be detached; one is always created ahead.

-- log_partitions(): returns the partitions with their ranges: [first_index, end_index). For one that was created by
-- hand, MINVALUE is shown as 0, and MAXVALUE as the largest bigint.
CREATE OR REPLACE FUNCTION pgaudit.log_partitions()
RETURNS TABLE (partition regclass, first_index bigint, end_index bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT oid::regclass, CASE bounds[1] WHEN 'MINVALUE' THEN 0 ELSE bounds[1]::bigint END,
           CASE bounds[2] WHEN 'MAXVALUE' THEN 9223372036854775807 ELSE bounds[2]::bigint END
      FROM (SELECT c.oid, regexp_match(pg_get_expr(c.relpartbound, c.oid),
                                       'FROM [(]''?([0-9]+|MINVALUE)''?[)] TO [(]''?([0-9]+|MAXVALUE)''?[)]') AS bounds
              FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'audit_log'::regclass AND NOT i.inhdetachpending) child
     ORDER BY 2
$$;

-- ensure_partitions(): keeps one partition ahead of the one that is being filled. Each maintenance pass of a worker
-- calls it. Returns how many it created; 0 also if a long query or a DETACH blocks it, because the next pass tries
-- again.
CREATE OR REPLACE FUNCTION pgaudit.ensure_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    created integer;
BEGIN
    PERFORM guard_partition(partition) FROM log_partitions() WHERE NOT is_guarded(partition);  -- created or attached by hand
    IF is_partition_ahead() THEN
        RETURN 0;
    END IF;
    PERFORM lock_log();  -- two sessions must not create the same partition
    created := create_partitions((SELECT size FROM log_head));
    IF NOT is_partition_ahead() THEN
        PERFORM create_partition((SELECT max(end_index) FROM log_partitions()));
        created := created + 1;
    END IF;
    RETURN created;
EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
END $$;

-- is_partition_ahead(): returns whether there is a partition after the one that is being filled.
CREATE OR REPLACE FUNCTION pgaudit.is_partition_ahead() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT EXISTS (SELECT FROM log_partitions()
                    WHERE first_index > (SELECT size FROM log_head) OR end_index = 9223372036854775807)
$$;

-- is_guarded(partition): returns whether it has its three triggers, enabled for every session_replication_role.
CREATE OR REPLACE FUNCTION pgaudit.is_guarded(partition regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT count(*) = 3 FROM pg_trigger
     WHERE tgrelid = partition AND tgenabled = 'A' AND tgname IN ('append_only', 'append_only_truncate', 'append_only_insert')
$$;

-- create_partitions(last_index): creates the missing partitions from the end of the log to last_index. The caller has
-- called lock_log(). Returns how many it created.
CREATE OR REPLACE FUNCTION pgaudit.create_partitions(last_index bigint) RETURNS integer
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    next_index bigint  := (SELECT size FROM log_head);
    created    integer := 0;
    end_index  bigint;
BEGIN
    WHILE next_index <= last_index LOOP
        SELECT p.end_index INTO end_index FROM log_partitions() p WHERE next_index >= p.first_index AND next_index < p.end_index;
        IF end_index IS NULL THEN
            end_index := create_partition(next_index);
            created := created + 1;
        END IF;
        next_index := end_index;
    END LOOP;
    RETURN created;
END $$;

-- create_partition(index): creates the partition for that index, between its neighbours, with its guards and no grants.
-- Its range begins at a multiple of partition_size, or later: where another partition ends, or at the end of the log if
-- its last partition was detached. Its rows never change, so autovacuum freezes them when it first reads them. Otherwise
-- it would read all old partitions again when their transaction ids reach autovacuum_freeze_max_age.
-- Returns the end of the range.
CREATE OR REPLACE FUNCTION pgaudit.create_partition(index bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    size  bigint := (SELECT partition_size FROM settings);
    first bigint := greatest(index / size * size, least(index, (SELECT log_head.size FROM log_head)),
                             (SELECT max(end_index) FROM log_partitions() WHERE end_index <= index));
    upper bigint := least((index / size + 1) * size, (SELECT min(first_index) FROM log_partitions() WHERE first_index > index));
    name  text   := 'audit_log_' || first;
BEGIN
    WHILE to_regclass('pgaudit.' || name) IS NOT NULL LOOP  -- the name of a detached one
        name := name || '_';
    END LOOP;
    -- CREATE TABLE with PARTITION OF would block readers and appends; ATTACH does not.
    EXECUTE format('CREATE TABLE %I (LIKE audit_log INCLUDING ALL) WITH (autovacuum_freeze_min_age = 0)', name);
    EXECUTE format('ALTER TABLE audit_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, upper);
    PERFORM guard_partition(name::regclass), revoke_default_privileges(name::regclass);
    RETURN upper;
END $$;

-- guard_partition(partition): creates the statement triggers, which Postgres does not clone to a partition, and enables
-- all guards ALWAYS: a cloned row trigger does not fire under session_replication_role = replica.
CREATE OR REPLACE FUNCTION pgaudit.guard_partition(partition regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER append_only_truncate BEFORE TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION reject_modification()', partition);
    EXECUTE format('CREATE OR REPLACE TRIGGER append_only_insert BEFORE INSERT ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION reject_modification()', partition);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER append_only_truncate,
                    ENABLE ALWAYS TRIGGER append_only_insert', partition);
END $$;

-- revoke_default_privileges(relation): revokes what ALTER DEFAULT PRIVILEGES has granted, also to PUBLIC: only
-- `pgaudit grant` gives rights.
CREATE OR REPLACE FUNCTION pgaudit.revoke_default_privileges(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    grantee oid;
BEGIN
    FOR grantee IN SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a
                    WHERE c.oid = relation AND a.grantee <> c.relowner LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', relation, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
    END LOOP;
END $$;

-- The history of batches: throughput, lag, and the range of indexes for a range of time.

-- lag_bucket_bounds(): returns the upper bounds of the buckets of the lag histogram.
CREATE OR REPLACE FUNCTION pgaudit.lag_bucket_bounds() RETURNS interval[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT '{5ms,10ms,25ms,50ms,100ms,250ms,500ms,1s,2.5s,5s,10s,30s,60s,300s}'::interval[] $$;

-- late_after(): returns the limit from which a batch is late: an event of it was recorded that much earlier than
-- another event of the log, up to and including the batch.
CREATE OR REPLACE FUNCTION pgaudit.late_after() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT interval '1 hour' $$;

-- prune_batches(older_than, max_rows): merges batches older than older_than, at least a day, into one row for each
-- minute: the oldest first, at most max_rows of them in one call. Keeps the last row, which marks the end of the log.
-- Returns by how many rows the table shrank.
CREATE OR REPLACE FUNCTION pgaudit.prune_batches(older_than interval DEFAULT '1 day', max_rows integer DEFAULT 20000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    pruned bigint;
BEGIN
    WITH old AS (
        -- Only whole minutes. A row that has lag_buckets is not merged yet.
        SELECT b.*, date_trunc('minute', persisted_at, 'UTC') AS minute
          FROM batch b
         WHERE lag_buckets IS NOT NULL
           AND persisted_at < date_trunc('minute', clock_timestamp() - greatest(older_than, interval '1 day'), 'UTC')
           AND first_index < (SELECT max(first_index) FROM batch)
         ORDER BY first_index LIMIT max_rows FOR UPDATE SKIP LOCKED
    ), islands AS (  -- adjacent rows of one minute: after the clock was set back, a minute has several islands
        SELECT *, sum(starts) OVER (ORDER BY first_index) AS island
          FROM (SELECT *, (minute IS DISTINCT FROM lag(minute) OVER in_order
                           OR first_index <> lag(first_index + count) OVER in_order)::integer AS starts
                  FROM old WINDOW in_order AS (ORDER BY first_index)) marked
    ), merged AS (
        SELECT min(first_index) AS first_index, sum(count) AS count, sum(batches) AS batches, max(persisted_at) AS persisted_at,
               min(oldest_recorded) AS oldest_recorded, max(newest_recorded) AS newest_recorded,
               max(recorded_until) AS recorded_until,
               -- If a backlog of hours was appended within a minute, no batch of it is late, but the merged row is.
               bool_or(late) OR min(oldest_recorded) < max(recorded_until) - late_after() AS late
          FROM islands GROUP BY island
    ), written AS (
        INSERT INTO batch (first_index, count, batches, persisted_at, oldest_recorded, newest_recorded, recorded_until, late)
        SELECT first_index, count, batches, persisted_at, oldest_recorded, newest_recorded, recorded_until, late FROM merged
        ON CONFLICT (first_index) DO UPDATE
            SET count = excluded.count, batches = excluded.batches, persisted_at = excluded.persisted_at,
                oldest_recorded = excluded.oldest_recorded, newest_recorded = excluded.newest_recorded,
                recorded_until = excluded.recorded_until, late = excluded.late,
                worker_id = NULL, lag_buckets = NULL, lag_total = NULL
        RETURNING 1
    ), deleted AS (
        DELETE FROM batch WHERE first_index IN (SELECT first_index FROM old EXCEPT SELECT first_index FROM merged) RETURNING 1
    )
    SELECT count(*) INTO pruned FROM deleted;
    RETURN pruned;
END $$;

-- index_ranges(since, until): returns ranges of indexes, [first_index, end_index), with all events recorded in
-- [since, until), and few others: one range for the events that were appended soon after they were recorded, and one
-- for each late batch behind it.
CREATE OR REPLACE FUNCTION pgaudit.index_ranges(since timestamptz, until timestamptz)
RETURNS TABLE (first_index bigint, end_index bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH bounds AS (
        SELECT (SELECT first_index FROM batch WHERE recorded_until >= since
                 ORDER BY recorded_until, first_index LIMIT 1) AS first,
               coalesce((SELECT first_index FROM batch WHERE recorded_until >= until + late_after()
                          ORDER BY recorded_until, first_index LIMIT 1), (SELECT size FROM log_head)) AS "end"
    )
    SELECT first, "end" FROM bounds WHERE first < "end"
    UNION ALL
    SELECT b.first_index, b.first_index + b.count FROM batch b, bounds
     WHERE b.late AND b.oldest_recorded < until AND b.newest_recorded >= since AND b.first_index >= greatest("end", first)
     ORDER BY 1
$$;

-- column_drift(first_index, end_index): returns the columns of the log whose value differs from their event's, and leaf
-- hashes that do not match their event's text; in [first_index, end_index), by default the whole log. An event that was
-- changed by hand may hold any value, so values are compared as text or converted without raising.
CREATE OR REPLACE FUNCTION pgaudit.column_drift(first_index bigint DEFAULT 0, end_index bigint DEFAULT NULL)
RETURNS TABLE (index bigint, column_name text, column_value text, event_value text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
    SELECT l.index, given.name, given.value, given.expected
      FROM audit_log l, LATERAL (VALUES
        ('event_id',    l.event_id::text,    event->>'id'),
        ('occurred_at', l.occurred_at::text, try_timestamptz(event->>'occurred_at')::text),
        ('recorded_at', l.recorded_at::text, try_timestamptz(event->>'recorded_at')::text),
        ('action',      l.action,            event->>'action'),
        ('outcome',     l.outcome,           event->>'outcome'),
        ('actor_type',  l.actor_type,        event->'actor'->>'type'),
        ('actor_id',    l.actor_id,          event->'actor'->>'id'),
        ('target_type', l.target_type,       event->'targets'->0->>'type'),
        ('target_id',   l.target_id,         event->'targets'->0->>'id'),
        ('tenant',      l.tenant,            event->>'tenant'),
        ('leaf_hash',   encode(l.leaf_hash, 'hex'), encode(pgaudit.leaf_hash(event), 'hex'))
      ) AS given (name, value, expected)
     WHERE l.index >= first_index AND (end_index IS NULL OR l.index < end_index)
       AND given.value IS DISTINCT FROM given.expected
$$;

-- Deliveries: what workers do for a stream. A worker looks at the stream and reads a chunk of the log in short
-- transactions. Then it locks the position, sends, and moves the position in one transaction, which touches no partition
-- of the log: one that is detached meanwhile waits for no destination.

-- clock_was_set_back(stream): returns whether the clock was set back since the last attempt of a stream has failed: its
-- next one must not wait until that time comes again.
CREATE OR REPLACE FUNCTION pgaudit.clock_was_set_back(stream text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce((SELECT d.ended_at > clock_timestamp() FROM delivery d
                      WHERE d.stream = clock_was_set_back.stream AND d.status = 'failed' ORDER BY d.id DESC LIMIT 1), false)
$$;

-- due_streams(): returns the streams that a worker has something to do for.
CREATE OR REPLACE FUNCTION pgaudit.due_streams() RETURNS TABLE (name text, kind text)
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT s.name, s.kind
      FROM stream s JOIN stream_position p USING (name), log_head
     WHERE s.kind <> 'cursor' AND s.paused_at IS NULL
       AND (p.next_attempt_at <= clock_timestamp() OR clock_was_set_back(s.name))
       AND (p.next_index <> size
            OR EXISTS (SELECT FROM parked k WHERE k.stream = s.name AND k.retry_at <= clock_timestamp())
            OR EXISTS (SELECT FROM stream_replay r WHERE r.stream = s.name
                       AND (r.next_attempt_at <= clock_timestamp() OR clock_was_set_back(s.name))))
     ORDER BY s.name
$$;

-- mismatch_of(at): returns why a position does not fit the log, which was restored from an older backup, or does not have
-- the next events any more; NULL if it fits.
CREATE OR REPLACE FUNCTION pgaudit.mismatch_of(at pgaudit.stream_position) RETURNS text
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    log_size bigint := (SELECT size FROM log_head);
    first    bigint := (SELECT min(first_index) FROM log_partitions());
BEGIN
    IF at.next_index < least(first, log_size) THEN
        RETURN format('the events from index %s to %s are no longer in the log: their partition was detached. Set the '
                      'position to %s to go on without them', at.next_index, first - 1, first);
    ELSIF at.next_index > log_size THEN
        RETURN format('it is at index %s, but the log has %s events: the log was restored from an older backup',
                      at.next_index, log_size);
    ELSIF EXISTS (SELECT FROM audit_log WHERE index = at.last_index AND leaf_hash <> at.last_hash) THEN
        RETURN format('the event at index %s is not the one that it was sent: the log was restored from an older backup',
                      at.last_index);
    END IF;
    RETURN NULL;
END $$;

-- failing_since_of(at): returns since when the attempts of a stream fail, one after the other. They begin anew, and this is
-- now, if none was made for an hour when one was due (no worker ran, or the clock was set forward), or the clock was set
-- back: days that were not tried do not pause a stream.
CREATE OR REPLACE FUNCTION pgaudit.failing_since_of(at pgaudit.stream_position) RETURNS timestamptz
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN at.failing_since <= clock_timestamp() AND at.next_attempt_at > clock_timestamp() - interval '1 hour'
                THEN at.failing_since ELSE clock_timestamp() END
$$;

-- look_at_stream(name): returns a stream that is due and that no other worker is busy with; otherwise no row. One whose
-- position does not fit the log is paused, and `mismatch` says why: the log was restored from an older backup.
CREATE OR REPLACE FUNCTION pgaudit.look_at_stream(
    name text, OUT kind text, OUT url text, OUT query text, OUT form text, OUT ordered boolean, OUT allow_private boolean,
    OUT continued boolean, OUT next_index bigint, OUT log_size bigint, OUT attempts integer, OUT failing_since timestamptz,
    OUT started_at timestamptz, OUT mismatch text)
RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    at stream_position;
BEGIN
    IF NOT EXISTS (SELECT FROM due_streams() due WHERE due.name = look_at_stream.name) THEN
        RETURN;  -- without a lock, which would write
    END IF;
    SELECT * INTO at FROM stream_position p
     WHERE p.name = look_at_stream.name AND (p.next_attempt_at <= clock_timestamp() OR clock_was_set_back(p.name))
       FOR UPDATE SKIP LOCKED;
    SELECT s.kind, s.url, s.query, s.form, s.ordered, s.allow_private
      INTO kind, url, query, form, ordered, allow_private
      FROM stream s WHERE s.name = at.name AND s.paused_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT size INTO log_size FROM log_head;
    continued := at.last_index IS NOT NULL;
    next_index := at.next_index;
    attempts := at.attempts;
    failing_since := at.failing_since;
    started_at := at.started_at;
    mismatch := mismatch_of(at);
    IF mismatch IS NOT NULL THEN
        PERFORM pause_stream(at.name, 'mismatch', mismatch);
    END IF;
    RETURN NEXT;
END $$;

-- lock_stream(name, next_index): keeps other workers from sending until the transaction ends. Returns false if another
-- one is busy, or the position is no longer that one. The session of a worker that is halted loses the lock after ten
-- minutes, and a chunk should take less than that.
CREATE OR REPLACE FUNCTION pgaudit.lock_stream(name text, next_index bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', '10min', true);
    PERFORM FROM stream_position p WHERE p.name = lock_stream.name AND p.next_index = lock_stream.next_index
        FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
END $$;

-- park(name, events): puts events aside: [{"index": …, "target": …, "error": …, "behind": …}].
CREATE OR REPLACE FUNCTION pgaudit.park(name text, events jsonb) RETURNS void
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    INSERT INTO parked (stream, index, target, behind, error)
    SELECT park.name, k.index, k.target, k.behind, left(k.error, 1000)
      FROM jsonb_to_recordset(park.events) AS k (index bigint, target text, behind bigint, error text)
        ON CONFLICT (stream, index) DO UPDATE SET attempts = parked.attempts + 1, error = excluded.error
$$;

-- note_delivery(stream, status, from_index, to_index, events, parked, bytes, attempts, error): adds to the history what
-- was sent or left out in this transaction. Chunks of a minute that have the same status and error, at the first attempt
-- and with no failure between them, are one row: a stream that sends each second would add 86,400 rows a day.
CREATE OR REPLACE FUNCTION pgaudit.note_delivery(
    stream text, status text, from_index bigint, to_index bigint, events bigint, parked bigint, bytes bigint,
    attempts integer, error text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    newest delivery;
BEGIN
    SELECT * INTO newest FROM delivery d
     WHERE d.stream = note_delivery.stream AND d.status = note_delivery.status
       AND d.started_at >= date_trunc('minute', transaction_timestamp())
       AND NOT EXISTS (SELECT FROM delivery later WHERE later.stream = d.stream AND later.id > d.id
                          AND later.status <> ALL ('{delivered,replayed,skipped}'))
     ORDER BY d.id DESC LIMIT 1;
    IF newest.to_index < note_delivery.from_index AND newest.error IS NOT DISTINCT FROM left(note_delivery.error, 1000)
       AND (newest.parked, newest.attempts, note_delivery.parked, note_delivery.attempts) = (0, 1, 0, 1) THEN
        UPDATE delivery d
           SET to_index = note_delivery.to_index, events = newest.events + note_delivery.events,
               bytes = newest.bytes + note_delivery.bytes, chunks = newest.chunks + 1, ended_at = clock_timestamp(),
               seconds = newest.seconds + extract(epoch FROM clock_timestamp() - transaction_timestamp())
         WHERE d.id = newest.id;
    ELSE
        INSERT INTO delivery (stream, status, from_index, to_index, events, parked, bytes, attempts, error)
        VALUES (stream, status, from_index, to_index, events, parked, bytes, attempts, left(error, 1000));
    END IF;
END $$;

-- move_stream(name, next_index, last_index, last_hash, events, bytes, parked, skipped): notes what was sent, and lets the
-- stream go on with the event of that index. Raises PA003 if that lies behind it, or beyond the end of the log.
--   last_index, last_hash  the last event that was sent; NULL if none was
--   parked                 [{"index": …, "target": …, "error": …, "behind": …}]: what was refused, or waits behind that
--   skipped                number of events that were left out, and why: {"events": …, "reason": …}; or NULL
CREATE OR REPLACE FUNCTION pgaudit.move_stream(
    name text, next_index bigint, last_index bigint, last_hash bytea, events bigint, bytes bigint, parked jsonb,
    skipped jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    at     stream_position;
    number bigint := jsonb_array_length(parked);
BEGIN
    SELECT * INTO STRICT at FROM stream_position p WHERE p.name = move_stream.name FOR UPDATE;
    IF move_stream.next_index NOT BETWEEN at.next_index AND (SELECT size FROM log_head) THEN
        RAISE EXCEPTION 'stream % is at index %, so it cannot move to %', at.name, at.next_index, move_stream.next_index
            USING ERRCODE = 'PA003', HINT = 'A worker moves a stream forward, and not beyond the end of the log.';
    END IF;
    UPDATE stream_position p
       SET next_index = move_stream.next_index, last_index = coalesce(move_stream.last_index, at.last_index),
           last_hash = coalesce(move_stream.last_hash, at.last_hash), delivered = at.delivered + events,
           delivered_at = CASE WHEN events > 0 THEN clock_timestamp() ELSE at.delivered_at END,
           attempts = 0, failing_since = NULL, next_attempt_at = '-infinity', error = NULL
     WHERE p.name = at.name;
    PERFORM park(at.name, parked);
    IF events > 0 OR number > 0 THEN
        PERFORM note_delivery(at.name, CASE WHEN events > 0 THEN 'delivered' ELSE 'parked' END, at.next_index,
                              move_stream.next_index - 1, events, number, bytes, at.attempts + 1);
    END IF;
    IF skipped IS NOT NULL THEN
        PERFORM note_delivery(at.name, 'skipped', at.next_index, move_stream.next_index - 1,
                              (skipped->>'events')::bigint, 0, 0, 1, skipped->>'reason');
    END IF;
END $$;

-- note_stream_failure(name, to_index, events, error, retry_in): notes that a chunk was not accepted, and when it is sent
-- again. Returns for how long the stream has been failing.
CREATE OR REPLACE FUNCTION pgaudit.note_stream_failure(
    name text, to_index bigint, events bigint, error text, retry_in interval) RETURNS interval
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    at stream_position;
BEGIN
    UPDATE stream_position p
       SET attempts = least(p.attempts, 1000000) + 1, failing_since = failing_since_of(p),
           next_attempt_at = clock_timestamp() + retry_in, error = left(note_stream_failure.error, 1000)
     WHERE p.name = note_stream_failure.name RETURNING * INTO at;
    IF FOUND THEN
        INSERT INTO delivery (stream, status, from_index, to_index, events, attempts, error)
        VALUES (at.name, 'failed', at.next_index, to_index, events, at.attempts, left(error, 1000));
    END IF;
    RETURN clock_timestamp() - at.failing_since;
END $$;

-- blocked_targets(name, targets): returns those of the targets that have a parked event, each with the first one. A look
-- for each target: there may be far more parked events than targets.
CREATE OR REPLACE FUNCTION pgaudit.blocked_targets(name text, targets text[]) RETURNS TABLE (target text, index bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT asked.target, first.index
      FROM unnest(targets) AS asked (target), LATERAL (
               SELECT p.index FROM parked p
                WHERE p.stream = blocked_targets.name AND p.target = asked.target ORDER BY p.index LIMIT 1) AS first
$$;

-- due_parked(name, most): returns the parked events that are to be sent again, in the order of the log.
CREATE OR REPLACE FUNCTION pgaudit.due_parked(name text, most integer) RETURNS TABLE (index bigint, attempts integer)
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT p.index, p.attempts FROM parked p
     WHERE p.stream = due_parked.name AND p.retry_at <= clock_timestamp() ORDER BY p.index LIMIT most
$$;

-- settle_parked(name, indexes): parked events were accepted, or given up; those that wait behind them are due. Returns
-- how many there were.
CREATE OR REPLACE FUNCTION pgaudit.settle_parked(name text, indexes bigint[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH settled AS (
        DELETE FROM parked p WHERE p.stream = settle_parked.name AND p.index = ANY (indexes) RETURNING p.target
    ), released AS (
        UPDATE parked p SET behind = NULL, retry_at = clock_timestamp()
         WHERE p.stream = settle_parked.name
           AND p.index IN (SELECT min(next.index) FROM settled JOIN parked next
                               ON next.stream = settle_parked.name AND next.target = settled.target
                              AND next.index <> ALL (indexes)
                            GROUP BY next.target)
    )
    SELECT count(*) FROM settled
$$;

-- note_parked_failure(name, index, error, retry_in): a parked event was refused again; with NULL it waits until someone
-- retries it.
CREATE OR REPLACE FUNCTION pgaudit.note_parked_failure(name text, index bigint, error text, retry_in interval)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    UPDATE parked p
       SET attempts = least(p.attempts, 1000000) + 1, error = left(note_parked_failure.error, 1000),
           retry_at = clock_timestamp() + retry_in
     WHERE p.stream = note_parked_failure.name AND p.index = note_parked_failure.index
$$;

-- prune_deliveries(): deletes the history of deliveries that is older than 30 days. Returns how many rows.
CREATE OR REPLACE FUNCTION pgaudit.prune_deliveries() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH pruned AS (DELETE FROM delivery WHERE started_at < statement_timestamp() - interval '30 days' RETURNING 1)
    SELECT count(*) FROM pruned
$$;

-- Saved searches. A reader calls these functions, because it can write to no table. The owner of a search is a user of
-- the dashboard and not a database role: the application says who it is.

-- save_search(owner, name, query): saves a search; replaces the owner's search of that name.
-- Raises PA002 if a text is too long, or the owner has 200 other searches.
CREATE OR REPLACE FUNCTION pgaudit.save_search(owner text, name text, query text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF (SELECT count(*) FROM saved_search s WHERE s.owner = save_search.owner AND s.name <> save_search.name) >= 200 THEN
        RAISE EXCEPTION 'there are 200 saved searches already: delete one first' USING ERRCODE = 'PA002';
    END IF;
    INSERT INTO saved_search (owner, name, query) VALUES (save_search.owner, save_search.name, save_search.query)
        ON CONFLICT (owner, name) DO UPDATE SET query = excluded.query, created_at = excluded.created_at;
EXCEPTION WHEN check_violation OR not_null_violation THEN
    RAISE EXCEPTION 'a saved search has an owner of 1 to 500, a name of 1 to 200 and a text of at most 10,000 characters'
        USING ERRCODE = 'PA002';
END $$;

-- delete_search(owner, name): deletes the owner's search of that name. Returns whether there was one.
CREATE OR REPLACE FUNCTION pgaudit.delete_search(owner text, name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    DELETE FROM saved_search s WHERE s.owner = delete_search.owner AND s.name = delete_search.name;
    RETURN FOUND;
END $$;

-- Streams: adding, pausing and setting them back.

-- acting_user(): returns who acts: the user that the application has named, as "type:id", or the role of the session.
CREATE OR REPLACE FUNCTION pgaudit.acting_user() RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT coalesce((actor->>'type') || ':' || (actor->>'id'), session_user)
      FROM (SELECT context_of_application()->'actor' AS actor) said
$$;

-- record_about_stream(action, name, data): records an event about a stream: who changes what leaves the database is seen
-- in the log, and by whom the events are sent to.
CREATE OR REPLACE FUNCTION pgaudit.record_about_stream(action text, name text, data jsonb DEFAULT '{}') RETURNS void
LANGUAGE sql SET search_path = pgaudit, pg_temp AS $$
    SELECT record_contents(ARRAY[(
        (captured_head(action) || substr(gen_random_uuid()::text, 16) || '"}')::jsonb || jsonb_build_object(
            'targets', jsonb_build_array(jsonb_build_object('type', 'stream', 'id', name)),
            'data', jsonb_strip_nulls(data)))::text])
$$;

-- add_stream(name, kind, url, query, form, ordered, allow_private, start): adds a stream that begins with the event of
-- that index, or with the first one of the log if that is later; with the next one that is appended if it is NULL.
-- Returns the index. Raises PA003 if there is a stream of that name.
CREATE OR REPLACE FUNCTION pgaudit.add_stream(
    name text, kind text, url text, query text, form text, ordered boolean, allow_private boolean, start bigint)
RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    log_size bigint := (SELECT size FROM log_head);
    first    bigint := CASE WHEN start IS NULL THEN log_size
                            ELSE greatest(start, least((SELECT min(first_index) FROM log_partitions()), log_size)) END;
BEGIN
    IF start > log_size THEN
        RAISE EXCEPTION 'the log has % events, so a stream cannot begin with index %', log_size, start
            USING ERRCODE = 'PA003';
    END IF;
    INSERT INTO stream (name, kind, url, query, form, ordered, allow_private)
    VALUES (add_stream.name, add_stream.kind, add_stream.url, add_stream.query, add_stream.form, add_stream.ordered,
            add_stream.allow_private)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is a stream % already', add_stream.name
            USING ERRCODE = 'PA003', HINT = 'Remove it first, or choose another name.';
    END IF;
    INSERT INTO stream_position (name, next_index) VALUES (add_stream.name, first);
    RETURN first;
END $$;

-- require_stream(name): raises PA003 if there is no stream of that name.
CREATE OR REPLACE FUNCTION pgaudit.require_stream(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM stream s WHERE s.name = require_stream.name) THEN
        RAISE EXCEPTION 'there is no stream %', require_stream.name
            USING ERRCODE = 'PA003', HINT = 'pgaudit stream list names them all.';
    END IF;
END $$;

-- remove_stream(name): removes a stream, what it has parked, and the history of its deliveries.
CREATE OR REPLACE FUNCTION pgaudit.remove_stream(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM require_stream(name);
    DELETE FROM stream s WHERE s.name = remove_stream.name;
    DELETE FROM parked p WHERE p.stream = remove_stream.name;
    DELETE FROM delivery d WHERE d.stream = remove_stream.name;
END $$;

-- pause_stream(name, kind, reason): keeps workers from sending more than the chunk that is on its way. The first reason
-- stays until the stream is resumed. The pause is an event itself. Workers give any other kind than 'asked'.
CREATE OR REPLACE FUNCTION pgaudit.pause_stream(name text, kind text DEFAULT 'asked', reason text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM require_stream(name);
    UPDATE stream s
       SET paused_at = clock_timestamp(), pause_kind = pause_stream.kind,
           paused_by = CASE pause_stream.kind WHEN 'asked' THEN acting_user() ELSE 'worker' END,
           pause_reason = left(pause_stream.reason, 1000)
     WHERE s.name = pause_stream.name AND s.paused_at IS NULL;
    IF FOUND THEN
        PERFORM record_about_stream('audit.stream_paused', name,
                                    jsonb_build_object('kind', kind, 'reason', left(reason, 1000)));
    END IF;
END $$;

-- resume_stream(name): ends the pause, and tries again at once.
CREATE OR REPLACE FUNCTION pgaudit.resume_stream(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM require_stream(name);
    UPDATE stream s SET paused_at = NULL, paused_by = NULL, pause_kind = NULL, pause_reason = NULL
     WHERE s.name = resume_stream.name AND s.paused_at IS NOT NULL;
    IF FOUND THEN
        PERFORM record_about_stream('audit.stream_resumed', name);
    END IF;
    UPDATE stream_position p SET attempts = 0, failing_since = NULL, next_attempt_at = '-infinity', error = NULL
     WHERE p.name = resume_stream.name;
END $$;

-- rewind_stream(name, index): lets a stream go on with the event of that index, which may lie ahead too. Raises PA003 if
-- the log does not have it, and it is not the next one that is appended. Waits for the chunk that is on its way. What
-- was parked from there on comes again, so it is parked no longer.
CREATE OR REPLACE FUNCTION pgaudit.rewind_stream(name text, index bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    log_size bigint := (SELECT size FROM log_head);
    first    bigint := least((SELECT min(first_index) FROM log_partitions()), log_size);
    before   bigint;
BEGIN
    PERFORM require_stream(name);
    IF rewind_stream.index NOT BETWEEN first AND log_size THEN
        RAISE EXCEPTION 'stream % can go on with index % to %, and not with %', name, first, log_size, rewind_stream.index
            USING ERRCODE = 'PA003';
    END IF;
    SELECT next_index INTO before FROM stream_position p WHERE p.name = rewind_stream.name FOR UPDATE;
    UPDATE stream_position p
       SET next_index = rewind_stream.index, last_index = NULL, last_hash = NULL, attempts = 0, failing_since = NULL,
           next_attempt_at = '-infinity', error = NULL, started_at = clock_timestamp()
     WHERE p.name = rewind_stream.name;
    DELETE FROM parked p WHERE p.stream = rewind_stream.name AND p.index >= rewind_stream.index;
    INSERT INTO delivery (stream, status, from_index, to_index, events)
    VALUES (rewind_stream.name, 'rewound', before, rewind_stream.index, 0);
    PERFORM record_about_stream('audit.stream_rewound', name, jsonb_build_object('from', before, 'to', index));
END $$;

-- retry_parked(name, index): lets workers send the parked event of that index again; all of them if it is NULL. Returns
-- how many: those that wait behind another one follow it.
CREATE OR REPLACE FUNCTION pgaudit.retry_parked(name text, index bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    retried bigint;
BEGIN
    PERFORM require_stream(name);
    UPDATE parked p SET retry_at = clock_timestamp()
     WHERE p.stream = retry_parked.name AND p.behind IS NULL
       AND (retry_parked.index IS NULL OR p.index = retry_parked.index);
    GET DIAGNOSTICS retried = ROW_COUNT;
    RETURN retried;
END $$;

-- discard_parked(name, index, reason): gives up a parked event; the events of its target that wait behind it are sent.
-- Returns whether there was one.
CREATE OR REPLACE FUNCTION pgaudit.discard_parked(name text, index bigint, reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM require_stream(name);
    IF settle_parked(name, ARRAY[discard_parked.index]) = 0 THEN
        RETURN false;
    END IF;
    INSERT INTO delivery (stream, status, from_index, to_index, events, error)
    VALUES (discard_parked.name, 'discarded', discard_parked.index, discard_parked.index, 1,
            concat(left(reason, 900), ', by ', acting_user()));
    PERFORM record_about_stream('audit.stream_event_discarded', name,
                                jsonb_build_object('index', index, 'reason', left(reason, 900)));
    RETURN true;
END $$;

-- Cursors: streams that the application reads itself. Readers call these functions, because they can write to no table.
-- A cursor belongs to the role that has made it: others can neither use it nor take its name, nor that of a stream.

-- cursor_key(name): returns the name of the stream that is the caller's cursor; NULL if no cursor has such a name. Its
-- role is that of SET ROLE, if there is one, so that logins that come and go can have their cursors in common.
CREATE OR REPLACE FUNCTION pgaudit.cursor_key(name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT 'cursor:' || coalesce(nullif(current_setting('role'), 'none'), session_user) || ':' || name
     WHERE name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'
$$;

-- open_cursor(name, query, start): makes a cursor, unless there is one: it begins with the event of the index `start`, or
-- with the next one that is appended. Returns what is wrong: NULL if it can be used.
CREATE OR REPLACE FUNCTION pgaudit.open_cursor(name text, query text, start bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    key   text := cursor_key(name);
    ours  text := left(key, -length(name));
    known stream;
BEGIN
    IF key IS NULL THEN
        RETURN 'the name of a cursor has 1 to 63 small letters, digits, dots, hyphens and underscores';
    END IF;
    SELECT * INTO known FROM stream s WHERE s.name = key;
    IF NOT FOUND THEN
        IF (SELECT count(*) FROM stream WHERE kind = 'cursor' AND starts_with(stream.name, ours)
                AND position(':' IN substr(stream.name, length(ours) + 1)) = 0) >= 100 THEN
            RETURN format('the role has 100 cursors already: remove one with SELECT pgaudit.remove_stream(%L), as the '
                          'owner of the schema', ours || 'NAME');
        END IF;
        IF length(open_cursor.query) > 4000 THEN
            RETURN 'a query has at most 4,000 characters';  -- as in Python, which a reader need not use
        END IF;
        PERFORM add_stream(key, 'cursor', NULL, open_cursor.query, 'native', true, false, start);
    ELSIF known.query <> open_cursor.query THEN
        RETURN format('the cursor %s has another query: %s', open_cursor.name, known.query);
    END IF;
    RETURN NULL;
EXCEPTION
    WHEN unique_violation OR SQLSTATE 'PA003' THEN
        IF EXISTS (SELECT FROM stream s WHERE s.name = key) THEN
            RETURN NULL;  -- another process was faster
        END IF;
        RETURN SQLERRM;
END $$;

-- lock_cursor(name): returns where a cursor is, and what it reads. Other processes wait until the transaction ends.
-- problem says why it cannot go on: the log was restored from an older backup.
CREATE OR REPLACE FUNCTION pgaudit.lock_cursor(name text, OUT next_index bigint, OUT query text, OUT problem text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    at stream_position;
BEGIN
    SELECT p.* INTO at FROM stream_position p JOIN stream s USING (name)
     WHERE p.name = cursor_key(lock_cursor.name) AND s.kind = 'cursor' FOR UPDATE OF p;
    next_index := at.next_index;
    query := (SELECT s.query FROM stream s WHERE s.name = at.name);
    problem := CASE WHEN at.name IS NULL THEN 'this role has none of that name' ELSE mismatch_of(at) END;
END $$;

-- move_cursor(name, old, new, last_index, last_hash, events): lets a cursor go on with the event of the index `new`.
-- Returns false if it was not at `old` any longer.
CREATE OR REPLACE FUNCTION pgaudit.move_cursor(
    name text, old bigint, new bigint, last_index bigint, last_hash bytea, events bigint)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    UPDATE stream_position p
       SET next_index = new, last_index = coalesce(move_cursor.last_index, p.last_index),
           last_hash = coalesce(move_cursor.last_hash, p.last_hash), delivered = p.delivered + events,
           delivered_at = clock_timestamp()
     WHERE p.name = cursor_key(move_cursor.name) AND p.next_index = old;
    RETURN FOUND;
END $$;

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

-- Processors: what workers and people do with them. The functions for their jobs are in 89_processor_jobs.sql.

-- follow_clock(name): if the clock was set back, sets back what the jobs of a processor, its rate and its probes wait for,
-- too: that may be hours ahead. A job waits since its last attempt has failed; one that was not tried waits for nothing.
CREATE OR REPLACE FUNCTION pgaudit.follow_clock(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    UPDATE processor p
       SET next_at = least(p.next_at, moment + make_interval(secs => least(1 / coalesce(p.rate, 1e6), 1e6))),
           probe_at = least(p.probe_at, moment + interval '1 minute')
     WHERE p.name = follow_clock.name AND greatest(p.next_at, p.probe_at) > moment;
    UPDATE processor_jobs j SET scheduled_at = j.scheduled_at - (ahead.noted_at - moment)
      FROM (SELECT t.id, coalesce((SELECT e.failed_at FROM job_error e WHERE e.job_id = t.id ORDER BY e.id DESC LIMIT 1),
                                  t.scheduled_at) AS noted_at
              FROM processor_jobs t
             WHERE t.task_name = follow_clock.name AND t.status = 'todo' AND t.scheduled_at > moment) ahead
     WHERE j.id = ahead.id AND j.status = 'todo' AND ahead.noted_at > moment;
END $$;

-- register_processor(name, query, start, concurrency, rate, break_after): notes that a worker knows a processor. A new
-- one begins with the event of the index `start`; with the next one that is appended if that is NULL.
CREATE OR REPLACE FUNCTION pgaudit.register_processor(
    name text, query text, start bigint, concurrency integer, rate double precision, break_after integer)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    log_size bigint := (SELECT size FROM log_head);
BEGIN
    INSERT INTO stream (name, kind, query) VALUES (register_processor.name, 'processor', register_processor.query)
        ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO stream_position (name, next_index)
        VALUES (register_processor.name, least(coalesce(register_processor.start, log_size), log_size));
    ELSIF (SELECT kind FROM stream s WHERE s.name = register_processor.name) <> 'processor' THEN
        RAISE EXCEPTION 'there is a stream % already, which is no processor', register_processor.name
            USING ERRCODE = 'PA003', HINT = 'Give the processor another name.';
    END IF;
    UPDATE stream s SET query = register_processor.query
     WHERE s.name = register_processor.name AND s.query <> register_processor.query;
    PERFORM follow_clock(name);
    INSERT INTO processor AS p (name, concurrency, rate, break_after)
    VALUES (register_processor.name, register_processor.concurrency, register_processor.rate,
            register_processor.break_after)
        ON CONFLICT (name) DO UPDATE
       SET concurrency = excluded.concurrency, rate = excluded.rate, break_after = excluded.break_after,
           known_at = excluded.known_at;
END $$;

-- due_processors(names): returns what is to be dispatched for the processors that a worker knows: what comes after their
-- position, and the backfills, with their number. A processor with 10,000 jobs that wait gets no more of them.
CREATE OR REPLACE FUNCTION pgaudit.due_processors(names text[])
RETURNS TABLE (name text, backfill bigint, next_index bigint, end_index bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT due.* FROM (
        SELECT d.name, NULL::bigint AS backfill, NULL::bigint AS next_index, NULL::bigint AS end_index
          FROM due_streams() d WHERE d.kind = 'processor' AND d.name = ANY (names)
        UNION ALL
        (SELECT DISTINCT ON (b.processor) b.processor, b.id, b.next_index, b.to_index + 1
           FROM processor_backfill b JOIN stream s ON s.name = b.processor
          WHERE b.ended_at IS NULL AND s.paused_at IS NULL AND b.processor = ANY (names) ORDER BY b.processor, b.id)
    ) due
     WHERE NOT EXISTS (SELECT FROM processor_jobs j WHERE j.task_name = due.name AND j.status = 'todo'
                       ORDER BY j.scheduled_at OFFSET 9999)
     ORDER BY due.backfill NULLS FIRST, due.name
$$;

-- defer_processor_jobs(processor, indexes, unchecked): adds a job for each of these events, unless it has one that
-- waits, runs or has failed. Those in `unchecked` still have to be asked whether the processor wants them. Returns how
-- many were added.
CREATE OR REPLACE FUNCTION pgaudit.defer_processor_jobs(processor text, indexes bigint[], unchecked bigint[])
RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    added bigint;
BEGIN
    INSERT INTO processor_jobs (task_name, index, args)
    SELECT processor, i, jsonb_build_object('index', i, 'unchecked', i = ANY (unchecked))
      FROM unnest(indexes) i ORDER BY i
        ON CONFLICT (task_name, index) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END $$;

-- dispatch_events(name, next_index, moved_to, indexes, unchecked, last_index, last_hash): adds the jobs for the events of a
-- chunk, and moves the position behind the chunk. Returns false, and does nothing, if another worker has moved it.
CREATE OR REPLACE FUNCTION pgaudit.dispatch_events(
    name text, next_index bigint, moved_to bigint, indexes bigint[], unchecked bigint[], last_index bigint,
    last_hash bytea)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
DECLARE
    added bigint;
BEGIN
    IF NOT lock_stream(name, next_index) THEN
        RETURN false;
    END IF;
    added := defer_processor_jobs(name, indexes, unchecked);
    PERFORM move_stream(name, moved_to, last_index, last_hash, added, 0, '[]', NULL);
    RETURN true;
END $$;

-- dispatch_backfill(id, next_index, moved_to, indexes, unchecked): the same for a backfill, which ends at its last index.
CREATE OR REPLACE FUNCTION pgaudit.dispatch_backfill(
    id bigint, next_index bigint, moved_to bigint, indexes bigint[], unchecked bigint[])
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    at processor_backfill;
BEGIN
    SELECT * INTO at FROM processor_backfill b
     WHERE b.id = dispatch_backfill.id AND b.next_index = dispatch_backfill.next_index AND b.ended_at IS NULL
       FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE processor_backfill b
       SET next_index = least(moved_to, at.to_index + 1),
           jobs = at.jobs + defer_processor_jobs(at.processor, indexes, unchecked),
           ended_at = CASE WHEN moved_to > at.to_index THEN clock_timestamp() END
     WHERE b.id = at.id;
    RETURN true;
END $$;

-- require_processor(name): raises PA003 if there is no processor of that name.
CREATE OR REPLACE FUNCTION pgaudit.require_processor(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM processor p WHERE p.name = require_processor.name) THEN
        RAISE EXCEPTION 'there is no processor %', require_processor.name
            USING ERRCODE = 'PA003', HINT = 'pgaudit processors list names them all.';
    END IF;
END $$;

-- backfill_processor(name, from_index, to_index): lets workers add jobs for the events of that range, both ends
-- included; up to the position of the processor if to_index is NULL. Returns the number of the backfill.
CREATE OR REPLACE FUNCTION pgaudit.backfill_processor(name text, from_index bigint, to_index bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    position bigint;
    added    bigint;
BEGIN
    PERFORM require_processor(name);
    position := (SELECT next_index FROM stream_position p WHERE p.name = backfill_processor.name FOR UPDATE);
    to_index := coalesce(backfill_processor.to_index, position - 1);
    IF backfill_processor.from_index < 0 OR to_index < backfill_processor.from_index OR to_index >= position THEN
        RAISE EXCEPTION 'the processor % is at index %, so it cannot be given % to %', backfill_processor.name, position,
                        backfill_processor.from_index, to_index
            USING ERRCODE = 'PA003', HINT = 'Events from there on come by themselves.';
    END IF;
    INSERT INTO processor_backfill (processor, from_index, to_index, next_index)
    VALUES (backfill_processor.name, backfill_processor.from_index, to_index, backfill_processor.from_index)
    RETURNING id INTO added;
    PERFORM record_about_stream('audit.processor_backfilled', name,
                                jsonb_build_object('from', from_index, 'to', to_index));
    RETURN added;
END $$;

-- remove_processor(name): removes a processor that no code has any more, with its jobs.
CREATE OR REPLACE FUNCTION pgaudit.remove_processor(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM require_processor(name);
    DELETE FROM processor_jobs j WHERE j.task_name = remove_processor.name;
    PERFORM remove_stream(name);
END $$;

-- Replays: a range of the log is sent to a destination again, while there is nothing newer to send. The position of the
-- stream stays where it is.

-- replay_stream(name, from_index, to_index): asks for a replay of these events, both ends included. Raises PA003 if the
-- stream has not got that far, or a replay is under way.
CREATE OR REPLACE FUNCTION pgaudit.replay_stream(name text, from_index bigint, to_index bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    position bigint;
BEGIN
    PERFORM require_stream(name);
    SELECT p.next_index INTO position FROM stream_position p WHERE p.name = replay_stream.name;
    IF position = 0 THEN
        RAISE EXCEPTION 'a replay sends again what was sent, and stream % has sent nothing yet', name
            USING ERRCODE = 'PA003';
    END IF;
    IF from_index < 0 OR from_index > to_index OR to_index >= position THEN
        RAISE EXCEPTION 'a replay sends events that stream % has passed already: index 0 to %, and not % to %',
            name, position - 1, replay_stream.from_index, replay_stream.to_index USING ERRCODE = 'PA003';
    END IF;
    INSERT INTO stream_replay (stream, from_index, to_index, next_index, asked_by)
    VALUES (replay_stream.name, replay_stream.from_index, replay_stream.to_index, replay_stream.from_index,
            acting_user())
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a replay of stream % is under way: wait for its end, or stop it first', name
            USING ERRCODE = 'PA003';
    END IF;
    PERFORM record_about_stream('audit.stream_replayed', name, jsonb_build_object('from', from_index, 'to', to_index));
END $$;

-- stop_replay(name): ends a replay where it is. Returns whether there was one.
CREATE OR REPLACE FUNCTION pgaudit.stop_replay(name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    PERFORM require_stream(name);
    DELETE FROM stream_replay r WHERE r.stream = stop_replay.name;
    RETURN FOUND;
END $$;

-- look_at_replay(name): returns what is to be sent again; no row if there is nothing, or it has to wait.
CREATE OR REPLACE FUNCTION pgaudit.look_at_replay(
    name text, OUT next_index bigint, OUT to_index bigint, OUT attempts integer, OUT asked_at timestamptz)
RETURNS SETOF record
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT r.next_index, r.to_index, r.attempts, r.asked_at
      FROM stream_replay r JOIN stream s ON s.name = r.stream JOIN stream_position p ON p.name = r.stream
     WHERE r.stream = look_at_replay.name AND s.paused_at IS NULL
       AND (greatest(r.next_attempt_at, p.next_attempt_at) <= clock_timestamp() OR clock_was_set_back(p.name))
$$;

-- move_replay(name, next_index, events, bytes, parked): notes what was sent again; the replay ends behind its last event.
-- `parked` is as for move_stream.
CREATE OR REPLACE FUNCTION pgaudit.move_replay(
    name text, next_index bigint, events bigint, bytes bigint, parked jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    replay stream_replay;
BEGIN
    SELECT * INTO replay FROM stream_replay r WHERE r.stream = move_replay.name FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;  -- stopped meanwhile
    END IF;
    IF move_replay.next_index > replay.to_index THEN
        DELETE FROM stream_replay r WHERE r.stream = replay.stream;
    ELSE
        UPDATE stream_replay r
           SET next_index = move_replay.next_index, events = replay.events + move_replay.events, attempts = 0,
               error = NULL, next_attempt_at = '-infinity'
         WHERE r.stream = replay.stream;
    END IF;
    PERFORM park(replay.stream, move_replay.parked);
    PERFORM note_delivery(replay.stream, 'replayed', replay.next_index,
                          least(move_replay.next_index - 1, replay.to_index), move_replay.events,
                          jsonb_array_length(move_replay.parked), move_replay.bytes, replay.attempts + 1);
END $$;

-- note_replay_failure(name, error, retry_in): notes that a chunk was not accepted, and when it is sent again; with NULL
-- the replay ends.
CREATE OR REPLACE FUNCTION pgaudit.note_replay_failure(name text, error text, retry_in interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    replay stream_replay;
BEGIN
    UPDATE stream_replay r
       SET attempts = least(r.attempts, 1000000) + 1, error = left(note_replay_failure.error, 1000),
           next_attempt_at = clock_timestamp() + coalesce(retry_in, '0')
     WHERE r.stream = note_replay_failure.name RETURNING * INTO replay;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO delivery (stream, status, from_index, to_index, events, attempts, error)
    VALUES (replay.stream, 'failed', replay.next_index, replay.to_index, 0, replay.attempts,
            CASE WHEN retry_in IS NULL THEN 'the replay has ended: ' ELSE 'replay: ' END || replay.error);
    IF retry_in IS NULL THEN
        DELETE FROM stream_replay r WHERE r.stream = replay.stream;
    END IF;
END $$;

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

-- The state of captures and guards, and what is wrong with them. No table is locked, so that a migration of the
-- application that holds a lock does not block the health check.

-- watched(purpose): returns the captured or guarded tables, with the columns that both have.
CREATE OR REPLACE FUNCTION pgaudit.watched(purpose text)
RETURNS TABLE (id integer, relation regclass, key_columns text[], columns text[], excluded text[], masked text[], condition text,
               renamed_columns jsonb, known_columns jsonb, paused_at timestamptz)
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT id, relation, key_columns, columns, excluded, masked, condition, renamed_columns, known_columns, paused_at
      FROM captured_table WHERE purpose = 'capture'
    UNION ALL
    SELECT id, relation, key_columns, columns, excluded, masked, condition, renamed_columns, known_columns, paused_at
      FROM guarded_table WHERE purpose = 'guard'
$$;

-- level_of_triggers(relation, purpose): returns what its triggers fire for, statement or row; NULL if it has none.
CREATE OR REPLACE FUNCTION pgaudit.level_of_triggers(relation oid, purpose text) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT min(CASE tgtype & 1 WHEN 1 THEN 'row' ELSE 'statement' END) FROM pg_trigger
     WHERE tgrelid = relation AND NOT tgisinternal
       AND tgname IN (SELECT triggers_of(relation, purpose)) AND tgtype & 32 = 0  -- not those of TRUNCATE
$$;

-- problem_of_triggers(relation, purpose, function): returns what is wrong with the triggers of a table and its
-- partitions; NULL if nothing is.
CREATE OR REPLACE FUNCTION pgaudit.problem_of_triggers(relation oid, purpose text, function oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    WITH found AS (
        SELECT format('%s on %s', name, table_name(member)) AS name,
               CASE WHEN t.oid IS NULL THEN 'has no trigger'
                    WHEN tgenabled <> 'A' THEN 'has a trigger that does not always fire'
                    WHEN tgfoid <> function OR tgqual IS NOT NULL OR tgattr <> '' THEN 'has an altered trigger' END AS problem
          FROM partition_tree(relation) member CROSS JOIN unnest('{insert,update,delete,truncate}'::text[]) operation
         CROSS JOIN LATERAL format('0_pgaudit_%s_%s', purpose, operation) name
          LEFT JOIN pg_trigger t ON tgrelid = member AND tgname = name AND NOT tgisinternal)
    SELECT min(problem) || ': ' || min(name) || CASE WHEN count(*) > 1 THEN format(' and %s more', count(*) - 1) ELSE '' END
      FROM found WHERE problem IS NOT NULL GROUP BY problem ORDER BY problem LIMIT 1
$$;

-- problem_of_function(relation, function): returns what is wrong with the generated function of a table; NULL if
-- nothing is. Generating it anew, to compare, would take 20 ms.
CREATE OR REPLACE FUNCTION pgaudit.problem_of_function(relation oid, function oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT CASE WHEN NOT prosecdef OR obj_description(oid, 'pg_proc') IS DISTINCT FROM generated_comment(prosrc)
                THEN 'has a function that was altered by hand' END
      FROM pg_proc WHERE oid = function
$$;

-- problem_of_columns(relation, key, known, condition, renamed): returns why rows can no longer be changed: key or
-- condition names a column that was dropped, or the condition does not fit the type of one. NULL otherwise: for other
-- columns, the next change of a row adapts the function.
CREATE OR REPLACE FUNCTION pgaudit.problem_of_columns(relation oid, key text[], known jsonb, condition text, renamed jsonb)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp SET lock_timeout = '100ms' AS $$
BEGIN
    IF cardinality(key_now(key, known, relation)) < cardinality(key) THEN
        RETURN 'cannot be changed, because a column of the key no longer exists';
    END IF;
    PERFORM check_condition(relation, condition, renamed_now(renamed, known, relation), 'captured');
    RETURN NULL;
EXCEPTION
    WHEN invalid_parameter_value THEN
        RETURN 'cannot be updated, because ' || substring(SQLERRM FROM 'the condition is not valid.*');
    WHEN lock_not_available THEN
        RETURN NULL;
END $$;

-- problem_of(purpose, id, relation): returns why changes of a captured or guarded table may pass unseen, or fail: the
-- rest of a sentence that begins with the table. NULL without a problem.
CREATE OR REPLACE FUNCTION pgaudit.problem_of(purpose text, id integer, relation oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pgaudit, pg_temp AS $$
DECLARE
    made    oid  := (SELECT oid FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace AND proname = purpose || '_' || id);
    problem text := coalesce(problem_of_triggers(relation, purpose, made), problem_of_function(relation, made));
BEGIN
    IF problem IS NULL AND level_of_triggers(relation, purpose) = 'statement' AND level_of_capture(relation) = 'row' THEN
        problem := format('needs triggers for each row, because %s', row_level_reason(relation));
    END IF;
    IF problem IS NULL THEN
        SELECT 'has a child of which no change is seen: ' || string_agg(table_name(child), ', ') INTO problem
          FROM children_of(relation) child
         WHERE child NOT IN (SELECT w.relation FROM watched(purpose) w);
    END IF;
    IF problem IS NULL THEN
        SELECT problem_of_columns(w.relation, w.key_columns, w.known_columns, w.condition, w.renamed_columns) INTO problem
          FROM watched(purpose) w WHERE w.id = problem_of.id;
    END IF;
    RETURN problem;
END $$;

-- watched_tables(purpose): returns the captured or guarded tables as they are now, with the present names of their
-- columns.
CREATE OR REPLACE FUNCTION pgaudit.watched_tables(purpose text)
RETURNS TABLE (id integer, schema_name text, table_name text, key_columns text[], columns text[], excluded text[],
               masked text[], level text, level_reason text, children text[], problem text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT w.id, n.nspname, c.relname, key_now(w.key_columns, known_columns, w.relation),
           names_now(w.columns, known_columns, w.relation), names_now(w.excluded, known_columns, w.relation),
           names_now(w.masked, known_columns, w.relation), level_of_triggers(w.relation, purpose),
           row_level_reason(w.relation), array(SELECT table_name(child) FROM children_of(w.relation) child ORDER BY 1),
           CASE WHEN paused_at IS NULL THEN problem_of(purpose, w.id, w.relation) END
      FROM watched(purpose) w
      JOIN pg_class c ON c.oid = w.relation
      JOIN pg_namespace n ON n.oid = c.relnamespace
$$;

CREATE OR REPLACE VIEW pgaudit.capture_state AS
SELECT w.schema_name, w.table_name, c.target_type, w.key_columns, c.action, w.columns, w.excluded, w.masked, c.condition,
       w.level, w.level_reason, w.children, w.problem, c.added_at, c.added_by, c.paused_at, c.paused_by
  FROM pgaudit.captured_table c JOIN pgaudit.watched_tables('capture') w USING (id);

CREATE OR REPLACE VIEW pgaudit.guard_state AS
SELECT w.schema_name, w.table_name, g.target_type, w.key_columns, g.action, g.on_missing, g.actions, g.with_changes,
       w.columns, w.excluded, w.masked, g.condition, w.level, w.level_reason, w.children, w.problem,
       g.added_at, g.added_by, g.paused_at, g.paused_by
  FROM pgaudit.guarded_table g JOIN pgaudit.watched_tables('guard') w USING (id);

-- capture_problems(): returns what is wrong with captured and guarded tables that are not paused. For readers and
-- workers.
CREATE OR REPLACE FUNCTION pgaudit.capture_problems() RETURNS TABLE (purpose text, relation oid, table_name text, problem text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT p.purpose, c.oid, table_name(c.oid), problem
      FROM unnest('{capture,guard}'::text[]) p (purpose), watched(p.purpose) w JOIN pg_class c ON c.oid = w.relation,
           problem_of(p.purpose, w.id, c.oid) problem
     WHERE w.paused_at IS NULL AND problem IS NOT NULL ORDER BY 1, 3
$$;


-- tend_captures(): ends captures and guards of tables that were dropped, and adds the triggers of TRUNCATE to partitions
-- that were created since; to those that are locked, the next time. For workers.
CREATE OR REPLACE FUNCTION pgaudit.tend_captures() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    purpose text;
    id      integer;
    member  regclass;
BEGIN
    FOREACH purpose IN ARRAY '{capture,guard}'::text[] LOOP
        FOR id IN SELECT w.id FROM watched(purpose) w WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = w.relation) LOOP
            PERFORM forget_dropped_table(purpose, id);
        END LOOP;
        FOR id, member IN
            SELECT w.id, m FROM watched(purpose) w, partition_tree(w.relation) m
             WHERE paused_at IS NULL AND m <> w.relation
               AND format('0_pgaudit_%s_truncate', purpose) NOT IN (SELECT triggers_of(m, purpose)) LOOP
            BEGIN
                PERFORM create_truncate_trigger(member, purpose, purpose || '_' || id);
            EXCEPTION WHEN lock_not_available OR insufficient_privilege OR undefined_table OR duplicate_object THEN
                NULL;  -- another worker was faster, or the health check names it
            END;
        END LOOP;
    END LOOP;
END $$;

-- forget_dropped_table(purpose, id): ends the capture or guard of a table that was dropped, and records that. Only the
-- number of the table is known.
CREATE OR REPLACE FUNCTION pgaudit.forget_dropped_table(purpose text, id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    settings jsonb;
BEGIN
    IF purpose = 'capture' THEN
        DELETE FROM captured_table c WHERE c.id = forget_dropped_table.id RETURNING to_jsonb(c) INTO settings;
    ELSE
        DELETE FROM guarded_table g WHERE g.id = forget_dropped_table.id RETURNING to_jsonb(g) INTO settings;
    END IF;
    IF settings IS NOT NULL THEN
        PERFORM record_about_table(
            format('audit.%s_removed', purpose), (settings->>'relation')::oid::regclass,
            jsonb_build_object('reason', 'the table was dropped', 'target_type', settings->>'target_type'));
        EXECUTE format('DROP FUNCTION IF EXISTS pgaudit.%I()', purpose || '_' || id);
    END IF;
END $$;

-- Coverage: which tables of the application are captured or guarded, and which are neither.

-- logged_actions(prefixes): returns the actions in the log that begin with one of the prefixes. Each is found by one
-- step in each index, however many events have it.
CREATE OR REPLACE FUNCTION pgaudit.logged_actions(prefixes text[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    WITH RECURSIVE wanted AS (
        SELECT prefix COLLATE "C" AS first, (left(prefix, -1) || chr(ascii(right(prefix, 1)) + 1)) COLLATE "C" AS behind
          FROM unnest(prefixes) prefix WHERE prefix <> ''
    ), step (action, behind) AS (
        SELECT (SELECT l.action FROM audit_log l WHERE l.action >= first AND l.action < behind ORDER BY l.action LIMIT 1), behind
          FROM wanted
        UNION ALL
        SELECT (SELECT l.action FROM audit_log l WHERE l.action > step.action AND l.action < step.behind ORDER BY l.action LIMIT 1),
               behind
          FROM step WHERE action IS NOT NULL)
    SELECT DISTINCT action FROM step WHERE action IS NOT NULL
$$;

-- last_recorded_at(actions): returns when the newest event in the log with one of these actions was recorded. Only the
-- index of actions has the order that is asked for: "action = x ORDER BY index" would read a log without x as a whole.
CREATE OR REPLACE FUNCTION pgaudit.last_recorded_at(actions text[]) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT max(newest.recorded_at)
      FROM unnest(actions) wanted (action),
           LATERAL (SELECT l.recorded_at FROM audit_log l WHERE l.action >= wanted.action AND l.action <= wanted.action
                     ORDER BY l.action DESC, l.index DESC LIMIT 1) newest
$$;

-- expected_actions(action, actions): returns what the actions of events for a guarded table begin with.
CREATE OR REPLACE FUNCTION pgaudit.expected_actions(action text, actions jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT action || '.' || array(SELECT split_part(pattern, '*', 1) FROM jsonb_each_text(actions) AS given (operation, pattern))
$$;

-- A table belongs to the application unless it is pgaudit's, the server's, an extension's or a tool's for migrations.
CREATE OR REPLACE VIEW pgaudit.table_coverage AS
SELECT n.nspname::text AS schema_name, c.relname::text AS table_name,
       CASE WHEN k.paused_at IS NOT NULL THEN 'paused' WHEN of_capture.problem IS NOT NULL THEN 'broken' WHEN k.id IS NOT NULL THEN 'captured' END AS capture,
       CASE WHEN g.paused_at IS NOT NULL THEN 'paused' WHEN of_guard.problem IS NOT NULL THEN 'broken' WHEN g.id IS NOT NULL THEN 'guarded' END AS guard,
       g.on_missing,
       coalesce(k.target_type, g.target_type) AS target_type,
       contents.estimated_rows, contents.changed_rows,
       CASE WHEN k.id IS NOT NULL
            THEN pgaudit.last_recorded_at(array(SELECT k.action || suffix FROM unnest('{.created,.updated,.deleted,.truncated}'::text[]) suffix))
            WHEN g.id IS NOT NULL
            THEN pgaudit.last_recorded_at(array(SELECT pgaudit.logged_actions(pgaudit.expected_actions(g.action, g.actions))))
       END AS last_event_at,
       coalesce(passed.unrecorded_changes, 0) AS unrecorded_changes,
       coalesce(k.added_at, g.added_at) AS added_at
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pgaudit.captured_table k ON k.relation = c.oid
  LEFT JOIN pgaudit.guarded_table g ON g.relation = c.oid
  LEFT JOIN pgaudit.capture_problems() of_capture ON of_capture.purpose = 'capture' AND of_capture.relation = c.oid
  LEFT JOIN pgaudit.capture_problems() of_guard ON of_guard.purpose = 'guard' AND of_guard.relation = c.oid
  LEFT JOIN (SELECT relation, sum(count)::bigint AS unrecorded_changes FROM pgaudit.unrecorded_change
              WHERE found_at > clock_timestamp() - interval '1 day' GROUP BY relation) passed ON passed.relation = c.oid,
       LATERAL (SELECT coalesce(sum(coalesce(nullif(part.reltuples, -1)::bigint, pg_stat_get_live_tuples(part.oid))), 0)::bigint AS estimated_rows,
                       coalesce(sum(pg_stat_get_tuples_inserted(part.oid) + pg_stat_get_tuples_updated(part.oid)
                                    + pg_stat_get_tuples_deleted(part.oid)), 0)::bigint AS changed_rows
                  FROM pgaudit.partition_tree(c.oid) member JOIN pg_class part ON part.oid = member AND part.relkind = 'r') contents
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pgaudit', 'information_schema') AND n.nspname !~ '^pg_'
   AND c.relname NOT IN ('alembic_version', 'django_migrations')
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e');

-- claim_unrecorded_changes(): returns up to 1,000 changes that guards have let pass and that no worker has reported
-- yet, the oldest first, and marks them as reported. table_name is NULL if the table no longer exists.
CREATE OR REPLACE FUNCTION pgaudit.claim_unrecorded_changes()
RETURNS TABLE (table_name text, operation text, count bigint, targets text[], xid text, recorded_by text, application_name text)
LANGUAGE sql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    WITH told AS (
        UPDATE unrecorded_change u SET told_at = clock_timestamp()
         WHERE id = ANY (array(SELECT id FROM unrecorded_change WHERE told_at IS NULL ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED))
        RETURNING u.*)
    SELECT table_name(relation), operation, count, targets, xid::text, recorded_by, application_name FROM told ORDER BY id
$$;

-- Views for DBAs; their comments are in 97_comments.sql. They run with their owner's rights: a reader needs none on the
-- tables behind them.

-- Computed from the last batch: a counter would have to be updated by each append.
CREATE OR REPLACE VIEW pgaudit.log_head AS
SELECT coalesce((SELECT first_index + count FROM pgaudit.batch ORDER BY first_index DESC LIMIT 1), 0) AS size;

-- Fresh jobs are counted as all jobs minus the others.
CREATE OR REPLACE VIEW pgaudit.queue_stats AS
SELECT queue_name,
       pgaudit.count_jobs() - not_fresh + due AS waiting,
       active,
       delayed,
       failed,
       (SELECT size FROM pgaudit.log_head) AS completed,
       (SELECT count(*) FROM pgaudit.stalled_workers_jobs()) AS stalled,
       extract(epoch FROM clock_timestamp() - oldest_recorded)::double precision AS oldest_waiting_seconds
  FROM (VALUES ('audit')) AS queue (queue_name), pgaudit.queue_state();

CREATE OR REPLACE VIEW pgaudit.worker_stats AS
SELECT w.id AS worker_id, w.last_heartbeat,
       extract(epoch FROM clock_timestamp() - w.last_heartbeat)::double precision AS heartbeat_age_seconds,
       w.last_heartbeat > clock_timestamp() - w.stalled_after AS alive,
       count(j.id) AS active_jobs
  FROM pgaudit.procrastinate_workers w
  LEFT JOIN pgaudit.audit_jobs j ON j.worker_id = w.id AND j.status = 'doing'
 GROUP BY w.id;

-- The last error of each job, by job_error_job_idx.
CREATE OR REPLACE VIEW pgaudit.failed_jobs AS
SELECT j.id AS job_id, j.queue_name::text, j.task_name::text, left(j.event->>'id', 100) AS event_id,
       left(j.event->>'action', 200) AS action, j.attempts, e.failed_at, e.error_class, e.message AS error_message
  FROM pgaudit.audit_jobs j
  LEFT JOIN LATERAL (SELECT * FROM pgaudit.job_error WHERE job_id = j.id ORDER BY id DESC LIMIT 1) e ON true
 WHERE j.status = 'failed';

CREATE OR REPLACE VIEW pgaudit.stalled_jobs AS
SELECT j.id AS job_id, j.queue_name::text, j.task_name::text, left(j.event->>'id', 100) AS event_id, j.attempts,
       s.worker_id, s.heartbeat_age_seconds
  FROM pgaudit.stalled_workers_jobs() s JOIN pgaudit.audit_jobs j ON j.id = s.job_id;

CREATE OR REPLACE VIEW pgaudit.delayed_jobs AS
SELECT j.id AS job_id, j.queue_name::text, j.task_name::text, left(j.event->>'id', 100) AS event_id, j.attempts,
       j.scheduled_at, e.message AS last_error
  FROM pgaudit.audit_jobs j
  LEFT JOIN LATERAL (SELECT * FROM pgaudit.job_error WHERE job_id = j.id ORDER BY id DESC LIMIT 1) e ON true
 WHERE j.status = 'todo' AND j.scheduled_at > clock_timestamp();

CREATE OR REPLACE VIEW pgaudit.conflicting_events AS
SELECT index, event_id, conflicts_with, recorded_at FROM pgaudit.event_conflict;

CREATE OR REPLACE VIEW pgaudit.throughput AS
SELECT date_trunc('minute', persisted_at) AS minute, sum(count)::bigint AS events, sum(batches)::bigint AS batches,
       (sum(count * extract(epoch FROM persisted_at - oldest_recorded
                                       + (persisted_at - newest_recorded))) / 2 / sum(count))::double precision AS avg_lag_seconds,
       max(extract(epoch FROM persisted_at - oldest_recorded))::double precision AS max_lag_seconds
  FROM pgaudit.batch
 WHERE persisted_at > now() - interval '24 hours'
 GROUP BY 1 ORDER BY 1 DESC;

-- xmax of the row of log_lock is the transaction that locked it last. While that is open, pg_locks has it.
CREATE OR REPLACE VIEW pgaudit.log_lock_holder AS
SELECT held.pid, prepared.gid AS prepared_transaction, coalesce(activity.usename, prepared.owner)::text AS role,
       activity.application_name::text, coalesce(activity.xact_start, prepared.prepared) AS since
  FROM pgaudit.log_lock
  JOIN pg_locks held ON held.locktype = 'transactionid' AND held.mode = 'ExclusiveLock' AND held.granted
                    AND held.transactionid = log_lock.xmax
  LEFT JOIN pg_stat_activity activity ON activity.pid = held.pid
  LEFT JOIN pg_prepared_xacts prepared ON prepared.transaction = held.transactionid;

CREATE OR REPLACE VIEW pgaudit.storage_stats AS
SELECT c.relname::text AS table_name,
       greatest(c.reltuples, 0)::bigint AS estimated_rows,
       pg_total_relation_size(c.oid) AS total_bytes,
       s.n_dead_tup AS dead_rows,
       s.last_autovacuum
  FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
 WHERE c.relnamespace = 'pgaudit'::regnamespace AND c.relkind = 'r'
 ORDER BY total_bytes DESC;

-- A finding stands until a later verification of the same events finds nothing: one that began behind them says nothing
-- about them. One of all that the log has settles those about partitions that were detached since.
CREATE OR REPLACE VIEW pgaudit.failed_verifications AS
SELECT id, first_index, end_index, findings, found, verified_at, verified_by
  FROM pgaudit.verification failed
 WHERE findings > 0
   AND NOT EXISTS (SELECT FROM pgaudit.verification later
                    WHERE later.id > failed.id AND later.findings = 0
                      AND (later.whole OR later.first_index <= failed.first_index));

CREATE OR REPLACE VIEW pgaudit.sealing_stats AS
SELECT head.size,
       newest.size AS checkpoint_size,
       newest.signed_at,
       greatest(head.size - coalesce(newest.size, 0), 0) AS unsigned_events,
       -- Since the first batch behind the last checkpoint.
       coalesce((SELECT extract(epoch FROM clock_timestamp() - persisted_at) FROM pgaudit.batch
                  WHERE first_index + count > newest.size AND first_index >= newest.size - 100000
                  ORDER BY first_index LIMIT 1), 0)::double precision AS unsigned_seconds,
       state.refused,
       state.refused_since,
       -- A worker that verifies says so each minute.
       coalesce(state.verifying_at > clock_timestamp() - interval '2 minutes'
                AND state.verifying_at > ALL (SELECT verified_at FROM pgaudit.verification ORDER BY id DESC LIMIT 1),
                false) AS verifying,
       latest.end_index AS verified_end,
       latest.verified_at,
       whole.first_index AS fully_verified_first,
       whole.end_index AS fully_verified_end,
       whole.verified_at AS fully_verified_at,
       whole.level,
       failed.verified_at AS failed_at,
       failed.findings,
       failed.found
  FROM pgaudit.log_head head
 CROSS JOIN pgaudit.sealing_state state
  LEFT JOIN LATERAL (SELECT size, signed_at FROM pgaudit.checkpoint ORDER BY size DESC LIMIT 1) newest ON true
  LEFT JOIN LATERAL (SELECT end_index, verified_at FROM pgaudit.verification
                      WHERE findings = 0 ORDER BY id DESC LIMIT 1) latest ON true
  LEFT JOIN LATERAL (SELECT first_index, end_index, verified_at, level FROM pgaudit.verification v
                      WHERE findings = 0 AND v.whole ORDER BY id DESC LIMIT 1) whole ON true
  LEFT JOIN LATERAL (SELECT verified_at, findings, found FROM pgaudit.failed_verifications
                      ORDER BY id DESC LIMIT 1) failed ON true;

-- Creates the first partition and the one ahead of it: ensure_partitions() needs the view log_head.
DO $$ BEGIN PERFORM pgaudit.ensure_partitions(); END $$;

-- Processors as people and health read them.

-- Each processor with its lag, which is what was not dispatched yet, and with its jobs. Its age is that of its batch, as
-- for streams: a look at the log would wait for a partition that is being detached.
CREATE OR REPLACE VIEW pgaudit.processor_stats AS
    SELECT s.name, s.query, CASE WHEN s.paused_at IS NULL THEN 'active' ELSE 'paused' END AS state,
           s.paused_at, s.paused_by, s.pause_kind, s.pause_reason,
           at.next_index, greatest(size - at.next_index, 0) AS lag_events,
           CASE WHEN at.next_index < size THEN coalesce(
               (SELECT extract(epoch FROM clock_timestamp() - b.persisted_at)::double precision FROM pgaudit.batch b
                 WHERE b.first_index <= at.next_index ORDER BY b.first_index DESC LIMIT 1), 0) ELSE 0 END AS lag_seconds,
           jobs.waiting, jobs.delayed, jobs.running, jobs.failed,
           extract(epoch FROM clock_timestamp() - jobs.oldest_due)::double precision AS oldest_waiting_seconds,
           extract(epoch FROM clock_timestamp() - jobs.oldest_started)::double precision AS longest_running_seconds,
           p.succeeded, p.discarded,
           p.per_second * exp(least(extract(epoch FROM p.ended_at - clock_timestamp())::double precision / 300, 0)) AS jobs_per_second,
           p.failures AS failures_in_a_row, p.error AS last_error, p.ended_at AS last_ended_at,
           (SELECT coalesce(sum(b.to_index + 1 - b.next_index), 0)::bigint FROM pgaudit.processor_backfill b
             WHERE b.processor = p.name AND b.ended_at IS NULL) AS backfill_events,
           p.concurrency, p.rate, p.break_after, s.added_at, p.known_at
      FROM pgaudit.processor p JOIN pgaudit.stream s USING (name) JOIN pgaudit.stream_position at USING (name),
           LATERAL (SELECT count(*) FILTER (WHERE j.status = 'todo' AND j.scheduled_at <= clock_timestamp()) AS waiting,
                           count(*) FILTER (WHERE j.status = 'todo' AND j.scheduled_at > clock_timestamp()) AS delayed,
                           count(*) FILTER (WHERE j.status = 'doing') AS running,
                           count(*) FILTER (WHERE j.status = 'failed') AS failed,
                           min(j.scheduled_at) FILTER (WHERE j.status = 'todo' AND j.scheduled_at <= clock_timestamp())
                               AS oldest_due,
                           min(j.started_at) FILTER (WHERE j.status = 'doing') AS oldest_started
                      FROM pgaudit.processor_jobs j WHERE j.task_name = p.name) jobs,
           pgaudit.log_head;

-- Streams as people and health read them.

-- Each stream with its lag: the events that it has not got to yet, and the age of the oldest of them. That is the age of
-- its batch: a look at the log would lock all partitions, and wait for one that is being detached. The history is read
-- by statement_timestamp, for which an index can be used.
CREATE OR REPLACE VIEW pgaudit.stream_stats AS
    SELECT s.name, s.kind, s.url, s.query, s.form, s.ordered, s.allow_private,
           CASE WHEN s.paused_at IS NOT NULL THEN 'paused' WHEN p.attempts > 0 THEN 'failing' ELSE 'active' END AS state,
           s.paused_at, s.paused_by, s.pause_kind, s.pause_reason,
           p.next_index, greatest(size - p.next_index, 0) AS lag_events,
           CASE WHEN p.next_index < size THEN coalesce(
               (SELECT extract(epoch FROM clock_timestamp() - b.persisted_at)::double precision FROM pgaudit.batch b
                 WHERE b.first_index <= p.next_index ORDER BY b.first_index DESC LIMIT 1), 0) ELSE 0 END AS lag_seconds,
           p.delivered, p.delivered_at, p.attempts, p.failing_since,
           nullif(p.next_attempt_at, '-infinity') AS next_attempt_at, p.error,
           (SELECT coalesce(sum(d.events) / extract(epoch FROM statement_timestamp() - recent.minute), 0)
              FROM pgaudit.delivery d
             WHERE d.stream = s.name AND d.status = 'delivered' AND d.started_at >= recent.minute)::double precision
               AS events_per_second,
           (SELECT count(*) FROM pgaudit.delivery d
             WHERE d.stream = s.name AND d.status = 'failed'
               AND d.started_at > statement_timestamp() - interval '1 day') AS failures_last_day,
           (SELECT count(*) FROM pgaudit.parked k WHERE k.stream = s.name) AS parked,
           s.added_at, s.added_by,
           r.from_index AS replay_from, r.to_index AS replay_to, r.next_index AS replay_next, r.error AS replay_error
      FROM pgaudit.stream s JOIN pgaudit.stream_position p USING (name)
      LEFT JOIN pgaudit.stream_replay r ON r.stream = s.name, pgaudit.log_head,
           (SELECT date_trunc('minute', statement_timestamp()) - interval '5 minutes' AS minute) recent;

-- Comments that psql shows with \d+ and \df+. ASCII only, so that a script does not depend on the encoding of psql.

COMMENT ON TABLE pgaudit.audit_log IS
    'Every audit event, once, in commit order. Append-only.';
COMMENT ON COLUMN pgaudit.audit_log.index IS
    'Position in the log: 0, 1, 2 ... without a gap, in commit order. "index > last seen" is a safe cursor.';
COMMENT ON COLUMN pgaudit.audit_log.event_id IS
    'Identity of the event, and its idempotency key.';
COMMENT ON COLUMN pgaudit.audit_log.occurred_at IS
    'When it happened, by the application''s clock.';
COMMENT ON COLUMN pgaudit.audit_log.recorded_at IS
    'When the business transaction recorded it, by the server''s clock.';
COMMENT ON COLUMN pgaudit.audit_log.persisted_at IS
    'When it was appended here, by the server''s clock.';
COMMENT ON COLUMN pgaudit.audit_log.action IS
    'What was done: resource.verb.';
COMMENT ON COLUMN pgaudit.audit_log.outcome IS
    'success, failure or denied.';
COMMENT ON COLUMN pgaudit.audit_log.actor_type IS
    'Kind of actor: user, service ...';
COMMENT ON COLUMN pgaudit.audit_log.actor_id IS
    'Identity of the actor among its kind.';
COMMENT ON COLUMN pgaudit.audit_log.target_type IS
    'Kind of the primary (first) target. Further targets are in event_target.';
COMMENT ON COLUMN pgaudit.audit_log.target_id IS
    'Identity of the primary (first) target.';
COMMENT ON COLUMN pgaudit.audit_log.tenant IS
    'Tenant that the event belongs to, in a multi-tenant application.';
COMMENT ON COLUMN pgaudit.audit_log.event IS
    'The whole event, with the server''s recorded_at, recorded_by and xid. Its text is the canonical form that leaf_hash is computed from.';
COMMENT ON COLUMN pgaudit.audit_log.leaf_hash IS
    'SHA-256 of the byte 0x00 followed by event::text in UTF-8 (an RFC 6962 leaf).';
COMMENT ON COLUMN pgaudit.audit_log.conflicts_with IS
    'Index of the first event with the same id, if its content differs; nearly always NULL.';

COMMENT ON TABLE pgaudit.settings IS
    'Settings that every writer and worker shares; one row. Change them with UPDATE, as the owner.';
COMMENT ON COLUMN pgaudit.settings.singleton IS
    'Always true: there is one row.';
COMMENT ON COLUMN pgaudit.settings.max_event_bytes IS
    'Largest event, in bytes of its text as stored, from 16,384 to 65,535.';
COMMENT ON COLUMN pgaudit.settings.partition_size IS
    'Number of events in a new partition of the audit log; a multiple of 256.';
COMMENT ON COLUMN pgaudit.settings.job_error_retention IS
    'How long errors of jobs that have left the queue are kept.';

COMMENT ON TABLE pgaudit.audit_jobs IS
    'The queue: one job for each event that is not in the audit log yet. A child table of procrastinate_jobs.';
COMMENT ON COLUMN pgaudit.audit_jobs.event IS
    'The event, with the server''s stamps.';
COMMENT ON COLUMN pgaudit.audit_jobs.leaf_hash IS
    'Leaf hash of the event as it was recorded: an event that was changed in the queue is not appended.';
COMMENT ON COLUMN pgaudit.audit_jobs.event_bytes IS
    'Size of the event''s text in bytes.';
COMMENT ON COLUMN pgaudit.audit_jobs.stalls IS
    'Number of times that the worker of this job stalled. Above 0, the job runs alone.';

COMMENT ON TABLE pgaudit.event_key IS
    'The id of every event that was ever appended. The primary key makes sure that an event is stored once.';
COMMENT ON COLUMN pgaudit.event_key.event_id IS
    'Id of the event.';
COMMENT ON COLUMN pgaudit.event_key.index IS
    'Index of the event in the log.';

COMMENT ON TABLE pgaudit.event_target IS
    'The second and further targets of events; the first is in audit_log.';
COMMENT ON COLUMN pgaudit.event_target.type IS
    'Kind of the target.';
COMMENT ON COLUMN pgaudit.event_target.id IS
    'Identity of the target among its kind.';
COMMENT ON COLUMN pgaudit.event_target.index IS
    'Index of the event in the log.';

COMMENT ON TABLE pgaudit.event_sighting IS
    'Events that were recorded again with the same content: noted here, not stored again.';
COMMENT ON COLUMN pgaudit.event_sighting.id IS
    'Number of the sighting.';
COMMENT ON COLUMN pgaudit.event_sighting.event_id IS
    'Id of the event.';
COMMENT ON COLUMN pgaudit.event_sighting.index IS
    'Index of the event in the log.';
COMMENT ON COLUMN pgaudit.event_sighting.xid IS
    'Transaction that recorded it again.';
COMMENT ON COLUMN pgaudit.event_sighting.recorded_by IS
    'Database role that recorded it again.';
COMMENT ON COLUMN pgaudit.event_sighting.recorded_at IS
    'When it was recorded again, by the server''s clock.';
COMMENT ON COLUMN pgaudit.event_sighting.leaf_hash IS
    'Leaf hash of the event as it was recorded that time.';

COMMENT ON TABLE pgaudit.event_conflict IS
    'Events that were recorded with an id that the log had already, and other content. Both events are in the log.';
COMMENT ON COLUMN pgaudit.event_conflict.index IS
    'Index of the later event.';
COMMENT ON COLUMN pgaudit.event_conflict.event_id IS
    'The id of both events.';
COMMENT ON COLUMN pgaudit.event_conflict.conflicts_with IS
    'Index of the first event with that id.';
COMMENT ON COLUMN pgaudit.event_conflict.content_hash IS
    'Hash by which events with the same content are found among any number of conflicts.';
COMMENT ON COLUMN pgaudit.event_conflict.recorded_at IS
    'When the later event was recorded, by the server''s clock.';

COMMENT ON TABLE pgaudit.batch IS
    'One row for each transaction that appended to the log, merged by minute after a day: the history of throughput and lag. The last row marks the end of the log.';
COMMENT ON COLUMN pgaudit.batch.first_index IS
    'Index of the first event.';
COMMENT ON COLUMN pgaudit.batch.count IS
    'Number of events.';
COMMENT ON COLUMN pgaudit.batch.batches IS
    'Number of transactions; more than one in a merged row.';
COMMENT ON COLUMN pgaudit.batch.persisted_at IS
    'When they were appended, by the server''s clock.';
COMMENT ON COLUMN pgaudit.batch.oldest_recorded IS
    'recorded_at of the oldest event.';
COMMENT ON COLUMN pgaudit.batch.newest_recorded IS
    'recorded_at of the newest event.';
COMMENT ON COLUMN pgaudit.batch.recorded_until IS
    'recorded_at of the newest event in the log up to here.';
COMMENT ON COLUMN pgaudit.batch.late IS
    'Whether one of these events was recorded more than an hour before another event of the log, up to here.';
COMMENT ON COLUMN pgaudit.batch.worker_id IS
    'Worker that appended them. NULL when merged, in inline mode, or when a worker drained the queue after unregistering.';
COMMENT ON COLUMN pgaudit.batch.lag_buckets IS
    'Histogram of the lags in the whole log up to here: number of events below the first of pgaudit.lag_bucket_bounds(), between the first and the second ..., above the last. NULL when merged.';
COMMENT ON COLUMN pgaudit.batch.lag_total IS
    'Sum of these lags. NULL when merged.';

COMMENT ON TABLE pgaudit.log_lock IS
    'A transaction that appends to the log holds this row locked until it ends: index order is commit order.';
COMMENT ON COLUMN pgaudit.log_lock.singleton IS
    'Always true: there is one row.';

COMMENT ON TABLE pgaudit.queue_watermark IS
    'Where the scan for fresh jobs begins; the highest row is in force.';
COMMENT ON COLUMN pgaudit.queue_watermark.low_watermark IS
    'The id at which the scan begins.';
COMMENT ON COLUMN pgaudit.queue_watermark.max_issued_id IS
    'Highest job id that had been issued when the watermark was set.';
COMMENT ON COLUMN pgaudit.queue_watermark.safe_xid IS
    'All transactions holding a job id up to max_issued_id have a smaller xid than this.';
COMMENT ON COLUMN pgaudit.queue_watermark.passed_xids IS
    'Open transactions that may hold job ids which the watermark has passed. Their jobs are requeued when they have ended.';

COMMENT ON TABLE pgaudit.job_error IS
    'One row for each failed attempt, kept for settings.job_error_retention after the job has left the queue.';
COMMENT ON COLUMN pgaudit.job_error.id IS
    'Number of the error.';
COMMENT ON COLUMN pgaudit.job_error.job_id IS
    'The job that failed.';
COMMENT ON COLUMN pgaudit.job_error.event_id IS
    'ID of its event (text, because a corrupt event may contain an invalid UUID).';
COMMENT ON COLUMN pgaudit.job_error.task_name IS
    'The task that failed.';
COMMENT ON COLUMN pgaudit.job_error.attempt IS
    'Number of the attempt, from 1. After an infrastructure error, the next attempt has the same number.';
COMMENT ON COLUMN pgaudit.job_error.error_class IS
    'Name of the error; JobStalled if the worker stalled.';
COMMENT ON COLUMN pgaudit.job_error.sqlstate IS
    'SQLSTATE, if Postgres raised it.';
COMMENT ON COLUMN pgaudit.job_error.message IS
    'Message of the error, up to 2,000 characters.';
COMMENT ON COLUMN pgaudit.job_error.traceback IS
    'Traceback or context of the error, up to 2,000 characters.';
COMMENT ON COLUMN pgaudit.job_error.failed_at IS
    'When the attempt failed, by the server''s clock.';

COMMENT ON TABLE pgaudit.acknowledged_jobs IS
    'Failed jobs that were acknowledged instead of retried, with their events. Append-only.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.job_id IS
    'Number of the job.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.event IS
    'Its event, which is not in the log.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.leaf_hash IS
    'Leaf hash of the event as it was recorded.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.attempts IS
    'Number of failed attempts.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.error_class IS
    'Name of the last error.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.error_message IS
    'Message of the last error.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.reason IS
    'Why it was acknowledged.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.acknowledged_by IS
    'Database role that acknowledged it.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.acknowledged_at IS
    'When it was acknowledged, by the server''s clock.';

COMMENT ON TABLE pgaudit.saved_search IS
    'Searches that users of the dashboard keep. Written by save_search and delete_search.';
COMMENT ON COLUMN pgaudit.saved_search.owner IS
    'User whose search it is, as the application names them; no database role.';
COMMENT ON COLUMN pgaudit.saved_search.name IS
    'Name of the search, unique for each owner.';
COMMENT ON COLUMN pgaudit.saved_search.query IS
    'Text of the search.';
COMMENT ON COLUMN pgaudit.saved_search.created_at IS
    'When it was saved last, by the server''s clock.';

COMMENT ON VIEW pgaudit.log_head IS
    'The end of the log.';
COMMENT ON COLUMN pgaudit.log_head.size IS
    'Number of events that were ever appended, and the index of the next one.';

COMMENT ON VIEW pgaudit.queue_stats IS
    'The queue in one row: the number of jobs in each state, and the age of the oldest.';
COMMENT ON COLUMN pgaudit.queue_stats.queue_name IS
    'Name of the queue.';
COMMENT ON COLUMN pgaudit.queue_stats.waiting IS
    'Jobs that a worker could take now. Exact up to 10,000 jobs in the queue; beyond that, ids of rolled-back transactions are counted as well.';
COMMENT ON COLUMN pgaudit.queue_stats.active IS
    'Jobs that a worker has fetched as the first of a batch.';
COMMENT ON COLUMN pgaudit.queue_stats.delayed IS
    'Jobs whose retry is scheduled for later.';
COMMENT ON COLUMN pgaudit.queue_stats.failed IS
    'Jobs whose attempts are used up. They stay until they are retried or acknowledged.';
COMMENT ON COLUMN pgaudit.queue_stats.completed IS
    'Events in the audit log.';
COMMENT ON COLUMN pgaudit.queue_stats.stalled IS
    'Active jobs whose worker was removed, or has sent no heartbeat for longer than its PGAUDIT_STALLED_AFTER.';
COMMENT ON COLUMN pgaudit.queue_stats.oldest_waiting_seconds IS
    'Age in seconds of the oldest event that is not in the audit log yet: waiting, delayed or active; failed jobs do not count. NULL when there is none.';

COMMENT ON VIEW pgaudit.worker_stats IS
    'Running workers, and workers that disappeared without shutting down in the last 24 hours.';
COMMENT ON COLUMN pgaudit.worker_stats.worker_id IS
    'Number of the worker.';
COMMENT ON COLUMN pgaudit.worker_stats.last_heartbeat IS
    'Its last heartbeat.';
COMMENT ON COLUMN pgaudit.worker_stats.heartbeat_age_seconds IS
    'Seconds since its last heartbeat.';
COMMENT ON COLUMN pgaudit.worker_stats.alive IS
    'Whether heartbeat_age_seconds is below its PGAUDIT_STALLED_AFTER.';
COMMENT ON COLUMN pgaudit.worker_stats.active_jobs IS
    'Number of jobs that it runs.';

COMMENT ON VIEW pgaudit.failed_jobs IS
    'Jobs whose attempts are used up, with their last error. Run them again with pgaudit jobs retry, or give them up with pgaudit jobs acknowledge.';
COMMENT ON COLUMN pgaudit.failed_jobs.job_id IS
    'Number of the job.';
COMMENT ON COLUMN pgaudit.failed_jobs.queue_name IS
    'Its queue.';
COMMENT ON COLUMN pgaudit.failed_jobs.task_name IS
    'Its task.';
COMMENT ON COLUMN pgaudit.failed_jobs.event_id IS
    'ID of the event (text, because a corrupt event may contain an invalid UUID).';
COMMENT ON COLUMN pgaudit.failed_jobs.action IS
    'Action of the event.';
COMMENT ON COLUMN pgaudit.failed_jobs.attempts IS
    'Number of attempts.';
COMMENT ON COLUMN pgaudit.failed_jobs.failed_at IS
    'When the last attempt failed.';
COMMENT ON COLUMN pgaudit.failed_jobs.error_class IS
    'Name of its last error.';
COMMENT ON COLUMN pgaudit.failed_jobs.error_message IS
    'Message of its last error.';

COMMENT ON VIEW pgaudit.stalled_jobs IS
    'Running jobs whose worker was removed, or has sent no heartbeat for too long. The next maintenance pass of any worker reclaims them.';
COMMENT ON COLUMN pgaudit.stalled_jobs.job_id IS
    'Number of the job.';
COMMENT ON COLUMN pgaudit.stalled_jobs.queue_name IS
    'Its queue.';
COMMENT ON COLUMN pgaudit.stalled_jobs.task_name IS
    'Its task.';
COMMENT ON COLUMN pgaudit.stalled_jobs.event_id IS
    'ID of the event.';
COMMENT ON COLUMN pgaudit.stalled_jobs.attempts IS
    'Number of earlier attempts.';
COMMENT ON COLUMN pgaudit.stalled_jobs.worker_id IS
    'Worker that runs it; NULL if that worker was removed.';
COMMENT ON COLUMN pgaudit.stalled_jobs.heartbeat_age_seconds IS
    'Seconds since that worker''s last heartbeat; NULL if it was removed.';

COMMENT ON VIEW pgaudit.delayed_jobs IS
    'Jobs whose retry is scheduled for later.';
COMMENT ON COLUMN pgaudit.delayed_jobs.job_id IS
    'Number of the job.';
COMMENT ON COLUMN pgaudit.delayed_jobs.queue_name IS
    'Its queue.';
COMMENT ON COLUMN pgaudit.delayed_jobs.task_name IS
    'Its task.';
COMMENT ON COLUMN pgaudit.delayed_jobs.event_id IS
    'ID of the event.';
COMMENT ON COLUMN pgaudit.delayed_jobs.attempts IS
    'Number of attempts.';
COMMENT ON COLUMN pgaudit.delayed_jobs.scheduled_at IS
    'When it runs again.';
COMMENT ON COLUMN pgaudit.delayed_jobs.last_error IS
    'Message of its last error.';

COMMENT ON VIEW pgaudit.conflicting_events IS
    'Events with an id that the log had already, and other content: an application error, or an attempt to hide an event.';
COMMENT ON COLUMN pgaudit.conflicting_events.index IS
    'Index of the later event.';
COMMENT ON COLUMN pgaudit.conflicting_events.event_id IS
    'The id of both events.';
COMMENT ON COLUMN pgaudit.conflicting_events.conflicts_with IS
    'Index of the first event with that id.';
COMMENT ON COLUMN pgaudit.conflicting_events.recorded_at IS
    'When the later event was recorded.';

COMMENT ON VIEW pgaudit.log_lock_holder IS
    'The transaction that has locked the end of the log; no row if it is not locked. Other appends wait until that transaction ends.';
COMMENT ON COLUMN pgaudit.log_lock_holder.pid IS
    'Process of the session; NULL for a prepared transaction.';
COMMENT ON COLUMN pgaudit.log_lock_holder.prepared_transaction IS
    'Name of a prepared transaction: end it with COMMIT PREPARED or ROLLBACK PREPARED.';
COMMENT ON COLUMN pgaudit.log_lock_holder.role IS
    'Database role.';
COMMENT ON COLUMN pgaudit.log_lock_holder.application_name IS
    'Application name of the session.';
COMMENT ON COLUMN pgaudit.log_lock_holder.since IS
    'When the transaction began; NULL if your role has no right to see it (pg_read_all_stats).';

COMMENT ON VIEW pgaudit.throughput IS
    'Events and lag for each minute of the last 24 hours; the newest minute first.';
COMMENT ON COLUMN pgaudit.throughput.minute IS
    'Start of the minute.';
COMMENT ON COLUMN pgaudit.throughput.events IS
    'Number of events appended in it.';
COMMENT ON COLUMN pgaudit.throughput.batches IS
    'Number of batches.';
COMMENT ON COLUMN pgaudit.throughput.avg_lag_seconds IS
    'Average lag in seconds: the mean of the oldest and the newest event of each batch, weighted by its events.';
COMMENT ON COLUMN pgaudit.throughput.max_lag_seconds IS
    'Highest lag of an event, in seconds.';

COMMENT ON VIEW pgaudit.storage_stats IS
    'Size and bloat of every table and partition of the schema; the largest first.';
COMMENT ON COLUMN pgaudit.storage_stats.table_name IS
    'Table or partition.';
COMMENT ON COLUMN pgaudit.storage_stats.estimated_rows IS
    'Number of rows at the last vacuum or analyze.';
COMMENT ON COLUMN pgaudit.storage_stats.total_bytes IS
    'Bytes on disk, with indexes and TOAST.';
COMMENT ON COLUMN pgaudit.storage_stats.dead_rows IS
    'Number of rows that vacuum has not removed yet.';
COMMENT ON COLUMN pgaudit.storage_stats.last_autovacuum IS
    'Time of the last automatic vacuum.';

COMMENT ON FUNCTION pgaudit.record(jsonb) IS
    'Records a JSON array of audit events in the current transaction. A worker appends them to the audit log after the commit.';
COMMENT ON FUNCTION pgaudit.with_receipts(jsonb) IS
    'Returns the events for record, which then also writes a receipt of each into the WAL (PGAUDIT_WAL_RECEIPTS).';
COMMENT ON FUNCTION pgaudit.record_inline(jsonb) IS
    'Records a JSON array of audit events and appends them to the audit log in the current transaction. All other appends wait until it ends.';
COMMENT ON FUNCTION pgaudit.record_access(jsonb) IS
    'Records an audit event about reading the log (audit.export_started, audit.exported, audit.viewed) in the current transaction, as record does. For readers.';
COMMENT ON FUNCTION pgaudit.save_search(text, text, text) IS
    'Saves a search under owner and name; replaces the one of that name.';
COMMENT ON FUNCTION pgaudit.delete_search(text, text) IS
    'Deletes a saved search. Returns whether there was one.';
COMMENT ON FUNCTION pgaudit.retry_failed(bigint[]) IS
    'Makes failed jobs due again, with all their attempts; NULL means all failed jobs. Returns the ids of those that had failed.';
COMMENT ON FUNCTION pgaudit.acknowledge_job(bigint, text) IS
    'Removes a failed job that can never succeed from the queue, and records that with the reason as an audit event.';
COMMENT ON FUNCTION pgaudit.ensure_partitions() IS
    'Keeps one partition of the audit log ahead of the one that is being filled. Workers call it. Returns how many it created.';
COMMENT ON FUNCTION pgaudit.prune_batches(interval, integer) IS
    'Merges batches older than a day into one row for each minute. Workers call it.';
COMMENT ON FUNCTION pgaudit.prune_job_errors(integer) IS
    'Deletes errors older than settings.job_error_retention of jobs that have left the queue. Workers call it.';
COMMENT ON FUNCTION pgaudit.requeue_skipped_jobs() IS
    'Makes jobs due that the scan for fresh jobs would not find. Workers call it. Returns how many.';
COMMENT ON FUNCTION pgaudit.log_partitions() IS
    'The partitions of the audit log with their ranges of indexes: [first_index, end_index).';
COMMENT ON FUNCTION pgaudit.is_partition_ahead() IS
    'Whether there is a partition after the one that is being filled.';
COMMENT ON FUNCTION pgaudit.index_ranges(timestamptz, timestamptz) IS
    'Ranges of indexes, [first_index, end_index), that hold all events recorded between two times, and few others.';
COMMENT ON FUNCTION pgaudit.column_drift(bigint, bigint) IS
    'Columns of the audit log that differ from their event, for a range of indexes [first, end); no row if all agree.';
COMMENT ON FUNCTION pgaudit.leaf_hash(jsonb) IS
    'RFC 6962 leaf hash of an event: SHA-256 of the byte 0x00 followed by its text in UTF-8.';

COMMENT ON TABLE pgaudit.tile IS
    'The Merkle tree over the log, as complete tiles of 256 hashes (C2SP tlog-tiles). They are kept when events are purged.';
COMMENT ON COLUMN pgaudit.tile.level IS 'Level of the tile: 0 has the leaf hashes, 1 the roots of the tiles of level 0, and so on.';
COMMENT ON COLUMN pgaudit.tile.number IS 'Number of the tile in its level, from 0.';
COMMENT ON COLUMN pgaudit.tile.hashes IS 'Its 256 hashes of 32 bytes, one after the other.';
COMMENT ON COLUMN pgaudit.tile.root IS 'Root of the tree over these hashes: one hash of the level above.';
COMMENT ON TABLE pgaudit.checkpoint IS
    'Signed statements of how many events the log had and of the root of their tree (C2SP tlog-checkpoint).';
COMMENT ON COLUMN pgaudit.checkpoint.size IS 'How many events the log had.';
COMMENT ON COLUMN pgaudit.checkpoint.note IS 'The signed note: name of the log, size, root, and signatures.';
COMMENT ON COLUMN pgaudit.checkpoint.signed_at IS 'When it was stored, by the clock of the database. Not signed.';
COMMENT ON TABLE pgaudit.verification IS 'Results of verifying the log against its tree and checkpoints.';
COMMENT ON COLUMN pgaudit.verification.id IS 'Number of the verification.';
COMMENT ON COLUMN pgaudit.verification.first_index IS 'First index that was verified.';
COMMENT ON COLUMN pgaudit.verification.end_index IS 'The index after the last one that was verified.';
COMMENT ON COLUMN pgaudit.verification.whole IS 'Whether that is all that the log has, or what was new.';
COMMENT ON COLUMN pgaudit.verification.level IS
    'The level of assurance that was reached: hashed, sealed, signed, anchored or witnessed; NULL if there are findings.';
COMMENT ON COLUMN pgaudit.verification.findings IS 'How many findings there were. After any, no checkpoint is signed.';
COMMENT ON COLUMN pgaudit.verification.found IS
    'The first findings, 20 at most: name, message, and where they are known, index and event_id.';
COMMENT ON COLUMN pgaudit.verification.verified_at IS 'When it was finished, by the clock of the database.';
COMMENT ON COLUMN pgaudit.verification.verified_by IS 'Role that verified.';
COMMENT ON TABLE pgaudit.sealing_state IS 'When the log was sealed last, and why it is not sealed at the moment.';
COMMENT ON COLUMN pgaudit.sealing_state.singleton IS 'Always true: the table has one row.';
COMMENT ON COLUMN pgaudit.sealing_state.sealed_at IS 'When a process last sealed all events that the log had.';
COMMENT ON COLUMN pgaudit.sealing_state.refused IS 'Why the log is not signed; NULL if it is.';
COMMENT ON COLUMN pgaudit.sealing_state.refused_since IS 'Since when it is not signed.';
COMMENT ON COLUMN pgaudit.sealing_state.heartbeat_at IS 'When the last audit.heartbeat was recorded.';
COMMENT ON COLUMN pgaudit.sealing_state.verifying_at IS 'When a worker last said that it verifies.';

COMMENT ON TABLE pgaudit.anchor IS
    'The anchors in use, places outside the database that checkpoints are sent to, and how far each of them is.';
COMMENT ON COLUMN pgaudit.anchor.name IS 'Its URL, without token and options.';
COMMENT ON COLUMN pgaudit.anchor.size IS 'Size of the largest checkpoint that it took; 0 before the first.';
COMMENT ON COLUMN pgaudit.anchor.anchored_at IS 'When it last took a checkpoint.';
COMMENT ON COLUMN pgaudit.anchor.attempts IS 'Failed attempts since then.';
COMMENT ON COLUMN pgaudit.anchor.failed_at IS 'When it last failed; NULL after a success.';
COMMENT ON COLUMN pgaudit.anchor.error IS 'Why it last failed; NULL after a success. Without secrets.';
COMMENT ON COLUMN pgaudit.anchor.next_attempt_at IS 'When it may be tried next.';
COMMENT ON TABLE pgaudit.anchor_receipt IS
    'What anchors answered that proves something by itself: time stamps (RFC 3161) and signatures of witnesses.';
COMMENT ON COLUMN pgaudit.anchor_receipt.name IS 'The anchor: its URL, without token and options.';
COMMENT ON COLUMN pgaudit.anchor_receipt.size IS 'Size of the checkpoint.';
COMMENT ON COLUMN pgaudit.anchor_receipt.receipt IS
    'The answer: a time stamp in base64, or lines with signatures.';
COMMENT ON COLUMN pgaudit.anchor_receipt.received_at IS 'When it was stored, by the clock of the database.';
COMMENT ON VIEW pgaudit.failed_verifications IS
    'Verifications with findings that stand: no later verification of the same events has found nothing.';
COMMENT ON COLUMN pgaudit.failed_verifications.id IS 'Number of the verification.';
COMMENT ON COLUMN pgaudit.failed_verifications.first_index IS 'First index that was verified.';
COMMENT ON COLUMN pgaudit.failed_verifications.end_index IS 'The index after the last one that was verified.';
COMMENT ON COLUMN pgaudit.failed_verifications.findings IS 'How many findings there were.';
COMMENT ON COLUMN pgaudit.failed_verifications.found IS
    'The first findings, 20 at most: name, message, and where they are known, index and event_id.';
COMMENT ON COLUMN pgaudit.failed_verifications.verified_at IS 'When it was finished, by the clock of the database.';
COMMENT ON COLUMN pgaudit.failed_verifications.verified_by IS 'Role that verified.';
COMMENT ON VIEW pgaudit.sealing_stats IS
    'How far the log is signed and verified: one row. What it says comes from the database itself; `pgaudit verify` with a public key trusts nothing in it.';
COMMENT ON COLUMN pgaudit.sealing_stats.size IS 'Number of events in the log.';
COMMENT ON COLUMN pgaudit.sealing_stats.checkpoint_size IS 'How many of them the newest checkpoint covers; NULL before the first.';
COMMENT ON COLUMN pgaudit.sealing_stats.signed_at IS 'When the newest checkpoint was stored, by the clock of the database.';
COMMENT ON COLUMN pgaudit.sealing_stats.unsigned_events IS 'How many events no checkpoint covers yet.';
COMMENT ON COLUMN pgaudit.sealing_stats.unsigned_seconds IS 'How long the oldest of them has been in the log; 0 without checkpoints.';
COMMENT ON COLUMN pgaudit.sealing_stats.refused IS 'Why the log is not signed; NULL if it is.';
COMMENT ON COLUMN pgaudit.sealing_stats.refused_since IS 'Since when it is not signed.';
COMMENT ON COLUMN pgaudit.sealing_stats.verifying IS 'Whether a worker is verifying the log now.';
COMMENT ON COLUMN pgaudit.sealing_stats.verified_end IS 'The index after the last event that a worker has verified.';
COMMENT ON COLUMN pgaudit.sealing_stats.verified_at IS 'When the last verification without findings was finished, whole or of what was new.';
COMMENT ON COLUMN pgaudit.sealing_stats.fully_verified_first IS
    'Where the last verification of the whole log began: 0, or the first index that the log still had.';
COMMENT ON COLUMN pgaudit.sealing_stats.fully_verified_end IS 'The index after the last event of it.';
COMMENT ON COLUMN pgaudit.sealing_stats.fully_verified_at IS 'When it was finished.';
COMMENT ON COLUMN pgaudit.sealing_stats.level IS
    'The level of assurance that it has reached: hashed, sealed, signed, anchored or witnessed.';
COMMENT ON COLUMN pgaudit.sealing_stats.failed_at IS 'When a verification last had findings that stand; NULL if none stand.';
COMMENT ON COLUMN pgaudit.sealing_stats.findings IS 'How many findings it had.';
COMMENT ON COLUMN pgaudit.sealing_stats.found IS
    'The first of them, 20 at most: name, message, and where they are known, index and event_id.';
COMMENT ON VIEW pgaudit.anchor_stats IS 'Each anchor in use with its lag.';
COMMENT ON COLUMN pgaudit.anchor_stats.name IS 'Its URL, without token and options.';
COMMENT ON COLUMN pgaudit.anchor_stats.size IS 'Size of the largest checkpoint that it took; 0 before the first.';
COMMENT ON COLUMN pgaudit.anchor_stats.anchored_at IS 'When it last took a checkpoint.';
COMMENT ON COLUMN pgaudit.anchor_stats.lag_seconds IS
    'Age of the oldest checkpoint that it does not cover, in seconds; 0 if it covers all.';
COMMENT ON COLUMN pgaudit.anchor_stats.attempts IS 'Failed attempts since then.';
COMMENT ON COLUMN pgaudit.anchor_stats.failed_at IS 'When it last failed; NULL after a success.';
COMMENT ON COLUMN pgaudit.anchor_stats.error IS 'Why it last failed; NULL after a success. Without secrets.';
COMMENT ON COLUMN pgaudit.anchor_stats.next_attempt_at IS 'When it may be tried next.';
COMMENT ON TABLE pgaudit.target_period IS
    'Days and years whose index of targets is sealed: which targets occur at which indexes, as a sorted Merkle tree.';
COMMENT ON COLUMN pgaudit.target_period.period IS 'A day in UTC, such as 2026-11-26, or a year, such as 2026.';
COMMENT ON COLUMN pgaudit.target_period.first_index IS 'Index of its first event.';
COMMENT ON COLUMN pgaudit.target_period.end_index IS 'Index after its last event: the size of the checkpoint that closed it.';
COMMENT ON COLUMN pgaudit.target_period.targets IS 'How many different targets its events have.';
COMMENT ON COLUMN pgaudit.target_period.root IS 'Root of the tree over them.';
COMMENT ON COLUMN pgaudit.target_period.event_id IS 'Id of the event audit.targets_sealed that puts the root into the log.';
COMMENT ON COLUMN pgaudit.target_period.closed_at IS 'When it was closed, by the server''s clock.';

COMMENT ON TABLE pgaudit.target_tile IS
    'The leaves of the trees of target_period, 256 in a row. Those of days are removed when their year is sealed.';
COMMENT ON COLUMN pgaudit.target_tile.period IS 'The day or year.';
COMMENT ON COLUMN pgaudit.target_tile.first_key IS 'The first of the keys.';
COMMENT ON COLUMN pgaudit.target_tile.number IS 'Number of the row in its period, from 0.';
COMMENT ON COLUMN pgaudit.target_tile.keys IS 'SHA-256 of type, a byte 0, and id of each target, ascending.';
COMMENT ON COLUMN pgaudit.target_tile.digests IS 'SHA-256 of the indexes of each target, each in 8 bytes, the highest first.';
COMMENT ON COLUMN pgaudit.target_tile.root IS 'Root of the tree over these leaves.';
COMMENT ON TABLE pgaudit.target_lock IS 'One row, locked by the process that closes periods of the index of targets.';
COMMENT ON COLUMN pgaudit.target_lock.singleton IS 'Always true: the table has one row.';

COMMENT ON TABLE pgaudit.captured_table IS
    'Tables whose changes triggers record as events. Change it with pgaudit.add_capture.';
COMMENT ON COLUMN pgaudit.captured_table.id IS
    'Number in the name of the generated function: capture_1.';
COMMENT ON COLUMN pgaudit.captured_table.relation IS
    'The table.';
COMMENT ON COLUMN pgaudit.captured_table.target_type IS
    'Type of the target of its events, such as claim.';
COMMENT ON COLUMN pgaudit.captured_table.key_columns IS
    'Columns of the key, whose values are the id of the target.';
COMMENT ON COLUMN pgaudit.captured_table.action IS
    'What the actions of captured events begin with.';
COMMENT ON COLUMN pgaudit.captured_table.columns IS
    'Columns that are recorded; NULL for all.';
COMMENT ON COLUMN pgaudit.captured_table.excluded IS
    'Columns that do not count: a change of these alone is no change.';
COMMENT ON COLUMN pgaudit.captured_table.masked IS
    'Columns whose changes are recorded without their values.';
COMMENT ON COLUMN pgaudit.captured_table.condition IS
    'An UPDATE counts only where this SQL holds.';
COMMENT ON COLUMN pgaudit.captured_table.renamed_columns IS
    'Present names of columns that the condition calls otherwise: {"status": "state"}.';
COMMENT ON COLUMN pgaudit.captured_table.known_columns IS
    'Numbers of all columns by name, as of the last generation of the functions.';
COMMENT ON COLUMN pgaudit.captured_table.added_at IS
    'When it was added, or changed last.';
COMMENT ON COLUMN pgaudit.captured_table.added_by IS
    'Role that did so.';
COMMENT ON COLUMN pgaudit.captured_table.paused_at IS
    'Since when it is paused; NULL if it is not.';
COMMENT ON COLUMN pgaudit.captured_table.paused_by IS
    'Role that has paused it.';

COMMENT ON TABLE pgaudit.guarded_table IS
    'Tables whose rows no transaction changes without an event for them. Change it with pgaudit.add_guard.';
COMMENT ON COLUMN pgaudit.guarded_table.id IS
    'Number in the name of the generated function: guard_1.';
COMMENT ON COLUMN pgaudit.guarded_table.relation IS
    'The table.';
COMMENT ON COLUMN pgaudit.guarded_table.target_type IS
    'Type of the target of its events, such as claim.';
COMMENT ON COLUMN pgaudit.guarded_table.key_columns IS
    'Columns of the key, whose values are the id of the target.';
COMMENT ON COLUMN pgaudit.guarded_table.action IS
    'What the actions of captured events begin with.';
COMMENT ON COLUMN pgaudit.guarded_table.actions IS
    'Pattern of the action for each operation, such as {"update": "claim.*"}; any action for one left out.';
COMMENT ON COLUMN pgaudit.guarded_table.on_missing IS
    'What happens without an event: abort, capture or warn.';
COMMENT ON COLUMN pgaudit.guarded_table.with_changes IS
    'Whether the event must have the changes, too.';
COMMENT ON COLUMN pgaudit.guarded_table.columns IS
    'Columns that are recorded; NULL for all.';
COMMENT ON COLUMN pgaudit.guarded_table.excluded IS
    'Columns that do not count: a change of these alone is no change.';
COMMENT ON COLUMN pgaudit.guarded_table.masked IS
    'Columns whose changes are recorded without their values.';
COMMENT ON COLUMN pgaudit.guarded_table.condition IS
    'An UPDATE counts only where this SQL holds.';
COMMENT ON COLUMN pgaudit.guarded_table.renamed_columns IS
    'Present names of columns that the condition calls otherwise: {"status": "state"}.';
COMMENT ON COLUMN pgaudit.guarded_table.known_columns IS
    'Numbers of all columns by name, as of the last generation of the functions.';
COMMENT ON COLUMN pgaudit.guarded_table.added_at IS
    'When it was added, or changed last.';
COMMENT ON COLUMN pgaudit.guarded_table.added_by IS
    'Role that did so.';
COMMENT ON COLUMN pgaudit.guarded_table.paused_at IS
    'Since when it is paused; NULL if it is not.';
COMMENT ON COLUMN pgaudit.guarded_table.paused_by IS
    'Role that has paused it.';

COMMENT ON TABLE pgaudit.guarded_change IS
    'What running transactions have changed in guarded tables, until they commit.';
COMMENT ON COLUMN pgaudit.guarded_change.xid IS
    'Transaction that has changed rows.';
COMMENT ON COLUMN pgaudit.guarded_change.number IS
    'Order of its statements.';
COMMENT ON COLUMN pgaudit.guarded_change.guard IS
    'Id in guarded_table.';
COMMENT ON COLUMN pgaudit.guarded_change.operation IS
    'insert, update or delete.';
COMMENT ON COLUMN pgaudit.guarded_change.keys IS
    'Keys of the changed rows.';
COMMENT ON COLUMN pgaudit.guarded_change.new_keys IS
    'Keys after the change: others where the key was changed.';
COMMENT ON COLUMN pgaudit.guarded_change.events IS
    'Captured events of the rows, if the guard needs them.';

COMMENT ON TABLE pgaudit.unrecorded_change IS
    'Changes of guarded tables without an event that a guard with on_missing = warn has let pass.';
COMMENT ON COLUMN pgaudit.unrecorded_change.id IS
    'Number of the finding.';
COMMENT ON COLUMN pgaudit.unrecorded_change.relation IS
    'The table.';
COMMENT ON COLUMN pgaudit.unrecorded_change.operation IS
    'insert, update, delete or truncate.';
COMMENT ON COLUMN pgaudit.unrecorded_change.count IS
    'Number of rows.';
COMMENT ON COLUMN pgaudit.unrecorded_change.targets IS
    'The first five targets.';
COMMENT ON COLUMN pgaudit.unrecorded_change.xid IS
    'Transaction that changed them.';
COMMENT ON COLUMN pgaudit.unrecorded_change.recorded_by IS
    'Role that logged in.';
COMMENT ON COLUMN pgaudit.unrecorded_change.application_name IS
    'Name of the session''s application.';
COMMENT ON COLUMN pgaudit.unrecorded_change.found_at IS
    'When it was found.';
COMMENT ON COLUMN pgaudit.unrecorded_change.told_at IS
    'When a worker sent the signal unrecorded_change for it.';

COMMENT ON VIEW pgaudit.table_coverage IS
    'The tables of the application, partitions counted with their parent: which are captured or guarded, and which are neither.';
COMMENT ON COLUMN pgaudit.table_coverage.schema_name IS
    'Schema of the table.';
COMMENT ON COLUMN pgaudit.table_coverage.table_name IS
    'Name of the table.';
COMMENT ON COLUMN pgaudit.table_coverage.capture IS
    'captured, paused, or broken: a trigger is missing or disabled without a pause. NULL without capture.';
COMMENT ON COLUMN pgaudit.table_coverage.guard IS
    'guarded, paused or broken, likewise. NULL without a guard.';
COMMENT ON COLUMN pgaudit.table_coverage.on_missing IS
    'What its guard does about a change without an event: abort, capture or warn.';
COMMENT ON COLUMN pgaudit.table_coverage.target_type IS
    'Type of the targets of its events.';
COMMENT ON COLUMN pgaudit.table_coverage.estimated_rows IS
    'Number of rows at the last vacuum or analyze; before the first, as counted by the statistics.';
COMMENT ON COLUMN pgaudit.table_coverage.changed_rows IS
    'Number of rows inserted, updated and deleted since the statistics were reset.';
COMMENT ON COLUMN pgaudit.table_coverage.last_event_at IS
    'When the newest event in the log was recorded that has an action of its capture, such as claim.updated. With a guard alone: whose action begins as the guard expects, such as claim. NULL if there is none.';
COMMENT ON COLUMN pgaudit.table_coverage.unrecorded_changes IS
    'Number of rows changed without an event in the last day, as a guard with on_missing = warn has counted.';
COMMENT ON COLUMN pgaudit.table_coverage.added_at IS
    'When it was captured, or guarded if it is not captured: since then it may have events. NULL with neither.';
COMMENT ON FUNCTION pgaudit.claim_unrecorded_changes() IS
    'Returns changes without an event that no worker has reported yet, and marks them as reported.';

COMMENT ON FUNCTION pgaudit.add_capture(regclass, text, text[], text, text[], text[], text[], text, jsonb) IS
    'Captures a table: records an event for each inserted, updated and deleted row, whoever changes it.';

COMMENT ON FUNCTION pgaudit.remove_capture(regclass) IS
    'Ends the capture of a table.';

COMMENT ON FUNCTION pgaudit.pause_capture(regclass, boolean) IS
    'Interrupts the capture of a table, or resumes it.';

COMMENT ON FUNCTION pgaudit.add_guard(regclass, text, text[], text, jsonb, boolean, text, text[], text[], text[], text, jsonb) IS
    'Guards a table: a transaction that changes a row must record an event for it.';

COMMENT ON FUNCTION pgaudit.remove_guard(regclass) IS
    'Ends the guard of a table.';

COMMENT ON FUNCTION pgaudit.pause_guard(regclass, boolean) IS
    'Interrupts the guard of a table, or resumes it.';

COMMENT ON FUNCTION pgaudit.record_uncaptured(jsonb) IS
    'Records the events of changes that no trigger captures.';

COMMENT ON FUNCTION pgaudit.renew_capture(regclass) IS
    'Adds the capture of a table again with the same options, which adapts it to what the table is now.';

COMMENT ON FUNCTION pgaudit.renew_guard(regclass) IS
    'Adds the guard of a table again with the same options, which adapts it to what the table is now.';

COMMENT ON FUNCTION pgaudit.tend_captures() IS
    'Adds missing triggers of TRUNCATE to partitions, and ends the captures and guards of dropped tables. Workers call it.';

COMMENT ON FUNCTION pgaudit.capture_problems() IS
    'Captured and guarded tables whose changes may pass: purpose, table and what is wrong.';

COMMENT ON VIEW pgaudit.capture_state IS
    'Captured tables as they are now.';
COMMENT ON COLUMN pgaudit.capture_state.schema_name IS
    'Schema of the table.';
COMMENT ON COLUMN pgaudit.capture_state.table_name IS
    'Name of the table.';
COMMENT ON COLUMN pgaudit.capture_state.target_type IS
    'Type of the target of its events, such as claim.';
COMMENT ON COLUMN pgaudit.capture_state.key_columns IS
    'Columns of the key, by their present names.';
COMMENT ON COLUMN pgaudit.capture_state.action IS
    'What the actions of captured events begin with.';
COMMENT ON COLUMN pgaudit.capture_state.columns IS
    'Columns that are recorded, by their present names; NULL for all.';
COMMENT ON COLUMN pgaudit.capture_state.excluded IS
    'Columns that are not recorded.';
COMMENT ON COLUMN pgaudit.capture_state.masked IS
    'Columns whose changes are recorded without their values.';
COMMENT ON COLUMN pgaudit.capture_state.condition IS
    'An UPDATE is recorded only where this SQL holds.';
COMMENT ON COLUMN pgaudit.capture_state.level IS
    'What its triggers fire for, statement or row; NULL if they are missing.';
COMMENT ON COLUMN pgaudit.capture_state.level_reason IS
    'Why the triggers must fire for each row; NULL if they may fire for each statement.';
COMMENT ON COLUMN pgaudit.capture_state.children IS
    'Tables that inherit from it, without its partitions.';
COMMENT ON COLUMN pgaudit.capture_state.problem IS
    'Why changes may pass without an event; NULL if none does, or it is paused.';
COMMENT ON COLUMN pgaudit.capture_state.added_at IS
    'When it was added, or changed last.';
COMMENT ON COLUMN pgaudit.capture_state.added_by IS
    'Role that did so.';
COMMENT ON COLUMN pgaudit.capture_state.paused_at IS
    'Since when it is paused; NULL if it is not.';
COMMENT ON COLUMN pgaudit.capture_state.paused_by IS
    'Role that has paused it.';

COMMENT ON VIEW pgaudit.guard_state IS
    'Guarded tables as they are now.';
COMMENT ON COLUMN pgaudit.guard_state.schema_name IS
    'Schema of the table.';
COMMENT ON COLUMN pgaudit.guard_state.table_name IS
    'Name of the table.';
COMMENT ON COLUMN pgaudit.guard_state.target_type IS
    'Type of the target of its events, such as claim.';
COMMENT ON COLUMN pgaudit.guard_state.key_columns IS
    'Columns of the key, by their present names.';
COMMENT ON COLUMN pgaudit.guard_state.action IS
    'What the actions of captured events begin with.';
COMMENT ON COLUMN pgaudit.guard_state.on_missing IS
    'What happens without an event: abort, capture or warn.';
COMMENT ON COLUMN pgaudit.guard_state.actions IS
    'Pattern of the action for each operation; any action for one left out.';
COMMENT ON COLUMN pgaudit.guard_state.with_changes IS
    'Whether the event must have the changes, too.';
COMMENT ON COLUMN pgaudit.guard_state.columns IS
    'Columns that are guarded, by their present names; NULL for all.';
COMMENT ON COLUMN pgaudit.guard_state.excluded IS
    'Columns that may change without an event.';
COMMENT ON COLUMN pgaudit.guard_state.masked IS
    'Columns whose changes are captured without their values.';
COMMENT ON COLUMN pgaudit.guard_state.condition IS
    'An UPDATE counts only where this SQL holds.';
COMMENT ON COLUMN pgaudit.guard_state.level IS
    'What its triggers fire for, statement or row; NULL if they are missing.';
COMMENT ON COLUMN pgaudit.guard_state.level_reason IS
    'Why the triggers must fire for each row; NULL if they may fire for each statement.';
COMMENT ON COLUMN pgaudit.guard_state.children IS
    'Tables that inherit from it, without its partitions.';
COMMENT ON COLUMN pgaudit.guard_state.problem IS
    'Why changes may pass unnoticed; NULL if none does, or it is paused.';
COMMENT ON COLUMN pgaudit.guard_state.added_at IS
    'When it was added, or changed last.';
COMMENT ON COLUMN pgaudit.guard_state.added_by IS
    'Role that did so.';
COMMENT ON COLUMN pgaudit.guard_state.paused_at IS
    'Since when it is paused; NULL if it is not.';
COMMENT ON COLUMN pgaudit.guard_state.paused_by IS
    'Role that has paused it.';

COMMENT ON TABLE pgaudit.stream IS
    'What follows the log by its index: destinations that get the events, processors, and cursors of the application.';
COMMENT ON COLUMN pgaudit.stream.name IS
    'Name of the stream; of a cursor cursor:ROLE:NAME, with the role that it belongs to.';
COMMENT ON COLUMN pgaudit.stream.kind IS
    'destination, processor or cursor.';
COMMENT ON COLUMN pgaudit.stream.url IS
    'Where a destination is; it refers to secrets and holds none.';
COMMENT ON COLUMN pgaudit.stream.query IS
    'Which events, as a search; all when empty.';
COMMENT ON COLUMN pgaudit.stream.form IS
    'Form of the events: native, cloudevents, ocsf or ecs.';
COMMENT ON COLUMN pgaudit.stream.ordered IS
    'Whether later events of a target wait behind one that was refused.';
COMMENT ON COLUMN pgaudit.stream.allow_private IS
    'Whether the destination may have an address of a private network.';
COMMENT ON COLUMN pgaudit.stream.added_at IS
    'When it was added.';
COMMENT ON COLUMN pgaudit.stream.added_by IS
    'Database role that added it.';
COMMENT ON COLUMN pgaudit.stream.paused_at IS
    'When it was paused; null while it runs.';
COMMENT ON COLUMN pgaudit.stream.paused_by IS
    'Who paused it: the user that an application has named, as type:id, or a database role; worker if no person did.';
COMMENT ON COLUMN pgaudit.stream.pause_kind IS
    'Why it is paused: asked, refused by the destination, failing for days, or a mismatch with the log.';
COMMENT ON COLUMN pgaudit.stream.pause_reason IS
    'The reason in words.';
COMMENT ON TABLE pgaudit.stream_position IS
    'How far a stream is. A worker locks its row while it sends.';
COMMENT ON COLUMN pgaudit.stream_position.name IS
    'Name of the stream.';
COMMENT ON COLUMN pgaudit.stream_position.next_index IS
    'Index of the event that it goes on with.';
COMMENT ON COLUMN pgaudit.stream_position.last_index IS
    'Index of the last event that was accepted.';
COMMENT ON COLUMN pgaudit.stream_position.last_hash IS
    'Leaf hash of that event.';
COMMENT ON COLUMN pgaudit.stream_position.delivered IS
    'Number of events that were accepted, those sent again included.';
COMMENT ON COLUMN pgaudit.stream_position.delivered_at IS
    'When events were accepted last.';
COMMENT ON COLUMN pgaudit.stream_position.attempts IS
    'Failed attempts since then.';
COMMENT ON COLUMN pgaudit.stream_position.failing_since IS
    'When the first of these attempts failed.';
COMMENT ON COLUMN pgaudit.stream_position.next_attempt_at IS
    'When the next attempt is due.';
COMMENT ON COLUMN pgaudit.stream_position.error IS
    'Why the last one failed.';
COMMENT ON COLUMN pgaudit.stream_position.started_at IS
    'When the stream was added, or set back last.';
COMMENT ON TABLE pgaudit.delivery IS
    'What was sent to destinations, or could not be: a row for each attempt that failed, and one for what went well within a minute. Kept for 30 days.';
COMMENT ON COLUMN pgaudit.delivery.id IS
    'Number of the row.';
COMMENT ON COLUMN pgaudit.delivery.stream IS
    'Name of the stream.';
COMMENT ON COLUMN pgaudit.delivery.status IS
    'delivered, replayed, failed, skipped, discarded or rewound; parked if all events of a new chunk were refused.';
COMMENT ON COLUMN pgaudit.delivery.from_index IS
    'First index of the range.';
COMMENT ON COLUMN pgaudit.delivery.to_index IS
    'Last index of the range; where it was set to, if rewound.';
COMMENT ON COLUMN pgaudit.delivery.events IS
    'Number of events.';
COMMENT ON COLUMN pgaudit.delivery.parked IS
    'Number of the events that were parked.';
COMMENT ON COLUMN pgaudit.delivery.bytes IS
    'Bytes that were sent.';
COMMENT ON COLUMN pgaudit.delivery.chunks IS
    'Number of chunks that were sent.';
COMMENT ON COLUMN pgaudit.delivery.seconds IS
    'Seconds that they took together.';
COMMENT ON COLUMN pgaudit.delivery.attempts IS
    'Which attempt this was.';
COMMENT ON COLUMN pgaudit.delivery.error IS
    'Why it failed, or was left out.';
COMMENT ON COLUMN pgaudit.delivery.started_at IS
    'When the first chunk began.';
COMMENT ON COLUMN pgaudit.delivery.ended_at IS
    'When the last one ended.';
COMMENT ON TABLE pgaudit.parked IS
    'Events that a destination has refused for good, and those that wait behind one of the same target.';
COMMENT ON COLUMN pgaudit.parked.stream IS
    'Name of the stream.';
COMMENT ON COLUMN pgaudit.parked.index IS
    'Index of the event.';
COMMENT ON COLUMN pgaudit.parked.target IS
    'First target of the event, as type:id.';
COMMENT ON COLUMN pgaudit.parked.behind IS
    'Index of the event that it waits for; null if it was refused itself.';
COMMENT ON COLUMN pgaudit.parked.attempts IS
    'How often it was sent.';
COMMENT ON COLUMN pgaudit.parked.error IS
    'Why it was refused last.';
COMMENT ON COLUMN pgaudit.parked.parked_at IS
    'When it was parked.';
COMMENT ON COLUMN pgaudit.parked.retry_at IS
    'When it is sent again; null until someone retries it.';
COMMENT ON TABLE pgaudit.stream_replay IS
    'Ranges that are sent again, one for each stream, while there is nothing newer to send.';
COMMENT ON COLUMN pgaudit.stream_replay.stream IS
    'Name of the stream.';
COMMENT ON COLUMN pgaudit.stream_replay.from_index IS
    'First index of the range.';
COMMENT ON COLUMN pgaudit.stream_replay.to_index IS
    'Last index of the range.';
COMMENT ON COLUMN pgaudit.stream_replay.next_index IS
    'Index of the event that it goes on with.';
COMMENT ON COLUMN pgaudit.stream_replay.events IS
    'Number of events that were sent again.';
COMMENT ON COLUMN pgaudit.stream_replay.asked_at IS
    'When it was asked for.';
COMMENT ON COLUMN pgaudit.stream_replay.asked_by IS
    'Who asked: the user that an application has named, as type:id, or a database role.';
COMMENT ON COLUMN pgaudit.stream_replay.attempts IS
    'Failed attempts since events were accepted last.';
COMMENT ON COLUMN pgaudit.stream_replay.next_attempt_at IS
    'When the next attempt is due.';
COMMENT ON COLUMN pgaudit.stream_replay.error IS
    'Why the last one failed.';
COMMENT ON VIEW pgaudit.stream_stats IS
    'Each stream: how far it is, how far behind the log, and how it does.';
COMMENT ON COLUMN pgaudit.stream_stats.name IS
    'Name of the stream; of a cursor cursor:ROLE:NAME, with the role that it belongs to.';
COMMENT ON COLUMN pgaudit.stream_stats.kind IS
    'destination, processor or cursor.';
COMMENT ON COLUMN pgaudit.stream_stats.url IS
    'Where a destination is.';
COMMENT ON COLUMN pgaudit.stream_stats.query IS
    'Which events, as a search.';
COMMENT ON COLUMN pgaudit.stream_stats.form IS
    'Form of the events.';
COMMENT ON COLUMN pgaudit.stream_stats.ordered IS
    'Whether later events of a target wait behind one that was refused.';
COMMENT ON COLUMN pgaudit.stream_stats.allow_private IS
    'Whether an address of a private network is allowed.';
COMMENT ON COLUMN pgaudit.stream_stats.state IS
    'active, failing or paused.';
COMMENT ON COLUMN pgaudit.stream_stats.paused_at IS
    'When it was paused.';
COMMENT ON COLUMN pgaudit.stream_stats.paused_by IS
    'Who paused it: the user that an application has named, as type:id, or a database role; worker if no person did.';
COMMENT ON COLUMN pgaudit.stream_stats.pause_kind IS
    'asked, refused, failing or mismatch.';
COMMENT ON COLUMN pgaudit.stream_stats.pause_reason IS
    'The reason in words.';
COMMENT ON COLUMN pgaudit.stream_stats.next_index IS
    'Index of the event that it goes on with.';
COMMENT ON COLUMN pgaudit.stream_stats.lag_events IS
    'Events of the log that it has not got to yet, whether they match or not.';
COMMENT ON COLUMN pgaudit.stream_stats.lag_seconds IS
    'Age of the oldest of them, since it was appended.';
COMMENT ON COLUMN pgaudit.stream_stats.delivered IS
    'Number of events that were accepted.';
COMMENT ON COLUMN pgaudit.stream_stats.delivered_at IS
    'When events were accepted last.';
COMMENT ON COLUMN pgaudit.stream_stats.attempts IS
    'Failed attempts since then.';
COMMENT ON COLUMN pgaudit.stream_stats.failing_since IS
    'When the first of them failed.';
COMMENT ON COLUMN pgaudit.stream_stats.next_attempt_at IS
    'When the next attempt is due.';
COMMENT ON COLUMN pgaudit.stream_stats.error IS
    'Why the last one failed.';
COMMENT ON COLUMN pgaudit.stream_stats.events_per_second IS
    'Accepted events per second, over the last 5 minutes.';
COMMENT ON COLUMN pgaudit.stream_stats.failures_last_day IS
    'Failed attempts of the last 24 hours.';
COMMENT ON COLUMN pgaudit.stream_stats.parked IS
    'Number of parked events.';
COMMENT ON COLUMN pgaudit.stream_stats.added_at IS
    'When it was added.';
COMMENT ON COLUMN pgaudit.stream_stats.added_by IS
    'Database role that added it.';
COMMENT ON COLUMN pgaudit.stream_stats.replay_from IS
    'First index of the range that is sent again; null if none is.';
COMMENT ON COLUMN pgaudit.stream_stats.replay_to IS
    'Last index of that range.';
COMMENT ON COLUMN pgaudit.stream_stats.replay_next IS
    'Index of the event that the replay goes on with.';
COMMENT ON COLUMN pgaudit.stream_stats.replay_error IS
    'Why its last attempt failed.';

COMMENT ON TABLE pgaudit.processor IS
    'Functions of the application that get a job for each event they ask for: their limits, and how their jobs end.';
COMMENT ON COLUMN pgaudit.processor.name IS
    'Name of the processor, and of its stream.';
COMMENT ON COLUMN pgaudit.processor.concurrency IS
    'Most jobs that run at the same time, in all workers together; null without a limit.';
COMMENT ON COLUMN pgaudit.processor.rate IS
    'Most jobs that are begun in a second, in all workers together; null without a limit.';
COMMENT ON COLUMN pgaudit.processor.break_after IS
    'Failed attempts in a row after which it is paused as failing; null for never.';
COMMENT ON COLUMN pgaudit.processor.known_at IS
    'When a worker has last said that it knows this processor; each does once per minute.';
COMMENT ON COLUMN pgaudit.processor.next_at IS
    'When the rate allows the next job.';
COMMENT ON COLUMN pgaudit.processor.probe_at IS
    'When the next job is tried, while it is paused as failing.';
COMMENT ON COLUMN pgaudit.processor.failures IS
    'Failed attempts in a row, of any of its jobs that had not failed before the last success.';
COMMENT ON COLUMN pgaudit.processor.succeeded IS
    'Number of jobs that were done.';
COMMENT ON COLUMN pgaudit.processor.discarded IS
    'Number of jobs that it has discarded.';
COMMENT ON COLUMN pgaudit.processor.per_second IS
    'Jobs per second as of ended_at, a decaying mean of five minutes; processor_stats has it as of now.';
COMMENT ON COLUMN pgaudit.processor.ended_at IS
    'When a job was last done or discarded.';
COMMENT ON COLUMN pgaudit.processor.error IS
    'The last error of any of its jobs.';
COMMENT ON TABLE pgaudit.processor_jobs IS
    'The jobs of processors, a child table of procrastinate_jobs: one for each event that a processor asks for.';
COMMENT ON COLUMN pgaudit.processor_jobs.id IS
    'Number of the job, from the same sequence as all jobs.';
COMMENT ON COLUMN pgaudit.processor_jobs.queue_name IS
    'audit_processors.';
COMMENT ON COLUMN pgaudit.processor_jobs.task_name IS
    'Name of the processor.';
COMMENT ON COLUMN pgaudit.processor_jobs.args IS
    'The index, and whether the processor has still to be asked if it wants the event.';
COMMENT ON COLUMN pgaudit.processor_jobs.status IS
    'todo, doing or failed; a job that is done leaves the queue.';
COMMENT ON COLUMN pgaudit.processor_jobs.scheduled_at IS
    'When it is due, or was.';
COMMENT ON COLUMN pgaudit.processor_jobs.attempts IS
    'Number of failed attempts.';
COMMENT ON COLUMN pgaudit.processor_jobs.worker_id IS
    'Worker that runs it.';
COMMENT ON COLUMN pgaudit.processor_jobs.index IS
    'Index of the event in the log.';
COMMENT ON COLUMN pgaudit.processor_jobs.stalls IS
    'How often its worker has vanished while it ran.';
COMMENT ON COLUMN pgaudit.processor_jobs.started_at IS
    'When its last attempt began.';
COMMENT ON TABLE pgaudit.processor_backfill IS
    'Ranges of the log that a processor gets in addition, behind its position.';
COMMENT ON COLUMN pgaudit.processor_backfill.id IS
    'Number of the backfill.';
COMMENT ON COLUMN pgaudit.processor_backfill.processor IS
    'Name of the processor.';
COMMENT ON COLUMN pgaudit.processor_backfill.from_index IS
    'Index of the first event.';
COMMENT ON COLUMN pgaudit.processor_backfill.to_index IS
    'Index of the last event.';
COMMENT ON COLUMN pgaudit.processor_backfill.next_index IS
    'Index of the event with which it goes on.';
COMMENT ON COLUMN pgaudit.processor_backfill.jobs IS
    'Number of jobs that it has added.';
COMMENT ON COLUMN pgaudit.processor_backfill.added_at IS
    'When it was asked for.';
COMMENT ON COLUMN pgaudit.processor_backfill.added_by IS
    'Database role that asked for it.';
COMMENT ON COLUMN pgaudit.processor_backfill.ended_at IS
    'When its last job was added; null while it goes on.';
COMMENT ON VIEW pgaudit.processor_stats IS
    'Each processor: how far it is, how far behind the log, and what its jobs do.';
COMMENT ON COLUMN pgaudit.processor_stats.name IS
    'Name of the processor.';
COMMENT ON COLUMN pgaudit.processor_stats.query IS
    'Which events it asks for, as a search; its code may select from them.';
COMMENT ON COLUMN pgaudit.processor_stats.state IS
    'active or paused.';
COMMENT ON COLUMN pgaudit.processor_stats.paused_at IS
    'When it was paused; null while it runs.';
COMMENT ON COLUMN pgaudit.processor_stats.paused_by IS
    'Who paused it: the user that an application has named, as type:id, or a database role; worker if no person did.';
COMMENT ON COLUMN pgaudit.processor_stats.pause_kind IS
    'Why it is paused: asked; failing, with one job tried each minute; or a mismatch with the log.';
COMMENT ON COLUMN pgaudit.processor_stats.pause_reason IS
    'The reason in words.';
COMMENT ON COLUMN pgaudit.processor_stats.next_index IS
    'Index of the first event that was not looked at yet.';
COMMENT ON COLUMN pgaudit.processor_stats.lag_events IS
    'Events of the log from there on, whether it asks for them or not.';
COMMENT ON COLUMN pgaudit.processor_stats.lag_seconds IS
    'How long the first of them has been in the log.';
COMMENT ON COLUMN pgaudit.processor_stats.waiting IS
    'Jobs that are due.';
COMMENT ON COLUMN pgaudit.processor_stats.delayed IS
    'Jobs that are tried again later.';
COMMENT ON COLUMN pgaudit.processor_stats.running IS
    'Jobs that a worker runs.';
COMMENT ON COLUMN pgaudit.processor_stats.failed IS
    'Jobs that have failed for good, and stay until someone retries or discards them.';
COMMENT ON COLUMN pgaudit.processor_stats.oldest_waiting_seconds IS
    'How long the oldest job that waits has been due; null if none waits.';
COMMENT ON COLUMN pgaudit.processor_stats.longest_running_seconds IS
    'How long the oldest attempt has been running; null if none runs.';
COMMENT ON COLUMN pgaudit.processor_stats.succeeded IS
    'Number of jobs that were done.';
COMMENT ON COLUMN pgaudit.processor_stats.discarded IS
    'Number of jobs that it has discarded.';
COMMENT ON COLUMN pgaudit.processor_stats.jobs_per_second IS
    'Jobs that were done per second, a decaying mean of five minutes.';
COMMENT ON COLUMN pgaudit.processor_stats.failures_in_a_row IS
    'Failed attempts since the last job was done.';
COMMENT ON COLUMN pgaudit.processor_stats.last_error IS
    'The last error of any of its jobs.';
COMMENT ON COLUMN pgaudit.processor_stats.last_ended_at IS
    'When a job was last done or discarded.';
COMMENT ON COLUMN pgaudit.processor_stats.backfill_events IS
    'Events of its backfills that were not looked at yet.';
COMMENT ON COLUMN pgaudit.processor_stats.concurrency IS
    'Most jobs that run at the same time, in all workers together; null without a limit.';
COMMENT ON COLUMN pgaudit.processor_stats.rate IS
    'Most jobs that are begun in a second, in all workers together; null without a limit.';
COMMENT ON COLUMN pgaudit.processor_stats.break_after IS
    'Failed attempts in a row after which it is paused as failing; null for never.';
COMMENT ON COLUMN pgaudit.processor_stats.added_at IS
    'When a worker has first said that it knows this processor.';
COMMENT ON COLUMN pgaudit.processor_stats.known_at IS
    'When a worker has last said so; each does once per minute.';

-- The functions of captured and guarded tables are generated anew, because the code that generates them may have changed.

DO $$ BEGIN PERFORM pgaudit.create_trigger_function('capture_' || id, pgaudit.capture_body(pgaudit.current_capture(id)))
  FROM pgaudit.captured_table JOIN pg_class c ON c.oid = relation; END $$;
DO $$ BEGIN PERFORM pgaudit.create_trigger_function('guard_' || id, pgaudit.guard_body(pgaudit.current_guard(id)))
  FROM pgaudit.guarded_table JOIN pg_class c ON c.oid = relation; END $$;

-- Revokes all rights on new objects, from PUBLIC and from the roles that ALTER DEFAULT PRIVILEGES names: only
-- `pgaudit grant` gives rights. Objects that existed before this migration (schema.sql lists them) keep their grants.

DO $$
DECLARE
    known  oid[] := string_to_array(current_setting('audit.known_objects'), ',');
    object text;
    grantee oid;
BEGIN
    FOR object, grantee IN
        SELECT DISTINCT format('TABLE %s', c.oid::regclass), a.grantee
          FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.relnamespace = 'pgaudit'::regnamespace AND c.oid <> ALL (known) AND a.grantee <> c.relowner
        UNION
        SELECT format('ROUTINE %s', p.oid::regprocedure), a.grantee
          FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         WHERE p.pronamespace = 'pgaudit'::regnamespace AND p.oid <> ALL (known) AND a.grantee <> p.proowner LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', object, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
    END LOOP;
END $$;


DELETE FROM pgaudit.schema_code;
INSERT INTO pgaudit.schema_code (checksum, version) VALUES ('a1e0e42954afe4b12ebc912ca4712bd2029f3f1429d5d76bd6dc5b0202aabcdb', '0.1.0');


DO $renewal$
DECLARE
    role text;
BEGIN
    FOR role IN SELECT DISTINCT grantee::regrole FROM (
                    SELECT proname, proacl, proowner FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace
                    UNION ALL
                    SELECT relname, relacl, relowner FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace
                ) AS object (name, acl, owner), aclexplode(acl)
                 WHERE name = 'record' AND grantee NOT IN (0, owner) AND privilege_type IN ('EXECUTE', 'SELECT') LOOP
        EXECUTE format($$GRANT USAGE ON SCHEMA pgaudit TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.record, pgaudit.try_record, pgaudit.schema_state TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.with_receipts TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.record_uncaptured, pgaudit.captured_operations TO %1$s$$, role);
    END LOOP;
    FOR role IN SELECT DISTINCT grantee::regrole FROM (
                    SELECT proname, proacl, proowner FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace
                    UNION ALL
                    SELECT relname, relacl, relowner FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace
                ) AS object (name, acl, owner), aclexplode(acl)
                 WHERE name = 'record_inline' AND grantee NOT IN (0, owner) AND privilege_type IN ('EXECUTE', 'SELECT') LOOP
        EXECUTE format($$GRANT USAGE ON SCHEMA pgaudit TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.record, pgaudit.try_record, pgaudit.schema_state TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.with_receipts TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.record_uncaptured, pgaudit.captured_operations TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.record_inline TO %1$s$$, role);
    END LOOP;
    FOR role IN SELECT DISTINCT grantee::regrole FROM (
                    SELECT proname, proacl, proowner FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace
                    UNION ALL
                    SELECT relname, relacl, relowner FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace
                ) AS object (name, acl, owner), aclexplode(acl)
                 WHERE name = 'persist' AND grantee NOT IN (0, owner) AND privilege_type IN ('EXECUTE', 'SELECT') LOOP
        EXECUTE format($$GRANT USAGE ON SCHEMA pgaudit TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.record, pgaudit.try_record, pgaudit.schema_state TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.with_receipts TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.record_uncaptured, pgaudit.captured_operations TO %1$s$$, role);
        EXECUTE format($$GRANT USAGE ON SCHEMA pgaudit TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.log_head, pgaudit.tile, pgaudit.checkpoint, pgaudit.verification,
       pgaudit.failed_verifications, pgaudit.sealing_stats,
       pgaudit.sealing_state, pgaudit.target_period, pgaudit.alembic_version TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.try_lock_sealing, pgaudit.lock_checkpoint, pgaudit.leaf_hashes,
       pgaudit.add_tiles, pgaudit.add_checkpoint, pgaudit.recomputed_hashes, pgaudit.stored_hashes,
       pgaudit.column_drift,
       pgaudit.note_verification, pgaudit.note_sealing, pgaudit.claim_heartbeat, pgaudit.claim_verification,
       pgaudit.claim_anchors, pgaudit.note_anchored, pgaudit.note_anchor_failure,
       pgaudit.try_lock_target_periods, pgaudit.sealed_targets, pgaudit.sorted_targets, pgaudit.add_target_tiles,
       pgaudit.add_target_period, pgaudit.prune_target_tiles, pgaudit.log_ends, pgaudit.log_partitions,
       pgaudit.schema_state TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.anchor_stats, pgaudit.anchor_receipt TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.register_worker, pgaudit.unregister_worker, pgaudit.heartbeat,
       pgaudit.fetch_job, pgaudit.persist, pgaudit.record_failure, pgaudit.release_jobs, pgaudit.running_jobs,
       pgaudit.reclaim_stalled_jobs,
       pgaudit.ensure_partitions, pgaudit.requeue_skipped_jobs, pgaudit.prune_batches, pgaudit.prune_job_errors,
       pgaudit.prune_unrecorded_changes, pgaudit.claim_unrecorded_changes, pgaudit.tend_captures,
       pgaudit.retry_failed TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.audit_jobs, pgaudit.job_error, pgaudit.acknowledged_jobs TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.queue_stats, pgaudit.worker_stats, pgaudit.batch, pgaudit.conflicting_events,
       pgaudit.log_lock_holder, pgaudit.unrecorded_change, pgaudit.alembic_version TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.stalled_workers_jobs, pgaudit.try_timestamptz, pgaudit.low_watermark,
       pgaudit.count_jobs, pgaudit.queue_state,
       pgaudit.lag_bucket_bounds, pgaudit.log_partitions, pgaudit.is_partition_ahead TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.capture_problems TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.audit_log, pgaudit.event_target, pgaudit.stream, pgaudit.stream_position,
       pgaudit.delivery, pgaudit.parked, pgaudit.stream_replay, pgaudit.stream_stats TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.due_streams, pgaudit.look_at_stream, pgaudit.lock_stream, pgaudit.move_stream,
       pgaudit.note_stream_failure, pgaudit.pause_stream, pgaudit.blocked_targets, pgaudit.due_parked,
       pgaudit.settle_parked, pgaudit.note_parked_failure, pgaudit.prune_deliveries, pgaudit.index_ranges,
       pgaudit.look_at_replay, pgaudit.move_replay, pgaudit.note_replay_failure
       TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.processor_jobs, pgaudit.processor_backfill, pgaudit.processor_stats TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.register_processor, pgaudit.due_processors, pgaudit.dispatch_events,
       pgaudit.dispatch_backfill, pgaudit.fetch_processor_jobs, pgaudit.succeed_processor_jobs,
       pgaudit.discard_processor_job, pgaudit.fail_processor_job, pgaudit.note_processor_overrun,
       pgaudit.release_processor_jobs, pgaudit.reclaim_stalled_processor_jobs TO %1$s$$, role);
    END LOOP;
    FOR role IN SELECT DISTINCT grantee::regrole FROM (
                    SELECT proname, proacl, proowner FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace
                    UNION ALL
                    SELECT relname, relacl, relowner FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace
                ) AS object (name, acl, owner), aclexplode(acl)
                 WHERE name = 'acknowledge_job' AND grantee NOT IN (0, owner) AND privilege_type IN ('EXECUTE', 'SELECT') LOOP
        EXECUTE format($$GRANT USAGE ON SCHEMA pgaudit TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.retry_failed, pgaudit.acknowledge_job, pgaudit.count_jobs,
       pgaudit.queue_state, pgaudit.schema_state TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.audit_jobs, pgaudit.job_error, pgaudit.acknowledged_jobs TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.stream, pgaudit.stream_position, pgaudit.delivery, pgaudit.parked,
       pgaudit.stream_replay, pgaudit.stream_stats TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.require_stream, pgaudit.pause_stream, pgaudit.resume_stream,
       pgaudit.rewind_stream, pgaudit.replay_stream, pgaudit.stop_replay, pgaudit.retry_parked,
       pgaudit.discard_parked TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.processor_jobs, pgaudit.processor_backfill, pgaudit.processor_stats TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.backfill_processor, pgaudit.retry_processor_jobs, pgaudit.drop_processor_jobs
       TO %1$s$$, role);
    END LOOP;
    FOR role IN SELECT DISTINCT grantee::regrole FROM (
                    SELECT proname, proacl, proowner FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace
                    UNION ALL
                    SELECT relname, relacl, relowner FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace
                ) AS object (name, acl, owner), aclexplode(acl)
                 WHERE name = 'failed_jobs' AND grantee NOT IN (0, owner) AND privilege_type IN ('EXECUTE', 'SELECT') LOOP
        EXECUTE format($$GRANT USAGE ON SCHEMA pgaudit TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.audit_log, pgaudit.event_key, pgaudit.event_target, pgaudit.event_sighting,
       pgaudit.event_conflict, pgaudit.conflicting_events,
       pgaudit.log_head, pgaudit.tile, pgaudit.checkpoint, pgaudit.verification,
       pgaudit.failed_verifications, pgaudit.sealing_stats,
       pgaudit.sealing_state, pgaudit.target_period, pgaudit.target_tile,
       pgaudit.queue_stats, pgaudit.worker_stats, pgaudit.failed_jobs, pgaudit.stalled_jobs,
       pgaudit.delayed_jobs, pgaudit.throughput, pgaudit.storage_stats, pgaudit.batch, pgaudit.log_lock_holder,
       pgaudit.acknowledged_jobs, pgaudit.audit_jobs, pgaudit.job_error, pgaudit.saved_search, pgaudit.settings,
       pgaudit.alembic_version TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.anchor, pgaudit.anchor_stats, pgaudit.anchor_receipt TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.captured_table, pgaudit.guarded_table, pgaudit.unrecorded_change,
       pgaudit.table_coverage TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.partition_tree, pgaudit.logged_actions,
       pgaudit.last_recorded_at, pgaudit.expected_actions TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.capture_state, pgaudit.guard_state TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.stream, pgaudit.stream_position, pgaudit.delivery, pgaudit.parked,
       pgaudit.stream_replay, pgaudit.stream_stats TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.open_cursor, pgaudit.lock_cursor, pgaudit.move_cursor TO %1$s$$, role);
        EXECUTE format($$GRANT SELECT ON pgaudit.processor_jobs, pgaudit.processor_backfill, pgaudit.processor_stats TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.watched_tables, pgaudit.capture_problems TO %1$s$$, role);
        EXECUTE format($$GRANT EXECUTE ON FUNCTION pgaudit.stalled_workers_jobs, pgaudit.try_timestamptz, pgaudit.low_watermark,
       pgaudit.count_jobs, pgaudit.queue_state,
       pgaudit.lag_bucket_bounds, pgaudit.log_partitions, pgaudit.is_partition_ahead, pgaudit.index_ranges,
       pgaudit.column_drift, pgaudit.leaf_hash, pgaudit.leaf_hashes,
       pgaudit.recomputed_hashes, pgaudit.stored_hashes, pgaudit.log_ends,
       pgaudit.target_key, pgaudit.sealed_targets, pgaudit.sorted_targets, pgaudit.record_access, pgaudit.save_search,
       pgaudit.delete_search, pgaudit.schema_state TO %1$s$$, role);
    END LOOP;
END $renewal$;

COMMIT;

-- What an application and a worker leave behind: events in the log, one that waits, one that waits for a retry, and one
-- that has failed for good.
\set ON_ERROR_STOP on
BEGIN;
SELECT pgaudit.record(jsonb_agg(jsonb_build_object(
           'id', gen_random_uuid(), 'action', 'claim.approved', 'outcome', 'success',
           'occurred_at', '2026-01-31T12:00:00.000000Z',
           'actor', jsonb_build_object('type', 'user', 'id', n::text),
           'targets', jsonb_build_array(jsonb_build_object('type', 'claim', 'id', '7')))))
  FROM generate_series(1, 5) n;
COMMIT;
SELECT pgaudit.persist(NULL, NULL, 100);

BEGIN;
SELECT pgaudit.record(jsonb_build_array(jsonb_build_object(
           'id', gen_random_uuid(), 'action', 'claim.rejected', 'outcome', 'denied',
           'occurred_at', '2026-01-31T12:00:00.000000Z', 'data', jsonb_build_object('n', n))))
  FROM generate_series(1, 3) n;
COMMIT;
-- Two of them are fetched by a worker and fail: the first may be tried again, the second may not.
SELECT token AS worker FROM pgaudit.register_worker() \gset
SELECT job_id AS first_job FROM pgaudit.fetch_job(:'worker') \gset
SELECT pgaudit.record_failure(:first_job, :'worker', 0, true, 3600, 'RaiseException', 'P0001', 'not now', NULL);
SELECT job_id AS second_job FROM pgaudit.fetch_job(:'worker') \gset
SELECT pgaudit.record_failure(:second_job, :'worker', 0, true, NULL, 'RaiseException', 'P0001', 'never', NULL);
