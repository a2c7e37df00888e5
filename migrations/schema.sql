-- Creates the schema, and locks it against other migrations.

-- Not CREATE SCHEMA IF NOT EXISTS: it needs a right on the database, even when the owner's schema exists already.
DO $$ BEGIN
    IF to_regnamespace('pgaudit') IS NULL THEN
        CREATE SCHEMA pgaudit;
    END IF;
END $$;

-- COMMENT takes a lock that conflicts with itself and that only the owner can hold: one migration runs at a time, and
-- no other role can block it. (Any role could hold an advisory lock.)
COMMENT ON SCHEMA pgaudit IS 'Audit trail of pgaudit. Change it with pgaudit migrate only.';

DO $$
DECLARE
    grantee oid;
BEGIN
    -- Anyone who can create functions here could shadow built-ins that our SECURITY DEFINER functions call.
    FOR grantee IN SELECT a.grantee FROM pg_namespace, aclexplode(nspacl) a
                    WHERE nspname = 'pgaudit' AND (privilege_type = 'CREATE' OR a.grantee = 0) AND a.grantee <> nspowner LOOP
        EXECUTE format('REVOKE %s ON SCHEMA pgaudit FROM %s', CASE grantee WHEN 0 THEN 'ALL' ELSE 'CREATE' END,
                       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
    END LOOP;
    -- code/99_rights.sql revokes all rights on the objects that are not in this list.
    PERFORM set_config('audit.known_objects', coalesce(string_agg(object.id::text, ','), ''), true)
       FROM (SELECT oid AS id FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace
             UNION ALL SELECT oid FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace) object;
END $$;
