-- Comments that psql shows with \d+ and \df+. ASCII only, so that a script does not depend on the encoding of psql.

COMMENT ON TABLE pgaudit.audit_log IS
    'Every audit event, once, in commit order. Append-only.';
COMMENT ON COLUMN pgaudit.audit_log.index IS
    'Position in the log: 0, 1, 2 ... without a gap, in commit order. "index > last seen" is a safe cursor.';
COMMENT ON COLUMN pgaudit.audit_log.event_id IS
    'Identity of the event, and its idempotency key.';
COMMENT ON COLUMN pgaudit.audit_log.occurred_at IS
    'When it happened, by the application''s clock.';
COMMENT ON COLUMN pgaudit.audit_log.recorded_at IS
    'When the business transaction recorded it, by the server''s clock.';
COMMENT ON COLUMN pgaudit.audit_log.persisted_at IS
    'When it was appended here, by the server''s clock.';
COMMENT ON COLUMN pgaudit.audit_log.action IS
    'What was done: resource.verb.';
COMMENT ON COLUMN pgaudit.audit_log.outcome IS
    'success, failure or denied.';
COMMENT ON COLUMN pgaudit.audit_log.actor_type IS
    'Kind of actor: user, service ...';
COMMENT ON COLUMN pgaudit.audit_log.actor_id IS
    'Identity of the actor among its kind.';
COMMENT ON COLUMN pgaudit.audit_log.target_type IS
    'Kind of the primary (first) target. Further targets are in event_target.';
COMMENT ON COLUMN pgaudit.audit_log.target_id IS
    'Identity of the primary (first) target.';
COMMENT ON COLUMN pgaudit.audit_log.tenant IS
    'Tenant that the event belongs to, in a multi-tenant application.';
COMMENT ON COLUMN pgaudit.audit_log.event IS
    'The whole event, with the server''s recorded_at, recorded_by and xid. Its text is the canonical form that leaf_hash is computed from.';
COMMENT ON COLUMN pgaudit.audit_log.leaf_hash IS
    'SHA-256 of the byte 0x00 followed by event::text in UTF-8 (an RFC 6962 leaf).';
COMMENT ON COLUMN pgaudit.audit_log.conflicts_with IS
    'Index of the first event with the same id, if its content differs; nearly always NULL.';

COMMENT ON TABLE pgaudit.settings IS
    'Settings that every writer and worker shares; one row. Change them with UPDATE, as the owner.';
COMMENT ON COLUMN pgaudit.settings.singleton IS
    'Always true: there is one row.';
COMMENT ON COLUMN pgaudit.settings.max_event_bytes IS
    'Largest event, in bytes of its text as stored, from 16,384 to 65,535.';
COMMENT ON COLUMN pgaudit.settings.partition_size IS
    'Number of events in a new partition of the audit log; a multiple of 256.';
COMMENT ON COLUMN pgaudit.settings.job_error_retention IS
    'How long errors of jobs that have left the queue are kept.';

COMMENT ON TABLE pgaudit.audit_jobs IS
    'The queue: one job for each event that is not in the audit log yet. A child table of procrastinate_jobs.';
COMMENT ON COLUMN pgaudit.audit_jobs.event IS
    'The event, with the server''s stamps.';
COMMENT ON COLUMN pgaudit.audit_jobs.leaf_hash IS
    'Leaf hash of the event as it was recorded: an event that was changed in the queue is not appended.';
COMMENT ON COLUMN pgaudit.audit_jobs.event_bytes IS
    'Size of the event''s text in bytes.';
COMMENT ON COLUMN pgaudit.audit_jobs.stalls IS
    'Number of times that the worker of this job stalled. Above 0, the job runs alone.';

COMMENT ON TABLE pgaudit.event_key IS
    'The id of every event that was ever appended. The primary key makes sure that an event is stored once.';
COMMENT ON COLUMN pgaudit.event_key.event_id IS
    'Id of the event.';
COMMENT ON COLUMN pgaudit.event_key.index IS
    'Index of the event in the log.';

COMMENT ON TABLE pgaudit.event_target IS
    'The second and further targets of events; the first is in audit_log.';
COMMENT ON COLUMN pgaudit.event_target.type IS
    'Kind of the target.';
COMMENT ON COLUMN pgaudit.event_target.id IS
    'Identity of the target among its kind.';
COMMENT ON COLUMN pgaudit.event_target.index IS
    'Index of the event in the log.';

COMMENT ON TABLE pgaudit.event_sighting IS
    'Events that were recorded again with the same content: noted here, not stored again.';
COMMENT ON COLUMN pgaudit.event_sighting.id IS
    'Number of the sighting.';
COMMENT ON COLUMN pgaudit.event_sighting.event_id IS
    'Id of the event.';
COMMENT ON COLUMN pgaudit.event_sighting.index IS
    'Index of the event in the log.';
COMMENT ON COLUMN pgaudit.event_sighting.xid IS
    'Transaction that recorded it again.';
COMMENT ON COLUMN pgaudit.event_sighting.recorded_by IS
    'Database role that recorded it again.';
COMMENT ON COLUMN pgaudit.event_sighting.recorded_at IS
    'When it was recorded again, by the server''s clock.';
COMMENT ON COLUMN pgaudit.event_sighting.leaf_hash IS
    'Leaf hash of the event as it was recorded that time.';

COMMENT ON TABLE pgaudit.event_conflict IS
    'Events that were recorded with an id that the log had already, and other content. Both events are in the log.';
COMMENT ON COLUMN pgaudit.event_conflict.index IS
    'Index of the later event.';
COMMENT ON COLUMN pgaudit.event_conflict.event_id IS
    'The id of both events.';
COMMENT ON COLUMN pgaudit.event_conflict.conflicts_with IS
    'Index of the first event with that id.';
COMMENT ON COLUMN pgaudit.event_conflict.content_hash IS
    'Hash by which events with the same content are found among any number of conflicts.';
COMMENT ON COLUMN pgaudit.event_conflict.recorded_at IS
    'When the later event was recorded, by the server''s clock.';

COMMENT ON TABLE pgaudit.batch IS
    'One row for each transaction that appended to the log, merged by minute after a day: the history of throughput and lag. The last row marks the end of the log.';
COMMENT ON COLUMN pgaudit.batch.first_index IS
    'Index of the first event.';
COMMENT ON COLUMN pgaudit.batch.count IS
    'Number of events.';
COMMENT ON COLUMN pgaudit.batch.batches IS
    'Number of transactions; more than one in a merged row.';
COMMENT ON COLUMN pgaudit.batch.persisted_at IS
    'When they were appended, by the server''s clock.';
COMMENT ON COLUMN pgaudit.batch.oldest_recorded IS
    'recorded_at of the oldest event.';
COMMENT ON COLUMN pgaudit.batch.newest_recorded IS
    'recorded_at of the newest event.';
COMMENT ON COLUMN pgaudit.batch.recorded_until IS
    'recorded_at of the newest event in the log up to here.';
COMMENT ON COLUMN pgaudit.batch.late IS
    'Whether one of these events was recorded more than an hour before another event of the log, up to here.';
COMMENT ON COLUMN pgaudit.batch.worker_id IS
    'Worker that appended them. NULL when merged, in inline mode, or when a worker drained the queue after unregistering.';
COMMENT ON COLUMN pgaudit.batch.lag_buckets IS
    'Histogram of the lags in the whole log up to here: number of events below the first of pgaudit.lag_bucket_bounds(), between the first and the second ..., above the last. NULL when merged.';
COMMENT ON COLUMN pgaudit.batch.lag_total IS
    'Sum of these lags. NULL when merged.';

COMMENT ON TABLE pgaudit.log_lock IS
    'A transaction that appends to the log holds this row locked until it ends: index order is commit order.';
COMMENT ON COLUMN pgaudit.log_lock.singleton IS
    'Always true: there is one row.';

COMMENT ON TABLE pgaudit.queue_watermark IS
    'Where the scan for fresh jobs begins; the highest row is in force.';
COMMENT ON COLUMN pgaudit.queue_watermark.low_watermark IS
    'The id at which the scan begins.';
COMMENT ON COLUMN pgaudit.queue_watermark.max_issued_id IS
    'Highest job id that had been issued when the watermark was set.';
COMMENT ON COLUMN pgaudit.queue_watermark.safe_xid IS
    'All transactions holding a job id up to max_issued_id have a smaller xid than this.';
