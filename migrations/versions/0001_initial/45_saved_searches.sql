-- Searches that users of the dashboard keep. They have no meaning for the log.

CREATE TABLE pgaudit.saved_search (
    owner      text        NOT NULL COLLATE "C" CHECK (length(owner) BETWEEN 1 AND 500),
    name       text        NOT NULL COLLATE "C" CHECK (length(name) BETWEEN 1 AND 200),
    query      text        NOT NULL COLLATE "C" CHECK (length(query) <= 10000),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (owner, name)
);
