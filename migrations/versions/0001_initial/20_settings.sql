-- Settings that every writer and worker must share.

CREATE TABLE pgaudit.settings (
    singleton           boolean  PRIMARY KEY DEFAULT true CHECK (singleton),
    max_event_bytes     integer  NOT NULL DEFAULT 49152 CHECK (max_event_bytes BETWEEN 16384 AND 65535),
    -- 160 x 65,536: so tiles of 256 and of 65,536 leaves end where a partition ends.
    partition_size      bigint   NOT NULL DEFAULT 10485760 CHECK (partition_size >= 256 AND partition_size % 256 = 0),
    job_error_retention interval NOT NULL DEFAULT '90 days' CHECK (job_error_retention >= interval '1 day')
);
INSERT INTO pgaudit.settings DEFAULT VALUES;
