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
