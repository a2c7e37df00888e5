-- Cursors: streams that the application reads itself. Readers call these functions, because they can write to no table.

-- open_cursor(name, query, start): makes a cursor, unless there is one: it begins with the event of the index `start`, or
-- with the next one that is appended. Returns what is wrong: NULL if it can be used.
CREATE OR REPLACE FUNCTION pgaudit.open_cursor(name text, query text, start bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
DECLARE
    known stream;
BEGIN
    SELECT * INTO known FROM stream s WHERE s.name = open_cursor.name;
    IF NOT FOUND THEN
        IF (SELECT count(*) FROM stream WHERE kind = 'cursor') >= 1000 THEN
            RETURN 'there are 1,000 cursors already: remove one with pgaudit.remove_stream(name), as the owner';
        END IF;
        IF length(open_cursor.query) > 4000 THEN
            RETURN 'a query has at most 4,000 characters';  -- as in Python, which a reader need not use
        END IF;
        PERFORM add_stream(open_cursor.name, 'cursor', NULL, open_cursor.query, 'native', true, false, start);
    ELSIF known.kind <> 'cursor' THEN
        RETURN format('%s is the name of a %s', known.name, known.kind);
    ELSIF known.query <> open_cursor.query THEN
        RETURN format('the cursor %s has another query: %s', known.name, known.query);
    END IF;
    RETURN NULL;
EXCEPTION
    WHEN unique_violation OR SQLSTATE 'PA003' THEN
        IF EXISTS (SELECT FROM stream s WHERE s.name = open_cursor.name AND s.kind = 'cursor') THEN
            RETURN NULL;  -- another process was faster
        END IF;
        RETURN SQLERRM;
    WHEN check_violation THEN
        RETURN 'the name of a cursor has 1 to 63 small letters, digits, dots, hyphens and underscores';
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
     WHERE p.name = lock_cursor.name AND s.kind = 'cursor' FOR UPDATE OF p;
    next_index := at.next_index;
    query := (SELECT s.query FROM stream s WHERE s.name = at.name);
    problem := CASE WHEN at.name IS NULL THEN 'it was removed' ELSE mismatch_of(at) END;
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
     WHERE p.name = move_cursor.name AND p.next_index = old
       AND EXISTS (SELECT FROM stream s WHERE s.name = p.name AND s.kind = 'cursor');
    RETURN FOUND;
END $$;
