-- The index of targets: for each closed day and year, which targets occur at which indexes, as a sorted Merkle tree.

-- One row for each closed period. Its root is also in an event, audit.targets_sealed, which has the id event_id.
CREATE TABLE pgaudit.target_period (
    period      text        PRIMARY KEY COLLATE "C" CHECK (period ~ '^[0-9]{4}(-[0-9]{2}-[0-9]{2})?$'),
    first_index bigint      NOT NULL CHECK (first_index >= 0),
    end_index   bigint      NOT NULL CHECK (end_index >= first_index),
    targets     bigint      NOT NULL CHECK (targets >= 0),
    root        bytea       NOT NULL CHECK (octet_length(root) = 32),
    event_id    uuid        NOT NULL,
    closed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The leaves of these trees in ascending order of their keys, 256 in a row. EXTERNAL: hashes cannot be compressed.
CREATE TABLE pgaudit.target_tile (
    period    text    NOT NULL COLLATE "C",
    first_key bytea   NOT NULL CHECK (octet_length(first_key) = 32),
    number    integer NOT NULL CHECK (number >= 0),
    keys      bytea   NOT NULL CHECK (octet_length(keys) % 32 = 0) CHECK (octet_length(keys) BETWEEN 32 AND 8192),
    digests   bytea   NOT NULL CHECK (octet_length(digests) = octet_length(keys)),
    root      bytea   NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (period, number)
);
CREATE UNIQUE INDEX target_tile_key_idx ON pgaudit.target_tile (period, first_key);
ALTER TABLE pgaudit.target_tile ALTER keys SET STORAGE EXTERNAL, ALTER digests SET STORAGE EXTERNAL;

CREATE TABLE pgaudit.target_lock (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton));
INSERT INTO pgaudit.target_lock DEFAULT VALUES;
