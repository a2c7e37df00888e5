-- Anchors: places outside the database that checkpoints are sent to.

-- How far each anchor is, and when it is tried again. Its name is its URL without secrets.
CREATE TABLE pgaudit.anchor (
    name            text        PRIMARY KEY CHECK (char_length(name) BETWEEN 1 AND 2000),
    size            bigint      NOT NULL DEFAULT 0 CHECK (size >= 0),
    anchored_at     timestamptz,
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    failed_at       timestamptz,
    error           text        CHECK (char_length(error) <= 1000),
    next_attempt_at timestamptz NOT NULL DEFAULT '-infinity'
);

-- What an anchor answered, if that proves something by itself: time stamps, and signatures of witnesses. Receipts stay
-- when an anchor is no longer in use.
CREATE TABLE pgaudit.anchor_receipt (
    name        text        NOT NULL,
    size        bigint      NOT NULL CHECK (size > 0),
    receipt     text        NOT NULL CHECK (octet_length(receipt) <= 100000),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, size)
);
