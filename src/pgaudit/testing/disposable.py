"""Test databases: they have the schema, and alone a function that empties the trail."""

from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.errors import InvalidSchemaName

from pgaudit._driver import driver_of
from pgaudit.errors import PgauditError

INSTALL: Final = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
IS_PREPARED: Final = "SELECT to_regprocedure('pgaudit_testing.empty_trail()') IS NOT NULL"
HAS_EVENTS: Final = "SELECT EXISTS (SELECT FROM pgaudit.audit_log) OR EXISTS (SELECT FROM pgaudit.audit_jobs)"
EMPTY: Final = "SELECT pgaudit_testing.empty_trail()"


class NotATestDatabase(PgauditError):
    """The trail of this database cannot be emptied, because it was not made for tests."""


def prepare_database(dsn: str) -> None:
    """Makes a database a test database: migrates it, and lets ``empty_trail`` empty its trail.

    Copies of it (``CREATE DATABASE … TEMPLATE``) are test databases, too. Does nothing more when called again.

    :param dsn: the database, with a role that may create schemas in it.

    :raises NotATestDatabase: its trail holds events, and it was not prepared before.
    """
    from pgaudit import migrate  # noqa: PLC0415 - loads SQLAlchemy

    migrate.upgrade(dsn)
    with psycopg.connect(dsn) as conn:
        if not holds(conn, IS_PREPARED) and holds(conn, HAS_EVENTS):
            raise NotATestDatabase(
                f"the audit trail of {conn.info.dbname} holds events: prepare a database that is for tests alone"
            )
        conn.execute(INSTALL.encode())


def empty_trail(conn: object) -> None:
    """Empties the log and the queue of a test database; workers stay registered.

    >>> empty_trail(conn)

    Outside a transaction, this is one and is committed; inside, it is a part of it.

    :param conn: a connection as ``run_worker_once`` takes it; its role does not matter.
    :raises NotATestDatabase: ``prepare_database`` did not make this database; in others the trail cannot be emptied.
    :raises UnknownConnection: there is no synchronous psycopg connection below it.
    """
    driver = driver_of(conn)
    try:
        with driver.transaction():
            driver.execute(EMPTY)
    except InvalidSchemaName as error:
        raise NotATestDatabase(
            f"{driver.info.dbname} is not a test database: create it with pgaudit.testing.prepare_database(dsn)"
        ) from error


def holds(conn: psycopg.Connection[Any], question: str) -> bool:
    """Returns the answer to a question of yes or no."""
    return conn.execute(question.encode()).fetchone() == (True,)