COMMENT ON COLUMN pgaudit.queue_watermark.passed_xids IS
    'Open transactions that may hold job ids which the watermark has passed. Their jobs are requeued when they have ended.';

COMMENT ON TABLE pgaudit.job_error IS
    'One row for each failed attempt, kept for settings.job_error_retention after the job has left the queue.';
COMMENT ON COLUMN pgaudit.job_error.id IS
    'Number of the error.';
COMMENT ON COLUMN pgaudit.job_error.job_id IS
    'The job that failed.';
COMMENT ON COLUMN pgaudit.job_error.event_id IS
    'ID of its event (text, because a corrupt event may contain an invalid UUID).';
COMMENT ON COLUMN pgaudit.job_error.task_name IS
    'The task that failed.';
COMMENT ON COLUMN pgaudit.job_error.attempt IS
    'Number of the attempt, from 1. After an infrastructure error, the next attempt has the same number.';
COMMENT ON COLUMN pgaudit.job_error.error_class IS
    'Name of the error; JobStalled if the worker stalled.';
COMMENT ON COLUMN pgaudit.job_error.sqlstate IS
    'SQLSTATE, if Postgres raised it.';
COMMENT ON COLUMN pgaudit.job_error.message IS
    'Message of the error, up to 2,000 characters.';
COMMENT ON COLUMN pgaudit.job_error.traceback IS
    'Traceback or context of the error, up to 2,000 characters.';
COMMENT ON COLUMN pgaudit.job_error.failed_at IS
    'When the attempt failed, by the server''s clock.';

COMMENT ON TABLE pgaudit.acknowledged_jobs IS
    'Failed jobs that were acknowledged instead of retried, with their events. Append-only.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.job_id IS
    'Number of the job.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.event IS
    'Its event, which is not in the log.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.leaf_hash IS
    'Leaf hash of the event as it was recorded.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.attempts IS
    'Number of failed attempts.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.error_class IS
    'Name of the last error.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.error_message IS
    'Message of the last error.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.reason IS
    'Why it was acknowledged.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.acknowledged_by IS
    'Database role that acknowledged it.';
COMMENT ON COLUMN pgaudit.acknowledged_jobs.acknowledged_at IS
    'When it was acknowledged, by the server''s clock.';

COMMENT ON TABLE pgaudit.saved_search IS
    'Searches that users of the dashboard keep. Written by save_search and delete_search.';
COMMENT ON COLUMN pgaudit.saved_search.owner IS
    'User whose search it is, as the application names them; no database role.';
COMMENT ON COLUMN pgaudit.saved_search.name IS
    'Name of the search, unique for each owner.';
COMMENT ON COLUMN pgaudit.saved_search.query IS
    'Text of the search.';
COMMENT ON COLUMN pgaudit.saved_search.created_at IS
    'When it was saved last, by the server''s clock.';

COMMENT ON VIEW pgaudit.log_head IS
    'The end of the log.';
COMMENT ON COLUMN pgaudit.log_head.size IS
    'Number of events that were ever appended, and the index of the next one.';

COMMENT ON VIEW pgaudit.queue_stats IS
    'The queue in one row: the number of jobs in each state, and the age of the oldest.';
COMMENT ON COLUMN pgaudit.queue_stats.queue_name IS
    'Name of the queue.';
COMMENT ON COLUMN pgaudit.queue_stats.waiting IS
    'Jobs that a worker could take now. Exact up to 10,000 jobs in the queue; beyond that, ids of rolled-back transactions are counted as well.';
COMMENT ON COLUMN pgaudit.queue_stats.active IS
    'Jobs that a worker has fetched as the first of a batch.';
COMMENT ON COLUMN pgaudit.queue_stats.delayed IS
    'Jobs whose retry is scheduled for later.';
COMMENT ON COLUMN pgaudit.queue_stats.failed IS
    'Jobs whose attempts are used up. They stay until they are retried or acknowledged.';
COMMENT ON COLUMN pgaudit.queue_stats.completed IS
    'Events in the audit log.';
COMMENT ON COLUMN pgaudit.queue_stats.stalled IS
    'Active jobs whose worker was removed, or has sent no heartbeat for longer than its PGAUDIT_STALLED_AFTER.';
COMMENT ON COLUMN pgaudit.queue_stats.oldest_waiting_seconds IS
    'Age in seconds of the oldest event that is not in the audit log yet: waiting, delayed or active; failed jobs do not count. NULL when there is none.';

COMMENT ON VIEW pgaudit.worker_stats IS
    'Running workers, and workers that disappeared without shutting down in the last 24 hours.';
COMMENT ON COLUMN pgaudit.worker_stats.worker_id IS
    'Number of the worker.';
COMMENT ON COLUMN pgaudit.worker_stats.last_heartbeat IS
    'Its last heartbeat.';
COMMENT ON COLUMN pgaudit.worker_stats.heartbeat_age_seconds IS
    'Seconds since its last heartbeat.';
COMMENT ON COLUMN pgaudit.worker_stats.alive IS
    'Whether heartbeat_age_seconds is below its PGAUDIT_STALLED_AFTER.';
COMMENT ON COLUMN pgaudit.worker_stats.active_jobs IS
    'Number of jobs that it runs.';

COMMENT ON VIEW pgaudit.failed_jobs IS
    'Jobs whose attempts are used up, with their last error. Run them again with pgaudit jobs retry, or give them up with pgaudit jobs acknowledge.';
COMMENT ON COLUMN pgaudit.failed_jobs.job_id IS
    'Number of the job.';
COMMENT ON COLUMN pgaudit.failed_jobs.queue_name IS
    'Its queue.';
COMMENT ON COLUMN pgaudit.failed_jobs.task_name IS
    'Its task.';
COMMENT ON COLUMN pgaudit.failed_jobs.event_id IS
    'ID of the event (text, because a corrupt event may contain an invalid UUID).';
COMMENT ON COLUMN pgaudit.failed_jobs.action IS
    'Action of the event.';
COMMENT ON COLUMN pgaudit.failed_jobs.attempts IS
    'Number of attempts.';
COMMENT ON COLUMN pgaudit.failed_jobs.failed_at IS
    'When the last attempt failed.';
COMMENT ON COLUMN pgaudit.failed_jobs.error_class IS
    'Name of its last error.';
COMMENT ON COLUMN pgaudit.failed_jobs.error_message IS
    'Message of its last error.';

COMMENT ON VIEW pgaudit.stalled_jobs IS
    'Running jobs whose worker was removed, or has sent no heartbeat for too long. The next maintenance pass of any worker reclaims them.';
COMMENT ON COLUMN pgaudit.stalled_jobs.job_id IS
    'Number of the job.';
COMMENT ON COLUMN pgaudit.stalled_jobs.queue_name IS
    'Its queue.';
COMMENT ON COLUMN pgaudit.stalled_jobs.task_name IS
    'Its task.';
COMMENT ON COLUMN pgaudit.stalled_jobs.event_id IS
    'ID of the event.';
COMMENT ON COLUMN pgaudit.stalled_jobs.attempts IS
    'Number of earlier attempts.';
COMMENT ON COLUMN pgaudit.stalled_jobs.worker_id IS
    'Worker that runs it; NULL if that worker was removed.';
COMMENT ON COLUMN pgaudit.stalled_jobs.heartbeat_age_seconds IS
    'Seconds since that worker''s last heartbeat; NULL if it was removed.';

COMMENT ON VIEW pgaudit.delayed_jobs IS
    'Jobs whose retry is scheduled for later.';
COMMENT ON COLUMN pgaudit.delayed_jobs.job_id IS
    'Number of the job.';
COMMENT ON COLUMN pgaudit.delayed_jobs.queue_name IS
    'Its queue.';
COMMENT ON COLUMN pgaudit.delayed_jobs.task_name IS
    'Its task.';
COMMENT ON COLUMN pgaudit.delayed_jobs.event_id IS
    'ID of the event.';
COMMENT ON COLUMN pgaudit.delayed_jobs.attempts IS
    'Number of attempts.';
COMMENT ON COLUMN pgaudit.delayed_jobs.scheduled_at IS
    'When it runs again.';
COMMENT ON COLUMN pgaudit.delayed_jobs.last_error IS
    'Message of its last error.';

