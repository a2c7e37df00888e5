"""Takes a schema back to an older revision, or away."""

from typing import Any, Final, LiteralString

import psycopg
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.rows import tuple_row

from pgaudit._schema import fingerprint
from pgaudit._schema.state import SCRIPTS, Scripts
from pgaudit.errors import MigrationRefused
from pgaudit.migrate import session
from pgaudit.migrate.upgrading import VERSION_TABLE

BASE: Final = "base"
QUEUE: Final = "pgaudit.procrastinate_jobs"
LOG: Final = "pgaudit.audit_log"
# Callers that record meanwhile wait.
LOCK: Final = "LOCK TABLE pgaudit.procrastinate_jobs, pgaudit.audit_log IN ACCESS EXCLUSIVE MODE"
COUNT: Final[dict[str, LiteralString]] = {
    LOG: "SELECT count(*) FROM pgaudit.audit_log",
    QUEUE: "SELECT count(*) FROM pgaudit.procrastinate_jobs",
}
EXISTS: Final = "SELECT to_regclass(%s) IS NOT NULL"
# The older version finds no checksum, and applies its own functions and views.
FORGET_CODE: Final = "DELETE FROM pgaudit.schema_code"
DATABASE: Final = "SELECT current_database()"


def downgrade(dsn: str, revision: str = BASE, scripts: Scripts = SCRIPTS) -> None:
    """Takes the schema back to a revision; ``base`` means nothing at all.

    Below ``base``, run the older version's ``pgaudit migrate`` next: it brings back its functions and views.

    :raises MigrationRefused: ``base`` while the log or the queue holds events, or the schema holds something else.
    """
    if revision != BASE and revision not in scripts.revisions:
        raise MigrationRefused(
            f"there is no revision {revision}: choose {BASE} or one of {', '.join(scripts.revisions)}"
        )
    with session.transaction(dsn) as work:
        refuse_missing(work.driver)
        work.run(scripts.text("preconditions.sql"))
        work.run(scripts.text("schema.sql"))
        work.run(session.TABLE_PATIENCE)
        if revision == BASE:
            work.run(LOCK)
            refuse_events(work.driver)
            refuse_strangers(work.driver)
        run_downgrades(work, revision, scripts)
        work.run("DROP TABLE pgaudit.alembic_version; DROP SCHEMA pgaudit" if revision == BASE else FORGET_CODE)


def run_downgrades(work: session.Session, revision: str, scripts: Scripts) -> None:
    """Runs the downgrades of the revisions above that one."""
    revisions = ScriptDirectory(str(scripts.directory))

    def steps(current: Any, _context: MigrationContext) -> Any:
        return revisions._downgrade_revs(revision, current)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    context = MigrationContext.configure(connection=work.alchemy, opts=VERSION_TABLE | {"fn": steps})
    context.run_migrations(run=work.run)


def uninstall(dsn: str, confirm: str | None = None, scripts: Scripts = SCRIPTS) -> str:
    """Drops the schema with all events. Returns a sentence that says what was deleted.

    :raises MigrationRefused: ``confirm`` is not the name of the database.
    """
    with session.transaction(dsn) as work:
        refuse_missing(work.driver)
        work.run(scripts.text("preconditions.sql"))
        database = value(work.driver, DATABASE)
        loss = f"{events(work.driver, LOG)} event(s) in the log and {events(work.driver, QUEUE)} in the queue"
        if confirm != database:
            raise MigrationRefused(f"this would delete {loss}: to confirm it, add --confirm {database}")
        work.run("DROP SCHEMA pgaudit CASCADE")
    return f"Dropped the schema pgaudit of {database}, with {loss}."


def refuse_missing(conn: psycopg.Connection[Any]) -> None:
    """Raises MigrationRefused when there is no schema to remove."""
    if not value(conn, "SELECT to_regnamespace('pgaudit') IS NOT NULL"):
        raise MigrationRefused("there is no schema pgaudit in this database")


def refuse_events(conn: psycopg.Connection[Any]) -> None:
    """Raises MigrationRefused when the log or the queue holds events."""
    logged, queued = events(conn, LOG), events(conn, QUEUE)
    if logged or queued:
        raise MigrationRefused(
            f"the audit trail is not empty: {logged} event(s) in the log, {queued} in the queue. "
            "To delete them, run `pgaudit uninstall`"
        )


def refuse_strangers(conn: psycopg.Connection[Any]) -> None:
    """Raises MigrationRefused when the schema holds objects that pgaudit did not create."""
    if foreign_objects := fingerprint.foreign_objects(conn):
        raise MigrationRefused(
            f"the schema pgaudit holds something else: {', '.join(foreign_objects)}; move it elsewhere first"
        )


def events(conn: psycopg.Connection[Any], table: str) -> int:
    """Returns how many rows a table has; 0 when there is no such table."""
    return value(conn, COUNT[table]) if value(conn, EXISTS, table) else 0


def value(conn: psycopg.Connection[Any], query: LiteralString, *parameters: str) -> Any:
    """Returns the one value of a query."""
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        (found,) = cursor.execute(query, parameters or None).fetchone() or (None,)
    return found
