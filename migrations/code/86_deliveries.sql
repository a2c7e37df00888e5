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
