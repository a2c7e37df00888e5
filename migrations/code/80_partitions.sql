-- Partitions of the audit log, by ranges of its index. The oldest can be detached; one is always created ahead.

-- log_partitions(): returns the partitions with their ranges: [first_index, end_index). For one that was created by
-- hand, MINVALUE is shown as 0, and MAXVALUE as the largest bigint.
CREATE OR REPLACE FUNCTION pgaudit.log_partitions()
RETURNS TABLE (partition regclass, first_index bigint, end_index bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT oid::regclass, CASE bounds[1] WHEN 'MINVALUE' THEN 0 ELSE bounds[1]::bigint END,
           CASE bounds[2] WHEN 'MAXVALUE' THEN 9223372036854775807 ELSE bounds[2]::bigint END
      FROM (SELECT c.oid, regexp_match(pg_get_expr(c.relpartbound, c.oid),
                                       'FROM [(]''?([0-9]+|MINVALUE)''?[)] TO [(]''?([0-9]+|MAXVALUE)''?[)]') AS bounds
              FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'audit_log'::regclass AND NOT i.inhdetachpending) child
     ORDER BY 2
$$;

-- ensure_partitions(): keeps one partition ahead of the one that is being filled. Each maintenance pass of a worker
-- calls it. Returns how many it created; 0 also if a long query or a DETACH blocks it, because the next pass tries
-- again.
CREATE OR REPLACE FUNCTION pgaudit.ensure_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    created integer;
BEGIN
    PERFORM guard_partition(partition) FROM log_partitions() WHERE NOT is_guarded(partition);  -- created or attached by hand
    IF is_partition_ahead() THEN
        RETURN 0;
    END IF;
    PERFORM lock_log();  -- two sessions must not create the same partition
    created := create_partitions((SELECT size FROM log_head));
    IF NOT is_partition_ahead() THEN
        PERFORM create_partition((SELECT max(end_index) FROM log_partitions()));
        created := created + 1;
    END IF;
    RETURN created;
EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
END $$;

-- is_partition_ahead(): returns whether there is a partition after the one that is being filled.
CREATE OR REPLACE FUNCTION pgaudit.is_partition_ahead() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
    SELECT EXISTS (SELECT FROM log_partitions()
                    WHERE first_index > (SELECT size FROM log_head) OR end_index = 9223372036854775807)
$$;

-- is_guarded(partition): returns whether it has its three triggers, enabled for every session_replication_role.
CREATE OR REPLACE FUNCTION pgaudit.is_guarded(partition regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pgaudit, pg_temp AS $$
    SELECT count(*) = 3 FROM pg_trigger
     WHERE tgrelid = partition AND tgenabled = 'A' AND tgname IN ('append_only', 'append_only_truncate', 'append_only_insert')
$$;

-- create_partitions(last_index): creates the missing partitions from the end of the log to last_index. The caller has
-- called lock_log(). Returns how many it created.
CREATE OR REPLACE FUNCTION pgaudit.create_partitions(last_index bigint) RETURNS integer
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    next_index bigint  := (SELECT size FROM log_head);
    created    integer := 0;
    end_index  bigint;
BEGIN
    WHILE next_index <= last_index LOOP
        SELECT p.end_index INTO end_index FROM log_partitions() p WHERE next_index >= p.first_index AND next_index < p.end_index;
        IF end_index IS NULL THEN
            end_index := create_partition(next_index);
            created := created + 1;
        END IF;
        next_index := end_index;
    END LOOP;
    RETURN created;
END $$;

-- create_partition(index): creates the partition for that index, between its neighbours, with its guards and no grants.
-- Its range begins at a multiple of partition_size, or later: where another partition ends, or at the end of the log if
-- its last partition was detached. Its rows never change, so autovacuum freezes them when it first reads them. Otherwise
-- it would read all old partitions again when their transaction ids reach autovacuum_freeze_max_age.
-- Returns the end of the range.
CREATE OR REPLACE FUNCTION pgaudit.create_partition(index bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    size  bigint := (SELECT partition_size FROM settings);
    first bigint := greatest(index / size * size, least(index, (SELECT log_head.size FROM log_head)),
                             (SELECT max(end_index) FROM log_partitions() WHERE end_index <= index));
    upper bigint := least((index / size + 1) * size, (SELECT min(first_index) FROM log_partitions() WHERE first_index > index));
    name  text   := 'audit_log_' || first;
BEGIN
    WHILE to_regclass('pgaudit.' || name) IS NOT NULL LOOP  -- the name of a detached one
        name := name || '_';
    END LOOP;
    -- CREATE TABLE with PARTITION OF would block readers and appends; ATTACH does not.
    EXECUTE format('CREATE TABLE %I (LIKE audit_log INCLUDING ALL) WITH (autovacuum_freeze_min_age = 0)', name);
    EXECUTE format('ALTER TABLE audit_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, upper);
    PERFORM guard_partition(name::regclass), revoke_default_privileges(name::regclass);
    RETURN upper;
END $$;

-- guard_partition(partition): creates the statement triggers, which Postgres does not clone to a partition, and enables
-- all guards ALWAYS: a cloned row trigger does not fire under session_replication_role = replica.
CREATE OR REPLACE FUNCTION pgaudit.guard_partition(partition regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER append_only_truncate BEFORE TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION reject_modification()', partition);
    EXECUTE format('CREATE OR REPLACE TRIGGER append_only_insert BEFORE INSERT ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION reject_modification()', partition);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER append_only_truncate,
                    ENABLE ALWAYS TRIGGER append_only_insert', partition);
END $$;

-- revoke_default_privileges(relation): revokes what ALTER DEFAULT PRIVILEGES has granted, also to PUBLIC: only
-- `pgaudit grant` gives rights.
CREATE OR REPLACE FUNCTION pgaudit.revoke_default_privileges(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pgaudit, pg_temp AS $$
DECLARE
    grantee oid;
BEGIN
    FOR grantee IN SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a
                    WHERE c.oid = relation AND a.grantee <> c.relowner LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', relation, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
    END LOOP;
END $$;