COMMENT ON VIEW pgaudit.conflicting_events IS
    'Events with an id that the log had already, and other content: an application error, or an attempt to hide an event.';
COMMENT ON COLUMN pgaudit.conflicting_events.index IS
    'Index of the later event.';
COMMENT ON COLUMN pgaudit.conflicting_events.event_id IS
    'The id of both events.';
COMMENT ON COLUMN pgaudit.conflicting_events.conflicts_with IS
    'Index of the first event with that id.';
COMMENT ON COLUMN pgaudit.conflicting_events.recorded_at IS
    'When the later event was recorded.';

COMMENT ON VIEW pgaudit.log_lock_holder IS
    'The transaction that has locked the end of the log; no row if it is not locked. Other appends wait until that transaction ends.';
COMMENT ON COLUMN pgaudit.log_lock_holder.pid IS
    'Process of the session; NULL for a prepared transaction.';
COMMENT ON COLUMN pgaudit.log_lock_holder.prepared_transaction IS
    'Name of a prepared transaction: end it with COMMIT PREPARED or ROLLBACK PREPARED.';
COMMENT ON COLUMN pgaudit.log_lock_holder.role IS
    'Database role.';
COMMENT ON COLUMN pgaudit.log_lock_holder.application_name IS
    'Application name of the session.';
COMMENT ON COLUMN pgaudit.log_lock_holder.since IS
    'When the transaction began; NULL if your role has no right to see it (pg_read_all_stats).';

COMMENT ON VIEW pgaudit.throughput IS
    'Events and lag for each minute of the last 24 hours; the newest minute first.';
COMMENT ON COLUMN pgaudit.throughput.minute IS
    'Start of the minute.';
COMMENT ON COLUMN pgaudit.throughput.events IS
    'Number of events appended in it.';
COMMENT ON COLUMN pgaudit.throughput.batches IS
    'Number of batches.';
COMMENT ON COLUMN pgaudit.throughput.avg_lag_seconds IS
    'Average lag in seconds: the mean of the oldest and the newest event of each batch, weighted by its events.';
COMMENT ON COLUMN pgaudit.throughput.max_lag_seconds IS
    'Highest lag of an event, in seconds.';

COMMENT ON VIEW pgaudit.storage_stats IS
    'Size and bloat of every table and partition of the schema; the largest first.';
COMMENT ON COLUMN pgaudit.storage_stats.table_name IS
    'Table or partition.';
COMMENT ON COLUMN pgaudit.storage_stats.estimated_rows IS
    'Number of rows at the last vacuum or analyze.';
COMMENT ON COLUMN pgaudit.storage_stats.total_bytes IS
    'Bytes on disk, with indexes and TOAST.';
COMMENT ON COLUMN pgaudit.storage_stats.dead_rows IS
    'Number of rows that vacuum has not removed yet.';
COMMENT ON COLUMN pgaudit.storage_stats.last_autovacuum IS
    'Time of the last automatic vacuum.';

COMMENT ON FUNCTION pgaudit.record(jsonb) IS
    'Records a JSON array of audit events in the current transaction. A worker appends them to the audit log after the commit.';
COMMENT ON FUNCTION pgaudit.with_receipts(jsonb) IS
    'Returns the events for record, which then also writes a receipt of each into the WAL (PGAUDIT_WAL_RECEIPTS).';
COMMENT ON FUNCTION pgaudit.record_inline(jsonb) IS
    'Records a JSON array of audit events and appends them to the audit log in the current transaction. All other appends wait until it ends.';
COMMENT ON FUNCTION pgaudit.record_access(jsonb) IS
    'Records an audit event about reading the log (audit.export_started, audit.exported, audit.viewed) in the current transaction, as record does. For readers.';
COMMENT ON FUNCTION pgaudit.save_search(text, text, text) IS
    'Saves a search under owner and name; replaces the one of that name.';
COMMENT ON FUNCTION pgaudit.delete_search(text, text) IS
    'Deletes a saved search. Returns whether there was one.';
COMMENT ON FUNCTION pgaudit.retry_failed(bigint[]) IS
    'Makes failed jobs due again, with all their attempts; NULL means all failed jobs. Returns the ids of those that had failed.';
COMMENT ON FUNCTION pgaudit.acknowledge_job(bigint, text) IS
    'Removes a failed job that can never succeed from the queue, and records that with the reason as an audit event.';
COMMENT ON FUNCTION pgaudit.ensure_partitions() IS
    'Keeps one partition of the audit log ahead of the one that is being filled. Workers call it. Returns how many it created.';
COMMENT ON FUNCTION pgaudit.prune_batches(interval, integer) IS
    'Merges batches older than a day into one row for each minute. Workers call it.';
COMMENT ON FUNCTION pgaudit.prune_job_errors(integer) IS
    'Deletes errors older than settings.job_error_retention of jobs that have left the queue. Workers call it.';
COMMENT ON FUNCTION pgaudit.requeue_skipped_jobs() IS
    'Makes jobs due that the scan for fresh jobs would not find. Workers call it. Returns how many.';
COMMENT ON FUNCTION pgaudit.log_partitions() IS
    'The partitions of the audit log with their ranges of indexes: [first_index, end_index).';
COMMENT ON FUNCTION pgaudit.is_partition_ahead() IS
    'Whether there is a partition after the one that is being filled.';
COMMENT ON FUNCTION pgaudit.index_ranges(timestamptz, timestamptz) IS
    'Ranges of indexes, [first_index, end_index), that hold all events recorded between two times, and few others.';
COMMENT ON FUNCTION pgaudit.column_drift(bigint, bigint) IS
    'Columns of the audit log that differ from their event, for a range of indexes [first, end); no row if all agree.';
COMMENT ON FUNCTION pgaudit.leaf_hash(jsonb) IS
    'RFC 6962 leaf hash of an event: SHA-256 of the byte 0x00 followed by its text in UTF-8.';

COMMENT ON TABLE pgaudit.tile IS
    'The Merkle tree over the log, as complete tiles of 256 hashes (C2SP tlog-tiles). They are kept when events are purged.';
COMMENT ON COLUMN pgaudit.tile.level IS 'Level of the tile: 0 has the leaf hashes, 1 the roots of the tiles of level 0, and so on.';
COMMENT ON COLUMN pgaudit.tile.number IS 'Number of the tile in its level, from 0.';
COMMENT ON COLUMN pgaudit.tile.hashes IS 'Its 256 hashes of 32 bytes, one after the other.';
COMMENT ON COLUMN pgaudit.tile.root IS 'Root of the tree over these hashes: one hash of the level above.';
COMMENT ON TABLE pgaudit.checkpoint IS
    'Signed statements of how many events the log had and of the root of their tree (C2SP tlog-checkpoint).';
COMMENT ON COLUMN pgaudit.checkpoint.size IS 'How many events the log had.';
COMMENT ON COLUMN pgaudit.checkpoint.note IS 'The signed note: name of the log, size, root, and signatures.';
COMMENT ON COLUMN pgaudit.checkpoint.signed_at IS 'When it was stored, by the clock of the database. Not signed.';
COMMENT ON TABLE pgaudit.verification IS 'Results of verifying the log against its tree and checkpoints.';
COMMENT ON COLUMN pgaudit.verification.id IS 'Number of the verification.';
COMMENT ON COLUMN pgaudit.verification.first_index IS 'First index that was verified.';
COMMENT ON COLUMN pgaudit.verification.end_index IS 'The index after the last one that was verified.';
COMMENT ON COLUMN pgaudit.verification.whole IS 'Whether that is all that the log has, or what was new.';
COMMENT ON COLUMN pgaudit.verification.level IS
    'The level of assurance that was reached: hashed, sealed, signed, anchored or witnessed; NULL if there are findings.';
COMMENT ON COLUMN pgaudit.verification.findings IS 'How many findings there were. After any, no checkpoint is signed.';
COMMENT ON COLUMN pgaudit.verification.found IS
    'The first findings, 20 at most: name, message, and where they are known, index and event_id.';
