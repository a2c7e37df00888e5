-- Revokes all rights on new objects, from PUBLIC and from the roles that ALTER DEFAULT PRIVILEGES names: only
-- `pgaudit grant` gives rights. Objects that existed before this migration (schema.sql lists them) keep their grants.

DO $$
DECLARE
    known  oid[] := string_to_array(current_setting('audit.known_objects'), ',');
    object text;
    grantee oid;
BEGIN
    FOR object, grantee IN
        SELECT DISTINCT format('TABLE %s', c.oid::regclass), a.grantee
          FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.relnamespace = 'pgaudit'::regnamespace AND c.oid <> ALL (known) AND a.grantee <> c.relowner
        UNION
        SELECT format('ROUTINE %s', p.oid::regprocedure), a.grantee
          FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         WHERE p.pronamespace = 'pgaudit'::regnamespace AND p.oid <> ALL (known) AND a.grantee <> p.proowner LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', object, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
    END LOOP;
END $$;
