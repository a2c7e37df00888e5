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
