-- Guards. ENABLE ALWAYS, so that they also fire under session_replication_role = replica.

-- The log: rows are only inserted, and only by append_rows().
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON pgaudit.audit_log
    FOR EACH ROW EXECUTE FUNCTION pgaudit.reject_modification();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON pgaudit.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_modification();
CREATE TRIGGER append_only_insert BEFORE INSERT ON pgaudit.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_direct_write();
ALTER TABLE pgaudit.audit_log ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER append_only_truncate,
    ENABLE ALWAYS TRIGGER append_only_insert;

-- Tables that only pgaudit's functions can write to.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{event_key,event_target,event_sighting,event_conflict,acknowledged_jobs,batch,
                            log_lock,queue_watermark,tile,checkpoint,verification,sealing_state,
                            anchor_receipt,target_period,target_tile,target_lock,
                            guarded_change,unrecorded_change}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER reject_direct_write BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgaudit.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_direct_write()', name);
        EXECUTE format('ALTER TABLE pgaudit.%I ENABLE ALWAYS TRIGGER reject_direct_write', name);
    END LOOP;
END $$;

-- Tables that the owner can also change by hand.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{settings,job_error,procrastinate_workers,saved_search,schema_code,anchor,captured_table,
                            guarded_table,stream,stream_position,stream_replay,delivery,parked,processor,
                            processor_jobs,processor_backfill}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER reject_foreign_write BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgaudit.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_foreign_write()', name);
        EXECUTE format('ALTER TABLE pgaudit.%I ENABLE ALWAYS TRIGGER reject_foreign_write', name);
    END LOOP;
END $$;

-- A job stays in the queue, unchanged, until its event is in the log or acknowledged.
CREATE TRIGGER reject_unlogged_deletion AFTER DELETE ON pgaudit.audit_jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_unlogged_deletion();
CREATE TRIGGER reject_truncate BEFORE TRUNCATE ON pgaudit.audit_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_truncate_of_queue();
CREATE TRIGGER reject_foreign_write BEFORE UPDATE ON pgaudit.audit_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_foreign_write();
CREATE TRIGGER reject_status_change BEFORE UPDATE OF status, queue_name, task_name ON pgaudit.audit_jobs FOR EACH ROW
    WHEN (NEW.status NOT IN ('todo', 'doing', 'failed') OR NEW.queue_name <> 'audit' OR NEW.task_name <> OLD.task_name)
    EXECUTE FUNCTION pgaudit.reject_status_change();
CREATE TRIGGER reject_event_update BEFORE UPDATE OF id, event, leaf_hash, event_bytes ON pgaudit.audit_jobs FOR EACH ROW
    WHEN (NEW.id <> OLD.id OR NEW.event <> OLD.event OR NEW.leaf_hash <> OLD.leaf_hash OR NEW.event_bytes <> OLD.event_bytes)
    EXECUTE FUNCTION pgaudit.reject_event_update();
CREATE TRIGGER reject_far_schedule BEFORE UPDATE OF scheduled_at ON pgaudit.audit_jobs FOR EACH ROW
    WHEN (NEW.scheduled_at > clock_timestamp() + interval '25 hours')
    EXECUTE FUNCTION pgaudit.reject_far_schedule();
ALTER TABLE pgaudit.audit_jobs ENABLE ALWAYS TRIGGER reject_unlogged_deletion, ENABLE ALWAYS TRIGGER reject_truncate,
    ENABLE ALWAYS TRIGGER reject_foreign_write, ENABLE ALWAYS TRIGGER reject_status_change,
    ENABLE ALWAYS TRIGGER reject_event_update, ENABLE ALWAYS TRIGGER reject_far_schedule;

-- A statement that names the parent fires only the parent's statement triggers.
CREATE TRIGGER reject_deletion_by_parent AFTER DELETE ON pgaudit.procrastinate_jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_deletion_by_parent();
CREATE TRIGGER reject_foreign_write BEFORE UPDATE ON pgaudit.procrastinate_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION pgaudit.reject_foreign_write();
ALTER TABLE pgaudit.procrastinate_jobs ENABLE ALWAYS TRIGGER reject_deletion_by_parent,
    ENABLE ALWAYS TRIGGER reject_foreign_write;