COMMENT ON COLUMN pgaudit.verification.verified_at IS 'When it was finished, by the clock of the database.';
COMMENT ON COLUMN pgaudit.verification.verified_by IS 'Role that verified.';
COMMENT ON TABLE pgaudit.sealing_state IS 'When the log was sealed last, and why it is not sealed at the moment.';
COMMENT ON COLUMN pgaudit.sealing_state.singleton IS 'Always true: the table has one row.';
COMMENT ON COLUMN pgaudit.sealing_state.sealed_at IS 'When a process last sealed all events that the log had.';
COMMENT ON COLUMN pgaudit.sealing_state.refused IS 'Why the log is not signed; NULL if it is.';
COMMENT ON COLUMN pgaudit.sealing_state.refused_since IS 'Since when it is not signed.';
COMMENT ON COLUMN pgaudit.sealing_state.heartbeat_at IS 'When the last audit.heartbeat was recorded.';
COMMENT ON COLUMN pgaudit.sealing_state.verifying_at IS 'When a worker last said that it verifies.';

COMMENT ON TABLE pgaudit.anchor IS
    'The anchors in use, places outside the database that checkpoints are sent to, and how far each of them is.';
COMMENT ON COLUMN pgaudit.anchor.name IS 'Its URL, without token and options.';
COMMENT ON COLUMN pgaudit.anchor.size IS 'Size of the largest checkpoint that it took; 0 before the first.';
COMMENT ON COLUMN pgaudit.anchor.anchored_at IS 'When it last took a checkpoint.';
COMMENT ON COLUMN pgaudit.anchor.attempts IS 'Failed attempts since then.';
COMMENT ON COLUMN pgaudit.anchor.failed_at IS 'When it last failed; NULL after a success.';
COMMENT ON COLUMN pgaudit.anchor.error IS 'Why it last failed; NULL after a success. Without secrets.';
COMMENT ON COLUMN pgaudit.anchor.next_attempt_at IS 'When it may be tried next.';
COMMENT ON TABLE pgaudit.anchor_receipt IS
    'What anchors answered that proves something by itself: time stamps (RFC 3161) and signatures of witnesses.';
COMMENT ON COLUMN pgaudit.anchor_receipt.name IS 'The anchor: its URL, without token and options.';
COMMENT ON COLUMN pgaudit.anchor_receipt.size IS 'Size of the checkpoint.';
COMMENT ON COLUMN pgaudit.anchor_receipt.receipt IS
    'The answer: a time stamp in base64, or lines with signatures.';
COMMENT ON COLUMN pgaudit.anchor_receipt.received_at IS 'When it was stored, by the clock of the database.';
COMMENT ON VIEW pgaudit.failed_verifications IS
    'Verifications with findings that stand: no later verification of the same events has found nothing.';
COMMENT ON COLUMN pgaudit.failed_verifications.id IS 'Number of the verification.';
COMMENT ON COLUMN pgaudit.failed_verifications.first_index IS 'First index that was verified.';
COMMENT ON COLUMN pgaudit.failed_verifications.end_index IS 'The index after the last one that was verified.';
COMMENT ON COLUMN pgaudit.failed_verifications.findings IS 'How many findings there were.';
COMMENT ON COLUMN pgaudit.failed_verifications.found IS
    'The first findings, 20 at most: name, message, and where they are known, index and event_id.';
COMMENT ON COLUMN pgaudit.failed_verifications.verified_at IS 'When it was finished, by the clock of the database.';
COMMENT ON COLUMN pgaudit.failed_verifications.verified_by IS 'Role that verified.';
COMMENT ON VIEW pgaudit.sealing_stats IS
    'How far the log is signed and verified: one row. What it says comes from the database itself; `pgaudit verify` with a public key trusts nothing in it.';
COMMENT ON COLUMN pgaudit.sealing_stats.size IS 'Number of events in the log.';
COMMENT ON COLUMN pgaudit.sealing_stats.checkpoint_size IS 'How many of them the newest checkpoint covers; NULL before the first.';
COMMENT ON COLUMN pgaudit.sealing_stats.signed_at IS 'When the newest checkpoint was stored, by the clock of the database.';
COMMENT ON COLUMN pgaudit.sealing_stats.unsigned_events IS 'How many events no checkpoint covers yet.';
COMMENT ON COLUMN pgaudit.sealing_stats.unsigned_seconds IS 'How long the oldest of them has been in the log; 0 without checkpoints.';
COMMENT ON COLUMN pgaudit.sealing_stats.refused IS 'Why the log is not signed; NULL if it is.';
COMMENT ON COLUMN pgaudit.sealing_stats.refused_since IS 'Since when it is not signed.';
COMMENT ON COLUMN pgaudit.sealing_stats.verifying IS 'Whether a worker is verifying the log now.';
COMMENT ON COLUMN pgaudit.sealing_stats.verified_end IS 'The index after the last event that a worker has verified.';
COMMENT ON COLUMN pgaudit.sealing_stats.verified_at IS 'When the last verification without findings was finished, whole or of what was new.';
COMMENT ON COLUMN pgaudit.sealing_stats.fully_verified_first IS
    'Where the last verification of the whole log began: 0, or the first index that the log still had.';
COMMENT ON COLUMN pgaudit.sealing_stats.fully_verified_end IS 'The index after the last event of it.';
COMMENT ON COLUMN pgaudit.sealing_stats.fully_verified_at IS 'When it was finished.';
COMMENT ON COLUMN pgaudit.sealing_stats.level IS
    'The level of assurance that it has reached: hashed, sealed, signed, anchored or witnessed.';
COMMENT ON COLUMN pgaudit.sealing_stats.failed_at IS 'When a verification last had findings that stand; NULL if none stand.';
COMMENT ON COLUMN pgaudit.sealing_stats.findings IS 'How many findings it had.';
COMMENT ON COLUMN pgaudit.sealing_stats.found IS
    'The first of them, 20 at most: name, message, and where they are known, index and event_id.';
COMMENT ON VIEW pgaudit.anchor_stats IS 'Each anchor in use with its lag.';
COMMENT ON COLUMN pgaudit.anchor_stats.name IS 'Its URL, without token and options.';
COMMENT ON COLUMN pgaudit.anchor_stats.size IS 'Size of the largest checkpoint that it took; 0 before the first.';
COMMENT ON COLUMN pgaudit.anchor_stats.anchored_at IS 'When it last took a checkpoint.';
COMMENT ON COLUMN pgaudit.anchor_stats.lag_seconds IS
    'Age of the oldest checkpoint that it does not cover, in seconds; 0 if it covers all.';
COMMENT ON COLUMN pgaudit.anchor_stats.attempts IS 'Failed attempts since then.';
COMMENT ON COLUMN pgaudit.anchor_stats.failed_at IS 'When it last failed; NULL after a success.';
COMMENT ON COLUMN pgaudit.anchor_stats.error IS 'Why it last failed; NULL after a success. Without secrets.';
COMMENT ON COLUMN pgaudit.anchor_stats.next_attempt_at IS 'When it may be tried next.';
COMMENT ON TABLE pgaudit.target_period IS
    'Days and years whose index of targets is sealed: which targets occur at which indexes, as a sorted Merkle tree.';
COMMENT ON COLUMN pgaudit.target_period.period IS 'A day in UTC, such as 2026-11-26, or a year, such as 2026.';
COMMENT ON COLUMN pgaudit.target_period.first_index IS 'Index of its first event.';
COMMENT ON COLUMN pgaudit.target_period.end_index IS 'Index after its last event: the size of the checkpoint that closed it.';
COMMENT ON COLUMN pgaudit.target_period.targets IS 'How many different targets its events have.';
COMMENT ON COLUMN pgaudit.target_period.root IS 'Root of the tree over them.';
COMMENT ON COLUMN pgaudit.target_period.event_id IS 'Id of the event audit.targets_sealed that puts the root into the log.';
COMMENT ON COLUMN pgaudit.target_period.closed_at IS 'When it was closed, by the server''s clock.';

COMMENT ON TABLE pgaudit.target_tile IS
    'The leaves of the trees of target_period, 256 in a row. Those of days are removed when their year is sealed.';
COMMENT ON COLUMN pgaudit.target_tile.period IS 'The day or year.';
COMMENT ON COLUMN pgaudit.target_tile.first_key IS 'The first of the keys.';
COMMENT ON COLUMN pgaudit.target_tile.number IS 'Number of the row in its period, from 0.';
COMMENT ON COLUMN pgaudit.target_tile.keys IS 'SHA-256 of type, a byte 0, and id of each target, ascending.';
COMMENT ON COLUMN pgaudit.target_tile.digests IS 'SHA-256 of the indexes of each target, each in 8 bytes, the highest first.';
COMMENT ON COLUMN pgaudit.target_tile.root IS 'Root of the tree over these leaves.';
COMMENT ON TABLE pgaudit.target_lock IS 'One row, locked by the process that closes periods of the index of targets.';
COMMENT ON COLUMN pgaudit.target_lock.singleton IS 'Always true: the table has one row.';

