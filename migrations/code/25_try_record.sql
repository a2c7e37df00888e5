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
