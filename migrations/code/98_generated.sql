-- The functions of captured and guarded tables are generated anew, because the code that generates them may have changed.

DO $$ BEGIN PERFORM pgaudit.create_trigger_function('capture_' || id, pgaudit.capture_body(pgaudit.current_capture(id)))
  FROM pgaudit.captured_table JOIN pg_class c ON c.oid = relation; END $$;
DO $$ BEGIN PERFORM pgaudit.create_trigger_function('guard_' || id, pgaudit.guard_body(pgaudit.current_guard(id)))
  FROM pgaudit.guarded_table JOIN pg_class c ON c.oid = relation; END $$;
