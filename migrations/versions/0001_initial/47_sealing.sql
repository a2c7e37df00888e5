-- The Merkle tree over the log, and what was signed of it.

-- Complete tiles, 256 hashes each. Level 0 has the leaf hashes of the log by index, level 1 the roots of the tiles of
-- level 0, and so on. EXTERNAL: hashes cannot be compressed.
CREATE TABLE pgaudit.tile (
    level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    number bigint   NOT NULL CHECK (number >= 0),
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    root   bytea    NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (level, number)
);
ALTER TABLE pgaudit.tile ALTER hashes SET STORAGE EXTERNAL;

-- Signed notes, each of a larger tree than the one before.
CREATE TABLE pgaudit.checkpoint (
    size      bigint      PRIMARY KEY CHECK (size > 0),
    note      text        NOT NULL CHECK (octet_length(note) <= 100000),
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Results of verifying the log: a range of indexes, and what was found. Only a clean result has a level.
CREATE TABLE pgaudit.verification (
    id          bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    first_index bigint      NOT NULL CHECK (first_index >= 0),
    end_index   bigint      NOT NULL CHECK (end_index >= first_index),
    whole       boolean     NOT NULL,  -- all that the log has: from its first partition to its end
    level       text        CHECK (level IN ('nothing', 'hashed', 'sealed', 'signed', 'anchored', 'witnessed')),
    findings    bigint      NOT NULL CHECK (findings >= 0),
    found       jsonb       NOT NULL CHECK (jsonb_typeof(found) = 'array' AND octet_length(found::text) <= 100000
                                            AND NOT found @? 'strict $[*] ? (@.type() <> "object")'),
    verified_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    verified_by text        NOT NULL DEFAULT session_user,
    CHECK ((findings = 0) = (level IS NOT NULL)),
    CHECK ((findings = 0) = (found = '[]'))
);
CREATE INDEX verification_failed_idx ON pgaudit.verification (id) WHERE findings > 0;

-- Why the log is not sealed at the moment, as the process that should seal it says.
CREATE TABLE pgaudit.sealing_state (
    singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    sealed_at     timestamptz,
    refused       text CHECK (length(refused) <= 2000),
    refused_since timestamptz,
    heartbeat_at  timestamptz,
    verifying_at  timestamptz
);
INSERT INTO pgaudit.sealing_state DEFAULT VALUES;
