"""The migrations as a script for psql, for a DBA to read and to run."""

from io import StringIO
from typing import Any, Final

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from pgaudit.errors import MigrationRefused
from pgaudit.migrate import session
from pgaudit.migrate.upgrading import VERSION_TABLE, apply_code
from pgaudit.schema import SCRIPTS, Scripts

# \set: psql would go on after an error.
BEGIN: Final = f"""\
\\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_encoding = 'UTF8';
{session.PATIENCE};
"""
FRESH: Final = """
DO $$ BEGIN
    IF to_regclass('pgaudit.alembic_version') IS NOT NULL THEN
        RAISE EXCEPTION 'pgaudit is installed already: for an upgrade use pgaudit migrate --sql --from REVISION';
    END IF;
END $$;
"""
UPGRADE: Final = """
DO $$ BEGIN
    IF (SELECT version_num FROM pgaudit.alembic_version) IS DISTINCT FROM '{start}' THEN
        RAISE EXCEPTION 'this script upgrades revision {start}, the database has revision %',
                        (SELECT version_num FROM pgaudit.alembic_version);
    END IF;
END $$;
"""


def sql(start: str | None = None, scripts: Scripts = SCRIPTS) -> str:
    """Returns a script that installs pgaudit, or that upgrades a database from revision ``start``.

    :raises MigrationRefused: there is no such revision.
    """
    if start is not None and start not in scripts.revisions:
        known = ", ".join(scripts.revisions)
        raise MigrationRefused(f"there is no revision {start}: choose one of {known}, as `pgaudit migrate --check` says")
    output = StringIO()
    title = f"upgrades the schema pgaudit from revision {start} to" if start else "installs the schema pgaudit, as of"
    output.write(f"-- This {title} version {scripts.release}. Run it with psql, as the owner of the schema.\n{BEGIN}")

    def run(script: str) -> None:
        output.write(f"{script.rstrip().rstrip(';')};\n\n")

    run(scripts.text("preconditions.sql"))
    run(UPGRADE.format(start=start) if start else FRESH)
    run(scripts.text("schema.sql"))
    run(session.TABLE_PATIENCE)
    print_revisions(output, run, start, scripts)
    apply_code(run, scripts)
    output.write("COMMIT;\n")
    return output.getvalue()


def print_revisions(output: StringIO, run: Any, start: str | None, scripts: Scripts) -> None:
    """Writes the revisions after ``start``, and what keeps Alembic's version table."""
    revisions = ScriptDirectory(str(scripts.directory))

    def steps(revision: Any, _context: MigrationContext) -> Any:
        return revisions._upgrade_revs("head", revision)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    options = VERSION_TABLE | {"fn": steps, "as_sql": True, "output_buffer": output, "starting_rev": start}
    MigrationContext.configure(dialect_name="postgresql", opts=options).run_migrations(run=run)