COMMENT ON TABLE pgaudit.captured_table IS
    'Tables whose changes triggers record as events. Change it with pgaudit.add_capture.';
COMMENT ON COLUMN pgaudit.captured_table.id IS
    'Number in the name of the generated function: capture_1.';
COMMENT ON COLUMN pgaudit.captured_table.relation IS
    'The table.';
COMMENT ON COLUMN pgaudit.captured_table.target_type IS
    'Type of the target of its events, such as claim.';
COMMENT ON COLUMN pgaudit.captured_table.key_columns IS
    'Columns of the key, whose values are the id of the target.';
COMMENT ON COLUMN pgaudit.captured_table.action IS
    'What the actions of captured events begin with.';
COMMENT ON COLUMN pgaudit.captured_table.columns IS
    'Columns that are recorded; NULL for all.';
COMMENT ON COLUMN pgaudit.captured_table.excluded IS
    'Columns that do not count: a change of these alone is no change.';
COMMENT ON COLUMN pgaudit.captured_table.masked IS
    'Columns whose changes are recorded without their values.';
COMMENT ON COLUMN pgaudit.captured_table.condition IS
    'An UPDATE counts only where this SQL holds.';
COMMENT ON COLUMN pgaudit.captured_table.renamed_columns IS
    'Present names of columns that the condition calls otherwise: {"status": "state"}.';
COMMENT ON COLUMN pgaudit.captured_table.known_columns IS
    'Numbers of all columns by name, as of the last generation of the functions.';
COMMENT ON COLUMN pgaudit.captured_table.added_at IS
    'When it was added, or changed last.';
COMMENT ON COLUMN pgaudit.captured_table.added_by IS
    'Role that did so.';
COMMENT ON COLUMN pgaudit.captured_table.paused_at IS
    'Since when it is paused; NULL if it is not.';
COMMENT ON COLUMN pgaudit.captured_table.paused_by IS
    'Role that has paused it.';

COMMENT ON TABLE pgaudit.guarded_table IS
    'Tables whose rows no transaction changes without an event for them. Change it with pgaudit.add_guard.';
COMMENT ON COLUMN pgaudit.guarded_table.id IS
    'Number in the name of the generated function: guard_1.';
COMMENT ON COLUMN pgaudit.guarded_table.relation IS
    'The table.';
COMMENT ON COLUMN pgaudit.guarded_table.target_type IS
    'Type of the target of its events, such as claim.';
COMMENT ON COLUMN pgaudit.guarded_table.key_columns IS
    'Columns of the key, whose values are the id of the target.';
COMMENT ON COLUMN pgaudit.guarded_table.action IS
    'What the actions of captured events begin with.';
COMMENT ON COLUMN pgaudit.guarded_table.actions IS
    'Pattern of the action for each operation, such as {"update": "claim.*"}; any action for one left out.';
COMMENT ON COLUMN pgaudit.guarded_table.on_missing IS
    'What happens without an event: abort, capture or warn.';
COMMENT ON COLUMN pgaudit.guarded_table.with_changes IS
    'Whether the event must have the changes, too.';
COMMENT ON COLUMN pgaudit.guarded_table.columns IS
    'Columns that are recorded; NULL for all.';
COMMENT ON COLUMN pgaudit.guarded_table.excluded IS
    'Columns that do not count: a change of these alone is no change.';
COMMENT ON COLUMN pgaudit.guarded_table.masked IS
    'Columns whose changes are recorded without their values.';
COMMENT ON COLUMN pgaudit.guarded_table.condition IS
    'An UPDATE counts only where this SQL holds.';
COMMENT ON COLUMN pgaudit.guarded_table.renamed_columns IS
    'Present names of columns that the condition calls otherwise: {"status": "state"}.';
COMMENT ON COLUMN pgaudit.guarded_table.known_columns IS
    'Numbers of all columns by name, as of the last generation of the functions.';
COMMENT ON COLUMN pgaudit.guarded_table.added_at IS
    'When it was added, or changed last.';
COMMENT ON COLUMN pgaudit.guarded_table.added_by IS
    'Role that did so.';
COMMENT ON COLUMN pgaudit.guarded_table.paused_at IS
    'Since when it is paused; NULL if it is not.';
COMMENT ON COLUMN pgaudit.guarded_table.paused_by IS
    'Role that has paused it.';

COMMENT ON TABLE pgaudit.guarded_change IS
    'What running transactions have changed in guarded tables, until they commit.';
COMMENT ON COLUMN pgaudit.guarded_change.xid IS
    'Transaction that has changed rows.';
COMMENT ON COLUMN pgaudit.guarded_change.number IS
    'Order of its statements.';
COMMENT ON COLUMN pgaudit.guarded_change.guard IS
    'Id in guarded_table.';
COMMENT ON COLUMN pgaudit.guarded_change.operation IS
    'insert, update or delete.';
COMMENT ON COLUMN pgaudit.guarded_change.keys IS
    'Keys of the changed rows.';
COMMENT ON COLUMN pgaudit.guarded_change.new_keys IS
    'Keys after the change: others where the key was changed.';
COMMENT ON COLUMN pgaudit.guarded_change.events IS
    'Captured events of the rows, if the guard needs them.';

COMMENT ON TABLE pgaudit.unrecorded_change IS
    'Changes of guarded tables without an event that a guard with on_missing = warn has let pass.';
COMMENT ON COLUMN pgaudit.unrecorded_change.id IS
    'Number of the finding.';
COMMENT ON COLUMN pgaudit.unrecorded_change.relation IS
    'The table.';
COMMENT ON COLUMN pgaudit.unrecorded_change.operation IS
    'insert, update, delete or truncate.';
COMMENT ON COLUMN pgaudit.unrecorded_change.count IS
    'Number of rows.';
COMMENT ON COLUMN pgaudit.unrecorded_change.targets IS
    'The first five targets.';
COMMENT ON COLUMN pgaudit.unrecorded_change.xid IS
    'Transaction that changed them.';
COMMENT ON COLUMN pgaudit.unrecorded_change.recorded_by IS
    'Role that logged in.';
COMMENT ON COLUMN pgaudit.unrecorded_change.application_name IS
    'Name of the session''s application.';
COMMENT ON COLUMN pgaudit.unrecorded_change.found_at IS
    'When it was found.';
COMMENT ON COLUMN pgaudit.unrecorded_change.told_at IS
    'When a worker sent the signal unrecorded_change for it.';

COMMENT ON VIEW pgaudit.table_coverage IS
    'The tables of the application, partitions counted with their parent: which are captured or guarded, and which are neither.';
COMMENT ON COLUMN pgaudit.table_coverage.schema_name IS
    'Schema of the table.';
COMMENT ON COLUMN pgaudit.table_coverage.table_name IS
    'Name of the table.';
COMMENT ON COLUMN pgaudit.table_coverage.capture IS
    'captured, paused, or broken: a trigger is missing or disabled without a pause. NULL without capture.';
COMMENT ON COLUMN pgaudit.table_coverage.guard IS
    'guarded, paused or broken, likewise. NULL without a guard.';
COMMENT ON COLUMN pgaudit.table_coverage.on_missing IS
    'What its guard does about a change without an event: abort, capture or warn.';
COMMENT ON COLUMN pgaudit.table_coverage.target_type IS
    'Type of the targets of its events.';
COMMENT ON COLUMN pgaudit.table_coverage.estimated_rows IS
    'Number of rows at the last vacuum or analyze; before the first, as counted by the statistics.';
COMMENT ON COLUMN pgaudit.table_coverage.changed_rows IS
    'Number of rows inserted, updated and deleted since the statistics were reset.';
COMMENT ON COLUMN pgaudit.table_coverage.last_event_at IS
    'When the newest event in the log was recorded that has an action of its capture, such as claim.updated. With a guard alone: whose action begins as the guard expects, such as claim. NULL if there is none.';
COMMENT ON COLUMN pgaudit.table_coverage.unrecorded_changes IS
    'Number of rows changed without an event in the last day, as a guard with on_missing = warn has counted.';
