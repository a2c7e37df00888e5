"""Tables, indexes, types and triggers of the first release."""

from collections.abc import Callable
from pathlib import Path

revision = "0001"
down_revision = None

DIRECTORY = Path(__file__).with_name("0001_initial")
# Not CASCADE: an object outside the schema that depends on one of ours must stop the removal.
REMOVE = """
    DO $$
    DECLARE
        command text;
    BEGIN
        FOREACH command IN ARRAY '{VIEW,FUNCTION,TABLE,TRIGGER FUNCTION,TYPE}'::text[] LOOP
            EXECUTE (
                SELECT coalesce('DROP ' || replace(command, 'TRIGGER ', '') || ' ' || string_agg(name, ', '),
                                'SELECT')
                  FROM (SELECT CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind, oid::regclass::text AS name
                          FROM pg_class
                         WHERE relnamespace = 'pgaudit'::regnamespace AND relkind IN ('r', 'p', 'v')
                           AND NOT relispartition AND relname <> 'alembic_version'
                        UNION ALL
                        SELECT CASE prorettype WHEN 'trigger'::regtype THEN 'TRIGGER FUNCTION' ELSE 'FUNCTION' END,
                               oid::regprocedure::text
                          FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace
                        UNION ALL
                        SELECT 'TYPE', t.oid::regtype::text FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid
                         WHERE typnamespace = 'pgaudit'::regnamespace AND (typtype = 'e' OR c.relkind = 'c')) object
                 WHERE kind = command);
        END LOOP;
    END $$;
"""


def upgrade(run: Callable[[str], None]) -> None:
    for path in sorted(DIRECTORY.glob("*.sql")):
        run(path.read_text(encoding="utf-8"))


def downgrade(run: Callable[[str], None]) -> None:
    run("DROP TRIGGER IF EXISTS reject_foreign_write ON pgaudit.alembic_version")  # Alembic writes to it after this
    run(REMOVE)
