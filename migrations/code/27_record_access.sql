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
