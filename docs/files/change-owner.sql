-- Gives the schema pgaudit, with all that is in it, to another role. As a superuser:
--   psql -d claims -v owner=claims_audit -f docs/files/change-owner.sql
\set ON_ERROR_STOP on
BEGIN;
ALTER SCHEMA pgaudit OWNER TO :"owner";
SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, :'owner')
  FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace AND relkind IN ('r', 'p', 'v')
UNION ALL
SELECT format('ALTER FUNCTION %s OWNER TO %I', oid::regprocedure, :'owner')
  FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace
UNION ALL
SELECT format('ALTER TYPE %s OWNER TO %I', oid::regtype, :'owner')
  FROM pg_type WHERE typnamespace = 'pgaudit'::regnamespace
   AND (typtype = 'e' OR typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c'))
\gexec
COMMIT;
