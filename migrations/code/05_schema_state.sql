-- schema_state(): returns the installed revision, the checksum of the files in code/, and the version of pgaudit that
-- applied them. `pgaudit grant` lets each of its roles call it.
CREATE OR REPLACE FUNCTION pgaudit.schema_state() RETURNS TABLE (revision text, checksum text, version text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT (SELECT version_num FROM alembic_version), code.checksum, code.version
      FROM (VALUES (1)) AS one_row LEFT JOIN schema_code code ON true
$$;
