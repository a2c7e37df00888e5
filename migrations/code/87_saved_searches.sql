-- Saved searches. A reader calls these functions, because it can write to no table. The owner of a search is a user of
-- the dashboard and not a database role: the application says who it is.

-- save_search(owner, name, query): saves a search; replaces the owner's search of that name.
-- Raises PA002 if a text is too long, or the owner has 200 other searches.
CREATE OR REPLACE FUNCTION pgaudit.save_search(owner text, name text, query text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF (SELECT count(*) FROM saved_search s WHERE s.owner = save_search.owner AND s.name <> save_search.name) >= 200 THEN
        RAISE EXCEPTION 'there are 200 saved searches already: delete one first' USING ERRCODE = 'PA002';
    END IF;
    INSERT INTO saved_search (owner, name, query) VALUES (save_search.owner, save_search.name, save_search.query)
        ON CONFLICT (owner, name) DO UPDATE SET query = excluded.query, created_at = excluded.created_at;
EXCEPTION WHEN check_violation OR not_null_violation THEN
    RAISE EXCEPTION 'a saved search has an owner of 1 to 500, a name of 1 to 200 and a text of at most 10,000 characters'
        USING ERRCODE = 'PA002';
END $$;

-- delete_search(owner, name): deletes the owner's search of that name. Returns whether there was one.
CREATE OR REPLACE FUNCTION pgaudit.delete_search(owner text, name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgaudit, pg_temp AS $$
BEGIN
    DELETE FROM saved_search s WHERE s.owner = delete_search.owner AND s.name = delete_search.name;
    RETURN FOUND;
END $$;
