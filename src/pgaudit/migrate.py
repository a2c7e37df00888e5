"""Brings the database to the schema that this version needs.

Alembic runs in a private environment with a version table of its own, ``pgaudit.alembic_version``:
the application's own migrations neither see ours nor are seen.
"""

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import psycopg
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from pgaudit.schema import version_of

# Beside this file in an installed package, at the top of the project in a checkout.
MIGRATIONS: Final = next(
    path for path in (Path(__file__).parent / "migrations", Path(__file__).parents[2] / "migrations") if path.is_dir()
)
LOCK: Final = "SELECT pg_advisory_lock(hashtext('pgaudit.migrate'))"
LOCK_TIMEOUT: Final = "SET lock_timeout = '10s'"


def config(output: TextIO | None = None) -> Config:
    """Alembic's configuration for our migrations."""
    settings = Config(output_buffer=output or io.StringIO(), stdout=output or io.StringIO())
    settings.set_main_option("script_location", str(MIGRATIONS))
    settings.set_main_option("prepend_sys_path", str(MIGRATIONS / "versions"))
    settings.set_main_option("path_separator", "os")
    return settings


def newest() -> str:
    """The revision that this version of pgaudit needs."""
    return ScriptDirectory.from_config(config()).get_current_head() or ""


def current(dsn: str) -> str | None:
    """The revision that the database has; None when pgaudit is not installed in it."""
    with psycopg.connect(dsn) as conn:
        return version_of(conn)


def upgrade(dsn: str, revision: str = "head") -> None:
    """Applies what is missing. Of several callers at once, one does; twice in a row does nothing.

    :raises psycopg.errors.LockNotAvailable: a table was in use for ten seconds; nothing was changed.
    :raises psycopg.errors.InsufficientPrivilege: the schema belongs to somebody else.
    :raises psycopg.errors.DuplicateObject: the schema holds what is not ours.
    """
    with connection(dsn) as conn:
        conn.exec_driver_sql(schema_script(), execution_options={"no_parameters": True})
        conn.commit()
        command.upgrade(with_connection(conn), revision)


def downgrade(dsn: str, revision: str = "base") -> None:
    """Takes the schema back to a revision, ``base`` being nothing.

    :raises psycopg.Error: the log or the queue holds events. An audit trail is not dropped in passing.
    """
    with connection(dsn) as conn:
        command.downgrade(with_connection(conn), revision)
        if revision == "base":
            conn.exec_driver_sql("DROP TABLE pgaudit.alembic_version")
            conn.exec_driver_sql("DROP SCHEMA pgaudit")  # or say so, if somebody has put something into it
            conn.commit()


def sql() -> str:
    """All migrations as one script, for a DBA to read and to run with psql."""
    output = io.StringIO()
    command.upgrade(config(output), "head", sql=True)
    return output.getvalue()


def schema_script() -> str:
    """What makes the schema, or refuses one that others could change."""
    return (MIGRATIONS / "sql" / "schema.sql").read_text(encoding="utf-8")


def with_connection(conn: Connection) -> Config:
    """The configuration, to run on an open connection."""
    settings = config()
    settings.attributes["connection"] = conn
    return settings


@contextmanager
def connection(dsn: str) -> Generator[Connection]:
    """A connection that holds the migration lock, and gives up on a table that stays locked."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    try:
        with engine.connect() as conn:
            conn.exec_driver_sql(LOCK)  # waits for another migration as long as it takes
            conn.exec_driver_sql(LOCK_TIMEOUT)
            conn.commit()
            yield conn
    except DBAPIError as error:
        raise error.orig or error from None  # the driver's own, without the script that it is about


def run_file(path: str | Path) -> None:
    """Runs a file of ``migrations/sql`` inside a revision, or any other that an absolute path names."""
    run_sql((MIGRATIONS / "sql" / path).read_text(encoding="utf-8"))


def run_sql(script: str) -> None:
    """Runs SQL inside a revision exactly as it is written, or prints it."""
    context = op.get_context()
    if context.as_sql:
        context.impl.static_output(f"{script.rstrip().rstrip(';')};")
    else:
        op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
