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
