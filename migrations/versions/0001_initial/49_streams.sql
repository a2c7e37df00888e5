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
