"""Brings a database to the schema of this version, in one transaction."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from psycopg.errors import DuplicateSchema, UniqueViolation
from psycopg.rows import tuple_row

from pgaudit import grants
from pgaudit._schema import owner
from pgaudit._schema.state import SCRIPTS, Scripts, Standing, State, standing
from pgaudit.migrate import session

# The owner reads the tables themselves: schema_state() may be missing or replaced.
TABLES: Final = "SELECT to_regclass('pgaudit.alembic_version'), to_regclass('pgaudit.schema_code')"
REVISION: Final = "SELECT version_num FROM pgaudit.alembic_version"
CODE: Final = "SELECT checksum, version FROM pgaudit.schema_code"
STORE: Final = """
DELETE FROM pgaudit.schema_code;
INSERT INTO pgaudit.schema_code (checksum, version) VALUES ({checksum}, {version});
"""
VERSION_TABLE: Final = {"version_table": "alembic_version", "version_table_schema": "pgaudit"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """What a migration has found, and what it has left."""

    found: Standing
    before: State
    after: State


def upgrade(dsn: str, *, repair: bool = False, scripts: Scripts = SCRIPTS) -> Migration:
    """Applies what is missing, all of it or nothing. Of several callers at once one does, and the others wait for it.

    Does nothing when the database is current, unless ``repair`` asks for its functions and views to be replaced, and
    nothing when a newer version of pgaudit has migrated it.

    :raises psycopg.errors.LockNotAvailable: another migration ran for 60 s, or a table was in use for 10 s.
    :raises psycopg.errors.InsufficientPrivilege: the role may not create the schema, or does not own it.
    :raises psycopg.errors.DuplicateObject: the schema holds something else.
    :raises psycopg.errors.FeatureNotSupported: the database does not use UTF8, or the server is too old.
    """
    try:
        return migrate_once(dsn, repair=repair, scripts=scripts)
    except (DuplicateSchema, UniqueViolation):  # another migration has created the schema at the same time
        return migrate_once(dsn, repair=repair, scripts=scripts)


def migrate_once(dsn: str, *, repair: bool, scripts: Scripts) -> Migration:
    """Migrates, unless two sessions create the schema at once: then the later one fails."""
    with session.transaction(dsn) as work:
        work.run(scripts.text("preconditions.sql"))
        if is_needed(standing(installed(work.driver), scripts), repair=repair):
            work.run(scripts.text("schema.sql"))  # waits for another migration
            work.run(session.TABLE_PATIENCE)
        before = installed(work.driver)
        found = standing(before, scripts)
        if is_needed(found, repair=repair):
            run_revisions(work, scripts)
            apply_code(work.run, scripts)
        warn_of_owner(work.driver)
        return Migration(found, before, installed(work.driver))


def is_needed(found: Standing, *, repair: bool) -> bool:
    """Returns whether there is something to apply."""
    return found in {Standing.MISSING, Standing.BEHIND} or (repair and found is Standing.CURRENT)


def installed(conn: psycopg.Connection[Any]) -> State:
    """Returns what is installed, as the owner sees it."""
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        revisions, code = cursor.execute(TABLES).fetchone() or (None, None)
        (revision,) = (cursor.execute(REVISION).fetchone() if revisions else None) or (None,)
        checksum, version = (cursor.execute(CODE).fetchone() if code else None) or (None, None)
    return State(revision, checksum, version)


def run_revisions(work: session.Session, scripts: Scripts) -> None:
    """Runs the revisions that the database does not have."""
    revisions = ScriptDirectory(str(scripts.directory))

    def steps(revision: Any, _context: MigrationContext) -> Any:
        return revisions._upgrade_revs("head", revision)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    context = MigrationContext.configure(connection=work.alchemy, opts=VERSION_TABLE | {"fn": steps})
    context.run_migrations(run=work.run)


def apply_code(run: Callable[[str], None], scripts: Scripts) -> None:
    """Replaces functions and views, and gives each role the rights that it needs now."""
    run("SET LOCAL check_function_bodies = off")  # a function may call another one of a later file
    for script in scripts.code:
        run(script)
    values = {"checksum": sql.Literal(scripts.checksum), "version": sql.Literal(scripts.release)}
    run(sql.SQL(STORE).format(**values).as_string(None))
    run(grants.renewal())


def warn_of_owner(conn: psycopg.Connection[Any]) -> None:
    """Logs a warning when the schema's owner has more rights than an owner should have."""
    if warning := owner.warning(conn):
        logger.warning(warning)
