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