COMMENT ON COLUMN pgaudit.table_coverage.added_at IS
    'When it was captured, or guarded if it is not captured: since then it may have events. NULL with neither.';
COMMENT ON FUNCTION pgaudit.claim_unrecorded_changes() IS
    'Returns changes without an event that no worker has reported yet, and marks them as reported.';

COMMENT ON FUNCTION pgaudit.add_capture(regclass, text, text[], text, text[], text[], text[], text, jsonb) IS
    'Captures a table: records an event for each inserted, updated and deleted row, whoever changes it.';

COMMENT ON FUNCTION pgaudit.remove_capture(regclass) IS
    'Ends the capture of a table.';

COMMENT ON FUNCTION pgaudit.pause_capture(regclass, boolean) IS
    'Interrupts the capture of a table, or resumes it.';

COMMENT ON FUNCTION pgaudit.add_guard(regclass, text, text[], text, jsonb, boolean, text, text[], text[], text[], text, jsonb) IS
    'Guards a table: a transaction that changes a row must record an event for it.';

COMMENT ON FUNCTION pgaudit.remove_guard(regclass) IS
    'Ends the guard of a table.';

COMMENT ON FUNCTION pgaudit.pause_guard(regclass, boolean) IS
    'Interrupts the guard of a table, or resumes it.';

COMMENT ON FUNCTION pgaudit.record_uncaptured(jsonb) IS
    'Records the events of changes that no trigger captures.';

COMMENT ON FUNCTION pgaudit.renew_capture(regclass) IS
    'Adds the capture of a table again with the same options, which adapts it to what the table is now.';

COMMENT ON FUNCTION pgaudit.renew_guard(regclass) IS
    'Adds the guard of a table again with the same options, which adapts it to what the table is now.';

COMMENT ON FUNCTION pgaudit.tend_captures() IS
    'Adds missing triggers of TRUNCATE to partitions, and ends the captures and guards of dropped tables. Workers call it.';

COMMENT ON FUNCTION pgaudit.capture_problems() IS
    'Captured and guarded tables whose changes may pass: purpose, table and what is wrong.';

COMMENT ON VIEW pgaudit.capture_state IS
    'Captured tables as they are now.';
COMMENT ON COLUMN pgaudit.capture_state.schema_name IS
    'Schema of the table.';
COMMENT ON COLUMN pgaudit.capture_state.table_name IS
    'Name of the table.';
COMMENT ON COLUMN pgaudit.capture_state.target_type IS
    'Type of the target of its events, such as claim.';
COMMENT ON COLUMN pgaudit.capture_state.key_columns IS
    'Columns of the key, by their present names.';
COMMENT ON COLUMN pgaudit.capture_state.action IS
    'What the actions of captured events begin with.';
COMMENT ON COLUMN pgaudit.capture_state.columns IS
    'Columns that are recorded, by their present names; NULL for all.';
COMMENT ON COLUMN pgaudit.capture_state.excluded IS
    'Columns that are not recorded.';
COMMENT ON COLUMN pgaudit.capture_state.masked IS
    'Columns whose changes are recorded without their values.';
COMMENT ON COLUMN pgaudit.capture_state.condition IS
    'An UPDATE is recorded only where this SQL holds.';
COMMENT ON COLUMN pgaudit.capture_state.level IS
    'What its triggers fire for, statement or row; NULL if they are missing.';
COMMENT ON COLUMN pgaudit.capture_state.level_reason IS
    'Why the triggers must fire for each row; NULL if they may fire for each statement.';
COMMENT ON COLUMN pgaudit.capture_state.children IS
    'Tables that inherit from it, without its partitions.';
COMMENT ON COLUMN pgaudit.capture_state.problem IS
    'Why changes may pass without an event; NULL if none does, or it is paused.';
COMMENT ON COLUMN pgaudit.capture_state.added_at IS
    'When it was added, or changed last.';
COMMENT ON COLUMN pgaudit.capture_state.added_by IS
    'Role that did so.';
COMMENT ON COLUMN pgaudit.capture_state.paused_at IS
    'Since when it is paused; NULL if it is not.';
COMMENT ON COLUMN pgaudit.capture_state.paused_by IS
    'Role that has paused it.';

COMMENT ON VIEW pgaudit.guard_state IS
    'Guarded tables as they are now.';
COMMENT ON COLUMN pgaudit.guard_state.schema_name IS
    'Schema of the table.';
COMMENT ON COLUMN pgaudit.guard_state.table_name IS
    'Name of the table.';
COMMENT ON COLUMN pgaudit.guard_state.target_type IS
    'Type of the target of its events, such as claim.';
COMMENT ON COLUMN pgaudit.guard_state.key_columns IS
    'Columns of the key, by their present names.';
COMMENT ON COLUMN pgaudit.guard_state.action IS
    'What the actions of captured events begin with.';
COMMENT ON COLUMN pgaudit.guard_state.on_missing IS
    'What happens without an event: abort, capture or warn.';
COMMENT ON COLUMN pgaudit.guard_state.actions IS
    'Pattern of the action for each operation; any action for one left out.';
COMMENT ON COLUMN pgaudit.guard_state.with_changes IS
    'Whether the event must have the changes, too.';
COMMENT ON COLUMN pgaudit.guard_state.columns IS
    'Columns that are guarded, by their present names; NULL for all.';
COMMENT ON COLUMN pgaudit.guard_state.excluded IS
    'Columns that may change without an event.';
COMMENT ON COLUMN pgaudit.guard_state.masked IS
    'Columns whose changes are captured without their values.';
COMMENT ON COLUMN pgaudit.guard_state.condition IS
    'An UPDATE counts only where this SQL holds.';
COMMENT ON COLUMN pgaudit.guard_state.level IS
    'What its triggers fire for, statement or row; NULL if they are missing.';
COMMENT ON COLUMN pgaudit.guard_state.level_reason IS
    'Why the triggers must fire for each row; NULL if they may fire for each statement.';
COMMENT ON COLUMN pgaudit.guard_state.children IS
    'Tables that inherit from it, without its partitions.';
COMMENT ON COLUMN pgaudit.guard_state.problem IS
    'Why changes may pass unnoticed; NULL if none does, or it is paused.';
COMMENT ON COLUMN pgaudit.guard_state.added_at IS
    'When it was added, or changed last.';
COMMENT ON COLUMN pgaudit.guard_state.added_by IS
    'Role that did so.';
COMMENT ON COLUMN pgaudit.guard_state.paused_at IS
    'Since when it is paused; NULL if it is not.';
COMMENT ON COLUMN pgaudit.guard_state.paused_by IS
    'Role that has paused it.';

COMMENT ON TABLE pgaudit.stream IS
    'What follows the log by its index: destinations that get the events, processors, and cursors of the application.';
COMMENT ON COLUMN pgaudit.stream.name IS
    'Name of the stream; of a cursor cursor:ROLE:NAME, with the role that it belongs to.';
COMMENT ON COLUMN pgaudit.stream.kind IS
    'destination, processor or cursor.';
COMMENT ON COLUMN pgaudit.stream.url IS
    'Where a destination is; it refers to secrets and holds none.';
COMMENT ON COLUMN pgaudit.stream.query IS
    'Which events, as a search; all when empty.';
COMMENT ON COLUMN pgaudit.stream.form IS
    'Form of the events: native, cloudevents, ocsf or ecs.';
COMMENT ON COLUMN pgaudit.stream.ordered IS
    'Whether later events of a target wait behind one that was refused.';
COMMENT ON COLUMN pgaudit.stream.allow_private IS
    'Whether the destination may have an address of a private network.';
COMMENT ON COLUMN pgaudit.stream.added_at IS
    'When it was added.';
COMMENT ON COLUMN pgaudit.stream.added_by IS
    'Database role that added it.';
COMMENT ON COLUMN pgaudit.stream.paused_at IS
    'When it was paused; null while it runs.';
COMMENT ON COLUMN pgaudit.stream.paused_by IS
    'Who paused it: the user that an application has named, as type:id, or a database role; worker if no person did.';
COMMENT ON COLUMN pgaudit.stream.pause_kind IS
    'Why it is paused: asked, refused by the destination, failing for days, or a mismatch with the log.';
COMMENT ON COLUMN pgaudit.stream.pause_reason IS
    'The reason in words.';
