"""The one transaction of a migration, and who keeps it waiting."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, Final

import psycopg
import sqlalchemy
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

PATIENCE: Final = "SET LOCAL lock_timeout = '60s'"  # for another migration
TABLE_PATIENCE: Final = "SET LOCAL lock_timeout = '10s'"  # for a table: traffic queues up behind this transaction
NO_TIMEOUT: Final = "SET LOCAL statement_timeout = 0"  # a role's own would end a long migration
BLOCKERS: Final = """
    SELECT CASE locktype WHEN 'relation' THEN relation::regclass::text ELSE 'the schema pgaudit' END,
           string_agg(DISTINCT CASE blocker WHEN 0 THEN 'a prepared transaction'
                                            ELSE format('process %%s of role %%s', blocker, usename) END, ', ')
      FROM pg_catalog.pg_locks waiting, unnest(pg_catalog.pg_blocking_pids(waiting.pid)) blocker
      LEFT JOIN pg_catalog.pg_stat_activity activity ON activity.pid = blocker
     WHERE waiting.pid = %s AND NOT waiting.granted GROUP BY 1
"""
LOOK_AFTER: Final = 0.3  # seconds: most migrations never wait, and need no second connection


@dataclass(frozen=True, slots=True)
class Session:
    """One transaction, for psycopg and for SQLAlchemy."""

    driver: psycopg.Connection[Any]
    alchemy: sqlalchemy.Connection

    def run(self, script: str) -> None:
        """Runs a script of any number of statements exactly as it is written."""
        self.driver.execute(script.encode())


@contextmanager
def transaction(dsn: str) -> Generator[Session]:
    """Yields a session in a transaction that is committed at the end, or rolled back by an error.

    :raises psycopg.errors.LockNotAvailable: another session was in the way for too long; the message names it.
    """
    with psycopg.connect(dsn, client_encoding="utf8") as driver:
        driver.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # an older snapshot would miss another migration
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=lambda: driver, poolclass=StaticPool, use_native_hstore=False
        )
        try:
            with engine.connect() as conn, naming_blockers(driver, dsn), conn.begin():
                for setting in (PATIENCE, NO_TIMEOUT):
                    driver.execute(setting.encode())
                yield Session(driver, conn)
        except DBAPIError as error:
            raise error.orig or error from None  # the driver's own, without the script that it is about


@contextmanager
def naming_blockers(conn: psycopg.Connection[Any], dsn: str) -> Generator[None]:
    """Says in a LockNotAvailable what was locked, and by whom."""
    seen: list[str] = []
    done = Event()
    watcher = Thread(target=watch, args=(dsn, conn.info.backend_pid, done, seen), daemon=True)
    watcher.start()
    try:
        yield
    except LockNotAvailable as error:
        culprit = seen[-1] if seen else "a table of the schema pgaudit stayed locked"
        raise LockNotAvailable(f"{culprit}. Nothing was changed: try again when that transaction has ended") from error
    finally:
        done.set()
        watcher.join()


def watch(dsn: str, pid: int, done: Event, seen: list[str]) -> None:
    """Looks, through another connection, at what that process waits for, until it is done."""
    while not done.wait(LOOK_AFTER):
        with suppress(psycopg.Error), psycopg.connect(dsn, autocommit=True, client_encoding="utf8") as conn:
            while not done.wait(LOOK_AFTER):
                for what, whom in conn.execute(BLOCKERS, [pid]).fetchall():
                    seen.append(f"{what} is locked by {whom}")
