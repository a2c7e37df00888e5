"""The migrations as a script for psql, for a DBA to read and to run."""

from io import StringIO
from typing import Any, Final

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from pgaudit._schema.state import SCRIPTS, Scripts
from pgaudit.errors import MigrationRefused
from pgaudit.migrate import session
from pgaudit.migrate.upgrading import VERSION_TABLE, apply_code

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
# What Alembic adds to its INSERT; psql would print a row.
RETURNING: Final = " RETURNING pgaudit.alembic_version.version_num"
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
        raise MigrationRefused(
            f"there is no revision {start}: choose one of {known}, as `pgaudit migrate --check` says"
        )
    output = StringIO()
    title = f"upgrades the schema pgaudit from revision {start} to" if start else "installs the schema pgaudit, as of"
    output.write(f"-- This {title} version {scripts.release}. Run it with psql, as the owner of the schema.\n{BEGIN}")

    def run(script: str) -> None:
        output.write(terminated(script))

    run(scripts.text("preconditions.sql"))
    run(UPGRADE.format(start=start) if start else FRESH)
    run(scripts.text("schema.sql"))
    run(session.TABLE_PATIENCE)
    output.write(revisions_after(start, scripts))
    apply_code(run, scripts)
    output.write("COMMIT;\n")
    return output.getvalue()


def revisions_after(start: str | None, scripts: Scripts) -> str:
    """Returns the revisions after ``start``, and the statements that keep Alembic's version table."""
    output = StringIO()
    revisions = ScriptDirectory(str(scripts.directory))

    def steps(revision: Any, _context: MigrationContext) -> Any:
        return revisions._upgrade_revs("head", revision)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    options = VERSION_TABLE | {"fn": steps, "as_sql": True, "output_buffer": output, "starting_rev": start}
    context = MigrationContext.configure(dialect_name="postgresql", opts=options)

    def run(script: str) -> None:
        output.write(terminated(script))

    context.run_migrations(run=run)
    return output.getvalue().replace(RETURNING, "")


def terminated(script: str) -> str:
    """Returns a script that ends with a semicolon and an empty line."""
    return f"{script.rstrip().rstrip(';')};\n\n"