COMMENT ON TABLE pgaudit.stream_position IS
    'How far a stream is. A worker locks its row while it sends.';
COMMENT ON COLUMN pgaudit.stream_position.name IS
    'Name of the stream.';
COMMENT ON COLUMN pgaudit.stream_position.next_index IS
    'Index of the event that it goes on with.';
COMMENT ON COLUMN pgaudit.stream_position.last_index IS
    'Index of the last event that was accepted.';
COMMENT ON COLUMN pgaudit.stream_position.last_hash IS
    'Leaf hash of that event.';
COMMENT ON COLUMN pgaudit.stream_position.delivered IS
    'Number of events that were accepted, those sent again included.';
COMMENT ON COLUMN pgaudit.stream_position.delivered_at IS
    'When events were accepted last.';
COMMENT ON COLUMN pgaudit.stream_position.attempts IS
    'Failed attempts since then.';
COMMENT ON COLUMN pgaudit.stream_position.failing_since IS
    'When the first of these attempts failed.';
COMMENT ON COLUMN pgaudit.stream_position.next_attempt_at IS
    'When the next attempt is due.';
COMMENT ON COLUMN pgaudit.stream_position.error IS
    'Why the last one failed.';
COMMENT ON COLUMN pgaudit.stream_position.started_at IS
    'When the stream was added, or set back last.';
COMMENT ON TABLE pgaudit.delivery IS
    'What was sent to destinations, or could not be: a row for each attempt that failed, and one for what went well within a minute. Kept for 30 days.';
COMMENT ON COLUMN pgaudit.delivery.id IS
    'Number of the row.';
COMMENT ON COLUMN pgaudit.delivery.stream IS
    'Name of the stream.';
COMMENT ON COLUMN pgaudit.delivery.status IS
    'delivered, replayed, failed, skipped, discarded or rewound; parked if all events of a new chunk were refused.';
COMMENT ON COLUMN pgaudit.delivery.from_index IS
    'First index of the range.';
COMMENT ON COLUMN pgaudit.delivery.to_index IS
    'Last index of the range; where it was set to, if rewound.';
COMMENT ON COLUMN pgaudit.delivery.events IS
    'Number of events.';
COMMENT ON COLUMN pgaudit.delivery.parked IS
    'Number of the events that were parked.';
COMMENT ON COLUMN pgaudit.delivery.bytes IS
    'Bytes that were sent.';
COMMENT ON COLUMN pgaudit.delivery.chunks IS
    'Number of chunks that were sent.';
COMMENT ON COLUMN pgaudit.delivery.seconds IS
    'Seconds that they took together.';
COMMENT ON COLUMN pgaudit.delivery.attempts IS
    'Which attempt this was.';
COMMENT ON COLUMN pgaudit.delivery.error IS
    'Why it failed, or was left out.';
COMMENT ON COLUMN pgaudit.delivery.started_at IS
    'When the first chunk began.';
COMMENT ON COLUMN pgaudit.delivery.ended_at IS
    'When the last one ended.';
COMMENT ON TABLE pgaudit.parked IS
    'Events that a destination has refused for good, and those that wait behind one of the same target.';
COMMENT ON COLUMN pgaudit.parked.stream IS
    'Name of the stream.';
COMMENT ON COLUMN pgaudit.parked.index IS
    'Index of the event.';
COMMENT ON COLUMN pgaudit.parked.target IS
    'First target of the event, as type:id.';
COMMENT ON COLUMN pgaudit.parked.behind IS
    'Index of the event that it waits for; null if it was refused itself.';
COMMENT ON COLUMN pgaudit.parked.attempts IS
    'How often it was sent.';
COMMENT ON COLUMN pgaudit.parked.error IS
    'Why it was refused last.';
COMMENT ON COLUMN pgaudit.parked.parked_at IS
    'When it was parked.';
COMMENT ON COLUMN pgaudit.parked.retry_at IS
    'When it is sent again; null until someone retries it.';
COMMENT ON TABLE pgaudit.stream_replay IS
    'Ranges that are sent again, one for each stream, while there is nothing newer to send.';
COMMENT ON COLUMN pgaudit.stream_replay.stream IS
    'Name of the stream.';
COMMENT ON COLUMN pgaudit.stream_replay.from_index IS
    'First index of the range.';
COMMENT ON COLUMN pgaudit.stream_replay.to_index IS
    'Last index of the range.';
COMMENT ON COLUMN pgaudit.stream_replay.next_index IS
    'Index of the event that it goes on with.';
COMMENT ON COLUMN pgaudit.stream_replay.events IS
    'Number of events that were sent again.';
COMMENT ON COLUMN pgaudit.stream_replay.asked_at IS
    'When it was asked for.';
COMMENT ON COLUMN pgaudit.stream_replay.asked_by IS
    'Who asked: the user that an application has named, as type:id, or a database role.';
COMMENT ON COLUMN pgaudit.stream_replay.attempts IS
    'Failed attempts since events were accepted last.';
COMMENT ON COLUMN pgaudit.stream_replay.next_attempt_at IS
    'When the next attempt is due.';
COMMENT ON COLUMN pgaudit.stream_replay.error IS
    'Why the last one failed.';
COMMENT ON VIEW pgaudit.stream_stats IS
    'Each stream: how far it is, how far behind the log, and how it does.';
COMMENT ON COLUMN pgaudit.stream_stats.name IS
    'Name of the stream; of a cursor cursor:ROLE:NAME, with the role that it belongs to.';
COMMENT ON COLUMN pgaudit.stream_stats.kind IS
    'destination, processor or cursor.';
COMMENT ON COLUMN pgaudit.stream_stats.url IS
    'Where a destination is.';
COMMENT ON COLUMN pgaudit.stream_stats.query IS
    'Which events, as a search.';
COMMENT ON COLUMN pgaudit.stream_stats.form IS
    'Form of the events.';
COMMENT ON COLUMN pgaudit.stream_stats.ordered IS
    'Whether later events of a target wait behind one that was refused.';
COMMENT ON COLUMN pgaudit.stream_stats.allow_private IS
    'Whether an address of a private network is allowed.';
COMMENT ON COLUMN pgaudit.stream_stats.state IS
    'active, failing or paused.';
COMMENT ON COLUMN pgaudit.stream_stats.paused_at IS
    'When it was paused.';
COMMENT ON COLUMN pgaudit.stream_stats.paused_by IS
    'Who paused it: the user that an application has named, as type:id, or a database role; worker if no person did.';
COMMENT ON COLUMN pgaudit.stream_stats.pause_kind IS
    'asked, refused, failing or mismatch.';
COMMENT ON COLUMN pgaudit.stream_stats.pause_reason IS
    'The reason in words.';
COMMENT ON COLUMN pgaudit.stream_stats.next_index IS
    'Index of the event that it goes on with.';
COMMENT ON COLUMN pgaudit.stream_stats.lag_events IS
    'Events of the log that it has not got to yet, whether they match or not.';
COMMENT ON COLUMN pgaudit.stream_stats.lag_seconds IS
    'Age of the oldest of them, since it was appended.';
COMMENT ON COLUMN pgaudit.stream_stats.delivered IS
    'Number of events that were accepted.';
COMMENT ON COLUMN pgaudit.stream_stats.delivered_at IS
    'When events were accepted last.';
COMMENT ON COLUMN pgaudit.stream_stats.attempts IS
    'Failed attempts since then.';
COMMENT ON COLUMN pgaudit.stream_stats.failing_since IS
    'When the first of them failed.';
COMMENT ON COLUMN pgaudit.stream_stats.next_attempt_at IS
    'When the next attempt is due.';
COMMENT ON COLUMN pgaudit.stream_stats.error IS
    'Why the last one failed.';
COMMENT ON COLUMN pgaudit.stream_stats.events_per_second IS
    'Accepted events per second, over the last 5 minutes.';
COMMENT ON COLUMN pgaudit.stream_stats.failures_last_day IS
    'Failed attempts of the last 24 hours.';
COMMENT ON COLUMN pgaudit.stream_stats.parked IS
    'Number of parked events.';
COMMENT ON COLUMN pgaudit.stream_stats.added_at IS
    'When it was added.';
COMMENT ON COLUMN pgaudit.stream_stats.added_by IS
    'Database role that added it.';
COMMENT ON COLUMN pgaudit.stream_stats.replay_from IS
    'First index of the range that is sent again; null if none is.';
