
-- What an application and a worker leave behind: events in the log, one that waits, one that waits for a retry, and one
-- that has failed for good.
\set ON_ERROR_STOP on
BEGIN;
SELECT pgaudit.record(jsonb_agg(jsonb_build_object(
           'id', gen_random_uuid(), 'action', 'claim.approved', 'outcome', 'success',
           'occurred_at', '2026-01-31T12:00:00.000000Z',
           'actor', jsonb_build_object('type', 'user', 'id', n::text),
           'targets', jsonb_build_array(jsonb_build_object('type', 'claim', 'id', '7')))))
  FROM generate_series(1, 5) n;
COMMIT;
SELECT pgaudit.persist(NULL, NULL, 100);

BEGIN;
SELECT pgaudit.record(jsonb_build_array(jsonb_build_object(
           'id', gen_random_uuid(), 'action', 'claim.rejected', 'outcome', 'denied',
           'occurred_at', '2026-01-31T12:00:00.000000Z', 'data', jsonb_build_object('n', n))))
  FROM generate_series(1, 3) n;
COMMIT;
-- Two of them are fetched by a worker and fail: the first may be tried again, the second may not.
SELECT token AS worker FROM pgaudit.register_worker() \gset
SELECT job_id AS first_job FROM pgaudit.fetch_job(:'worker') \gset
SELECT pgaudit.record_failure(:first_job, :'worker', 0, true, 3600, 'RaiseException', 'P0001', 'not now', NULL);
SELECT job_id AS second_job FROM pgaudit.fetch_job(:'worker') \gset
SELECT pgaudit.record_failure(:second_job, :'worker', 0, true, NULL, 'RaiseException', 'P0001', 'never', NULL);
