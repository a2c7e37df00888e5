-- Checks that pgaudit can be installed or upgraded in this database. Changes nothing.

DO $$
DECLARE
    encoding text := current_setting('server_encoding');
    schema_id oid := to_regnamespace('pgaudit');
    owner    name := (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE oid = schema_id);
    foreign_object text;
BEGIN
    IF current_setting('server_version_num')::integer < 150000 THEN
        RAISE EXCEPTION 'pgaudit needs PostgreSQL 15 or newer; this server runs %', current_setting('server_version')
            USING ERRCODE = 'feature_not_supported';
    ELSIF encoding <> 'UTF8' THEN
        RAISE EXCEPTION 'the database must use the encoding UTF8, not %: create one with ENCODING ''UTF8''', encoding
            USING ERRCODE = 'feature_not_supported';
    ELSIF schema_id IS NULL AND NOT has_database_privilege(current_database(), 'CREATE') THEN
        RAISE EXCEPTION 'the role % has no right to create a schema in this database: GRANT CREATE ON DATABASE % TO %, '
                        'or CREATE SCHEMA pgaudit AUTHORIZATION %', current_user, quote_ident(current_database()),
                        quote_ident(current_user), quote_ident(current_user)
            USING ERRCODE = 'insufficient_privilege';
    ELSIF owner <> current_user AND EXISTS (SELECT FROM pg_class WHERE relnamespace = schema_id) THEN
        RAISE EXCEPTION 'the schema pgaudit belongs to %, not to %: migrate as %', owner, current_user, owner
            USING ERRCODE = 'insufficient_privilege';
    ELSIF owner <> current_user THEN
        -- Guards do not stop an owner from dropping our tables.
        RAISE EXCEPTION 'the schema pgaudit belongs to %, not to %: migrate as %, or ALTER SCHEMA pgaudit OWNER TO %',
                        owner, current_user, owner, quote_ident(current_user)
            USING ERRCODE = 'insufficient_privilege';
    ELSIF to_regclass('pgaudit.alembic_version') IS NULL THEN
        SELECT min(name) INTO foreign_object
          FROM (SELECT relname AS name, relnamespace AS schema_id FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
                UNION ALL SELECT proname, pronamespace FROM pg_proc) object
         WHERE object.schema_id = to_regnamespace('pgaudit');
        IF foreign_object IS NOT NULL THEN
            RAISE EXCEPTION 'the schema pgaudit holds an object that is not pgaudit''s: %; move it to another schema',
                            foreign_object
                USING ERRCODE = 'duplicate_object';
        END IF;
    END IF;
END $$;
