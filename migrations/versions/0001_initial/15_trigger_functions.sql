-- CREATE TRIGGER needs the function. The files in code/ replace these bodies in the same transaction.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{reject_modification,reject_direct_write,reject_foreign_write,reject_unlogged_deletion,
                            reject_deletion_by_parent,reject_truncate_of_queue,reject_status_change,reject_event_update,
                            reject_far_schedule,unlink_deleted_workers,check_guarded_changes}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION pgaudit.%I() RETURNS trigger LANGUAGE plpgsql AS %L', name,
                       'BEGIN RAISE EXCEPTION ''pgaudit is not completely installed: run pgaudit migrate''; END');
    END LOOP;
END $$;
