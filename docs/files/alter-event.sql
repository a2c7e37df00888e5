-- What an owner or superuser can do: switch the guard off, change an event, and switch the guard on again.
--
--   psql -f docs/files/alter-event.sql

BEGIN;
ALTER TABLE pgaudit.audit_log DISABLE TRIGGER append_only;
UPDATE pgaudit.audit_log SET event = jsonb_set(event, '{data,amount}', '"9000.00"') WHERE index = 7;
ALTER TABLE pgaudit.audit_log ENABLE ALWAYS TRIGGER append_only;
COMMIT;
