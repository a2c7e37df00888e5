-- The last step of a forger without the signing key: no checkpoint of the old tree. A worker with another key signs the
-- new one.
--
--   psql -f docs/files/forge-checkpoint.sql

BEGIN;
ALTER TABLE pgaudit.checkpoint DISABLE TRIGGER reject_direct_write;
DELETE FROM pgaudit.checkpoint;
ALTER TABLE pgaudit.checkpoint ENABLE ALWAYS TRIGGER reject_direct_write;
COMMIT;
