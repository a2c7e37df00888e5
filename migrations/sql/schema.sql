-- The schema: ours alone. Its owner may drop what is in it, and who may create in it could put functions of their own
-- before Postgres' in the path of ours, which run with the owner's rights.

CREATE SCHEMA IF NOT EXISTS pgaudit;

DO $$
DECLARE
    owner   name := (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'pgaudit');
    foreign_object text := (
        SELECT min(name) FROM (SELECT relname AS name, relnamespace AS schema FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
                               UNION ALL SELECT proname, pronamespace FROM pg_proc) object
         WHERE schema = 'pgaudit'::regnamespace AND name NOT LIKE 'procrastinate%' AND name NOT LIKE 'alembic_version%');
    grantee oid;
BEGIN
    IF quote_ident(current_user) <> owner THEN
        RAISE EXCEPTION 'the schema pgaudit belongs to %, not to %', owner, current_user
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('Migrate as %s, or give it away: ALTER SCHEMA pgaudit OWNER TO %I.', owner, current_user);
    ELSIF foreign_object IS NOT NULL AND to_regclass('pgaudit.alembic_version') IS NULL THEN  -- else it was looked at
        RAISE EXCEPTION 'the schema pgaudit holds something else: %', foreign_object
            USING ERRCODE = 'duplicate_object', HINT = 'Move it to another schema: ALTER … SET SCHEMA, or ALTER EXTENSION.';
    END IF;
    FOR grantee IN SELECT a.grantee FROM pg_namespace, aclexplode(nspacl) a
                    WHERE nspname = 'pgaudit' AND privilege_type = 'CREATE' AND a.grantee <> nspowner LOOP
        EXECUTE format('REVOKE CREATE ON SCHEMA pgaudit FROM %s',
                       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
    END LOOP;
END $$;