COMMENT ON COLUMN pgaudit.stream_stats.replay_to IS
    'Last index of that range.';
COMMENT ON COLUMN pgaudit.stream_stats.replay_next IS
    'Index of the event that the replay goes on with.';
COMMENT ON COLUMN pgaudit.stream_stats.replay_error IS
    'Why its last attempt failed.';

COMMENT ON TABLE pgaudit.processor IS
    'Functions of the application that get a job for each event they ask for: their limits, and how their jobs end.';
COMMENT ON COLUMN pgaudit.processor.name IS
    'Name of the processor, and of its stream.';
COMMENT ON COLUMN pgaudit.processor.concurrency IS
    'Most jobs that run at the same time, in all workers together; null without a limit.';
COMMENT ON COLUMN pgaudit.processor.rate IS
    'Most jobs that are begun in a second, in all workers together; null without a limit.';
COMMENT ON COLUMN pgaudit.processor.break_after IS
    'Failed attempts in a row after which it is paused as failing; null for never.';
COMMENT ON COLUMN pgaudit.processor.known_at IS
    'When a worker has last said that it knows this processor; each does once per minute.';
COMMENT ON COLUMN pgaudit.processor.next_at IS
    'When the rate allows the next job.';
COMMENT ON COLUMN pgaudit.processor.probe_at IS
    'When the next job is tried, while it is paused as failing.';
COMMENT ON COLUMN pgaudit.processor.failures IS
    'Failed attempts in a row, of any of its jobs that had not failed before the last success.';
COMMENT ON COLUMN pgaudit.processor.succeeded IS
    'Number of jobs that were done.';
COMMENT ON COLUMN pgaudit.processor.discarded IS
    'Number of jobs that it has discarded.';
COMMENT ON COLUMN pgaudit.processor.per_second IS
    'Jobs per second as of ended_at, a decaying mean of five minutes; processor_stats has it as of now.';
COMMENT ON COLUMN pgaudit.processor.ended_at IS
    'When a job was last done or discarded.';
COMMENT ON COLUMN pgaudit.processor.error IS
    'The last error of any of its jobs.';
COMMENT ON TABLE pgaudit.processor_jobs IS
    'The jobs of processors, a child table of procrastinate_jobs: one for each event that a processor asks for.';
COMMENT ON COLUMN pgaudit.processor_jobs.id IS
    'Number of the job, from the same sequence as all jobs.';
COMMENT ON COLUMN pgaudit.processor_jobs.queue_name IS
    'audit_processors.';
COMMENT ON COLUMN pgaudit.processor_jobs.task_name IS
    'Name of the processor.';
COMMENT ON COLUMN pgaudit.processor_jobs.args IS
    'The index, and whether the processor has still to be asked if it wants the event.';
COMMENT ON COLUMN pgaudit.processor_jobs.status IS
    'todo, doing or failed; a job that is done leaves the queue.';
COMMENT ON COLUMN pgaudit.processor_jobs.scheduled_at IS
    'When it is due, or was.';
COMMENT ON COLUMN pgaudit.processor_jobs.attempts IS
    'Number of failed attempts.';
COMMENT ON COLUMN pgaudit.processor_jobs.worker_id IS
    'Worker that runs it.';
COMMENT ON COLUMN pgaudit.processor_jobs.index IS
    'Index of the event in the log.';
COMMENT ON COLUMN pgaudit.processor_jobs.stalls IS
    'How often its worker has vanished while it ran.';
COMMENT ON COLUMN pgaudit.processor_jobs.started_at IS
    'When its last attempt began.';
COMMENT ON TABLE pgaudit.processor_backfill IS
    'Ranges of the log that a processor gets in addition, behind its position.';
COMMENT ON COLUMN pgaudit.processor_backfill.id IS
    'Number of the backfill.';
COMMENT ON COLUMN pgaudit.processor_backfill.processor IS
    'Name of the processor.';
COMMENT ON COLUMN pgaudit.processor_backfill.from_index IS
    'Index of the first event.';
COMMENT ON COLUMN pgaudit.processor_backfill.to_index IS
    'Index of the last event.';
COMMENT ON COLUMN pgaudit.processor_backfill.next_index IS
    'Index of the event with which it goes on.';
COMMENT ON COLUMN pgaudit.processor_backfill.jobs IS
    'Number of jobs that it has added.';
COMMENT ON COLUMN pgaudit.processor_backfill.added_at IS
    'When it was asked for.';
COMMENT ON COLUMN pgaudit.processor_backfill.added_by IS
    'Database role that asked for it.';
COMMENT ON COLUMN pgaudit.processor_backfill.ended_at IS
    'When its last job was added; null while it goes on.';
COMMENT ON VIEW pgaudit.processor_stats IS
    'Each processor: how far it is, how far behind the log, and what its jobs do.';
COMMENT ON COLUMN pgaudit.processor_stats.name IS
    'Name of the processor.';
COMMENT ON COLUMN pgaudit.processor_stats.query IS
    'Which events it asks for, as a search; its code may select from them.';
COMMENT ON COLUMN pgaudit.processor_stats.state IS
    'active or paused.';
COMMENT ON COLUMN pgaudit.processor_stats.paused_at IS
    'When it was paused; null while it runs.';
COMMENT ON COLUMN pgaudit.processor_stats.paused_by IS
    'Who paused it: the user that an application has named, as type:id, or a database role; worker if no person did.';
COMMENT ON COLUMN pgaudit.processor_stats.pause_kind IS
    'Why it is paused: asked; failing, with one job tried each minute; or a mismatch with the log.';
COMMENT ON COLUMN pgaudit.processor_stats.pause_reason IS
    'The reason in words.';
COMMENT ON COLUMN pgaudit.processor_stats.next_index IS
    'Index of the first event that was not looked at yet.';
COMMENT ON COLUMN pgaudit.processor_stats.lag_events IS
    'Events of the log from there on, whether it asks for them or not.';
COMMENT ON COLUMN pgaudit.processor_stats.lag_seconds IS
    'How long the first of them has been in the log.';
COMMENT ON COLUMN pgaudit.processor_stats.waiting IS
    'Jobs that are due.';
COMMENT ON COLUMN pgaudit.processor_stats.delayed IS
    'Jobs that are tried again later.';
COMMENT ON COLUMN pgaudit.processor_stats.running IS
    'Jobs that a worker runs.';
COMMENT ON COLUMN pgaudit.processor_stats.failed IS
    'Jobs that have failed for good, and stay until someone retries or discards them.';
COMMENT ON COLUMN pgaudit.processor_stats.oldest_waiting_seconds IS
    'How long the oldest job that waits has been due; null if none waits.';
COMMENT ON COLUMN pgaudit.processor_stats.longest_running_seconds IS
    'How long the oldest attempt has been running; null if none runs.';
COMMENT ON COLUMN pgaudit.processor_stats.succeeded IS
    'Number of jobs that were done.';
COMMENT ON COLUMN pgaudit.processor_stats.discarded IS
    'Number of jobs that it has discarded.';
COMMENT ON COLUMN pgaudit.processor_stats.jobs_per_second IS
    'Jobs that were done per second, a decaying mean of five minutes.';
COMMENT ON COLUMN pgaudit.processor_stats.failures_in_a_row IS
    'Failed attempts since the last job was done.';
COMMENT ON COLUMN pgaudit.processor_stats.last_error IS
    'The last error of any of its jobs.';
COMMENT ON COLUMN pgaudit.processor_stats.last_ended_at IS
    'When a job was last done or discarded.';
COMMENT ON COLUMN pgaudit.processor_stats.backfill_events IS
    'Events of its backfills that were not looked at yet.';
COMMENT ON COLUMN pgaudit.processor_stats.concurrency IS
    'Most jobs that run at the same time, in all workers together; null without a limit.';
COMMENT ON COLUMN pgaudit.processor_stats.rate IS
    'Most jobs that are begun in a second, in all workers together; null without a limit.';
COMMENT ON COLUMN pgaudit.processor_stats.break_after IS
    'Failed attempts in a row after which it is paused as failing; null for never.';
COMMENT ON COLUMN pgaudit.processor_stats.added_at IS
    'When a worker has first said that it knows this processor.';
COMMENT ON COLUMN pgaudit.processor_stats.known_at IS
    'When a worker has last said so; each does once per minute.';
