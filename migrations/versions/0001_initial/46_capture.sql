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
