-- Nothing here is for everybody, or for those whom the owner's default privileges name: pgaudit grant gives each
-- role the least it needs.

DO $$
DECLARE
    function regprocedure;
    grantee  text;
BEGIN
    PERFORM pgaudit.revoke_defaults(oid) FROM pg_class
      WHERE relnamespace = 'pgaudit'::regnamespace AND relkind IN ('r', 'p', 'v', 'S');
    FOR function, grantee IN
        SELECT p.oid, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
          FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         WHERE p.pronamespace = 'pgaudit'::regnamespace AND a.grantee <> p.proowner LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', function, grantee);
    END LOOP;
END $$;
REVOKE ALL ON ALL TABLES IN SCHEMA pgaudit FROM PUBLIC;
