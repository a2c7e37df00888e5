-- The audit log, and the tables that belong to it.

-- COLLATE "C": an upgrade of the operating system's collations must not break an index.
CREATE TABLE pgaudit.audit_log (
    index          bigint      NOT NULL PRIMARY KEY,
    event_id       uuid        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    persisted_at   timestamptz NOT NULL,
    action         text        NOT NULL COLLATE "C",
    outcome        text        NOT NULL COLLATE "C",
    actor_type     text        COLLATE "C",
    actor_id       text        COLLATE "C",
    target_type    text        COLLATE "C",
    target_id      text        COLLATE "C",
    tenant         text        COLLATE "C",
    event          jsonb       NOT NULL,
    leaf_hash      bytea       NOT NULL,
    conflicts_with bigint
) PARTITION BY RANGE (index);
CREATE INDEX audit_log_target_idx ON pgaudit.audit_log (target_type, target_id, index);
CREATE INDEX audit_log_actor_idx ON pgaudit.audit_log (actor_type, actor_id, index);
CREATE INDEX audit_log_action_idx ON pgaudit.audit_log (action, index);
CREATE INDEX audit_log_tenant_idx ON pgaudit.audit_log (tenant, index) WHERE tenant IS NOT NULL;
-- Failures and denials are few and looked for often.
CREATE INDEX audit_log_outcome_idx ON pgaudit.audit_log (outcome, index) WHERE outcome <> 'success';

-- Every event id that was ever appended. Its primary key makes sure that an event is stored once, even if the partition
-- with the event was dropped.
CREATE TABLE pgaudit.event_key (
    event_id uuid   PRIMARY KEY,
    index    bigint NOT NULL
);

-- The second and further targets of events; the first is in audit_log.
CREATE TABLE pgaudit.event_target (
    type  text   NOT NULL COLLATE "C",
    id    text   NOT NULL COLLATE "C",
    index bigint NOT NULL,
    PRIMARY KEY (type, id, index)
);

-- Events that were recorded again with the same content: noted here, not stored again.
CREATE TABLE pgaudit.event_sighting (
    id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    event_id    uuid        NOT NULL,
    index       bigint      NOT NULL,
    xid         xid8,
    recorded_by text        COLLATE "C",
    recorded_at timestamptz NOT NULL,
    leaf_hash   bytea       NOT NULL
);
CREATE INDEX event_sighting_event_idx ON pgaudit.event_sighting (event_id);

-- Events that were recorded with an id that the log had already, and other content.
CREATE TABLE pgaudit.event_conflict (
    index          bigint PRIMARY KEY,
    event_id       uuid        NOT NULL,
    conflicts_with bigint      NOT NULL,
    content_hash   bytea       NOT NULL,
    recorded_at    timestamptz NOT NULL
);
CREATE INDEX event_conflict_event_idx ON pgaudit.event_conflict (event_id, content_hash);
CREATE INDEX event_conflict_recorded_idx ON pgaudit.event_conflict (recorded_at);

-- One row for each transaction that appended, merged by minute after a day and then kept: the history of throughput,
-- and the way to find an index by time. Appends only insert: while a snapshot is open for hours, vacuum could not
-- remove the versions of an updated counter, and each append would read all of them.
CREATE TABLE pgaudit.batch (
    first_index     bigint PRIMARY KEY,
    count           bigint      NOT NULL CHECK (count > 0 AND first_index >= 0 AND first_index + count < 1::bigint << 62),
    batches         integer     NOT NULL DEFAULT 1,
    persisted_at    timestamptz NOT NULL,
    oldest_recorded timestamptz NOT NULL,
    newest_recorded timestamptz NOT NULL,
    recorded_until  timestamptz NOT NULL,
    late            boolean     NOT NULL,
    worker_id       bigint,
    lag_buckets     bigint[],
    lag_total       interval
);
CREATE INDEX batch_persisted_idx ON pgaudit.batch (persisted_at);
CREATE INDEX batch_recorded_idx ON pgaudit.batch (recorded_until, first_index);
CREATE INDEX batch_late_idx ON pgaudit.batch (oldest_recorded) WHERE late;

CREATE TABLE pgaudit.log_lock (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton));
INSERT INTO pgaudit.log_lock DEFAULT VALUES;
