-- Processors: functions of the application that get a job for each event that they ask for. Each follows the log as a
-- stream of kind 'processor'.

-- What a processor's code says of it, and how its jobs end. A worker locks its row to take a job, if it has limits.
CREATE TABLE pgaudit.processor (
    name        text        NOT NULL PRIMARY KEY COLLATE "C" REFERENCES pgaudit.stream ON DELETE CASCADE,
    concurrency integer     CHECK (concurrency > 0),
    rate        double precision CHECK (rate > 0),
    break_after integer     CHECK (break_after > 0),
    known_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_at     timestamptz NOT NULL DEFAULT '-infinity',  -- when the rate allows another job
    probe_at    timestamptz NOT NULL DEFAULT '-infinity',  -- when one is tried while it is paused as failing
    failures    integer     NOT NULL DEFAULT 0,
    succeeded   bigint      NOT NULL DEFAULT 0,
    discarded   bigint      NOT NULL DEFAULT 0,
    per_second  double precision NOT NULL DEFAULT 0,       -- as it was at ended_at: it decays by 1/e in five minutes
    ended_at    timestamptz,
    error       text
);
ALTER TABLE pgaudit.processor SET (fillfactor = 50);

-- Their jobs: Procrastinate's, in a child table for the reasons that audit jobs have one. Each has a scheduled_at.
CREATE TABLE pgaudit.processor_jobs (
    index      bigint  NOT NULL,
    stalls     integer NOT NULL DEFAULT 0,
    started_at timestamptz,
    PRIMARY KEY (id),
    UNIQUE (task_name, index)
) INHERITS (pgaudit.procrastinate_jobs);
ALTER TABLE pgaudit.processor_jobs
    ALTER queue_name SET DEFAULT 'audit_processors',
    ALTER scheduled_at SET DEFAULT clock_timestamp(), ALTER scheduled_at SET NOT NULL;
ALTER TABLE pgaudit.procrastinate_jobs ADD CONSTRAINT no_processor_jobs CHECK (queue_name <> 'audit_processors') NO INHERIT;
CREATE INDEX processor_jobs_due_idx ON pgaudit.processor_jobs (task_name, scheduled_at, id) WHERE status = 'todo';
CREATE INDEX processor_jobs_running_idx ON pgaudit.processor_jobs (task_name) WHERE status = 'doing';
CREATE INDEX processor_jobs_worker_idx ON pgaudit.processor_jobs (worker_id) WHERE status = 'doing';
CREATE INDEX processor_jobs_failed_idx ON pgaudit.processor_jobs (task_name, id) WHERE status = 'failed';
ALTER TABLE pgaudit.processor_jobs SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0
);

-- Ranges of the log that a processor gets once more, or for the first time: they lie behind its position.
CREATE TABLE pgaudit.processor_backfill (
    id         bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    processor  text        NOT NULL COLLATE "C" REFERENCES pgaudit.processor ON DELETE CASCADE,
    from_index bigint      NOT NULL CHECK (from_index >= 0),
    to_index   bigint      NOT NULL CHECK (to_index >= from_index),
    next_index bigint      NOT NULL,
    jobs       bigint      NOT NULL DEFAULT 0,
    added_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    added_by   text        NOT NULL DEFAULT session_user,
    ended_at   timestamptz
);
CREATE INDEX processor_backfill_open_idx ON pgaudit.processor_backfill (processor, id) WHERE ended_at IS NULL;
