-- The installed functions and views: each migration that applies the files in code/ writes this row.

CREATE TABLE pgaudit.schema_code (
    checksum   text        NOT NULL,
    version    text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE pgaudit.schema_code IS 'The functions and views that are installed: one row.';
COMMENT ON COLUMN pgaudit.schema_code.checksum IS 'SHA-256 of the files that define them.';
COMMENT ON COLUMN pgaudit.schema_code.version IS 'Version of pgaudit that applied them.';
COMMENT ON COLUMN pgaudit.schema_code.applied_at IS 'Time at which it applied them.';
