"""Adds and removes chosen indexes while the log is read and appended to."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable
from psycopg.pq import TransactionStatus
from psycopg.rows import scalar_row, tuple_row

from pgaudit._driver import fetch, reading
from pgaudit._schema import owner
from pgaudit.errors import IndexRefused
from pgaudit.indexes.catalog import ChosenIndex, Partition, lacking, list_indexes
from pgaudit.indexes.expressions import Choice, chosen

# Readers and appends queue behind a waiting lock on the log: wait briefly, and try often.
ATTEMPTS: Final = 30
PAUSE: Final = 0.5  # seconds
PATIENCE: Final = "SET LOCAL lock_timeout = '500ms'"
CREATE: Final = "CREATE INDEX {} ON ONLY pgaudit.audit_log {}"
NAME: Final = "COMMENT ON INDEX pgaudit.{} IS {}"
BUILD: Final = "CREATE INDEX CONCURRENTLY {} ON {} {}"
ANALYZE: Final = "ANALYZE {}"  # a partition that no longer changes is not analyzed by autovacuum
ATTACH: Final = "ALTER INDEX pgaudit.{} ATTACH PARTITION {}"
DROP: Final = "DROP INDEX IF EXISTS pgaudit.{}"
DROP_UNATTACHED: Final = "DROP INDEX CONCURRENTLY IF EXISTS {}"
EXISTS: Final = "SELECT to_regclass('pgaudit.' || %s) IS NOT NULL"
# CREATE INDEX CONCURRENTLY waits without blocking others, and a timeout would leave an invalid index.
LIMITS: Final = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
SET_LIMITS: Final = "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)"
LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('pgaudit.index', 0))"
UNLOCK: Final = "SELECT pg_advisory_unlock(hashtextextended('pgaudit.index', 0))"


@dataclass(frozen=True, slots=True)
class Step:
    """The build of the index on one partition: the ``number``-th of the ``count`` partitions that lacked it."""

    partition: str
    number: int
    count: int


def add(conn: object, name: str, progress: Callable[[Step], object] = lambda _: None) -> ChosenIndex:
    """Adds an index, and returns it when every partition has it. Events are read and appended meanwhile.

    After an interruption, call it again: it keeps what is complete. It waits for transactions that were open when it
    began, as CREATE INDEX CONCURRENTLY does.

    >>> with psycopg.connect(dsn, autocommit=True) as conn:
    ...     add(conn, "request").complete
    True

    :param conn: a connection of psycopg in autocommit, outside a transaction, as the owner of the schema.
    :param name: request, correlation, trace, session, ip, data, changes, or a path such as data.claim_number.
    :param progress: called before each partition is indexed.
    :raises IndexRefused: there is no such index to choose, the connection is in a transaction, another session is
        changing indexes, or a long transaction keeps the log locked.
    :raises psycopg.errors.InsufficientPrivilege: the connection's role does not own the schema.
    """
    choice = chosen(name)
    with alone(conn) as driver:
        if not fetch(driver, scalar_row, EXISTS, [choice.relation])[0]:
            create(driver, choice)
        build(driver, choice, progress)
        if not found(driver, choice).complete:  # a partition was detached while it was the last one without the index
            drop(driver, choice)
            create(driver, choice)
            build(driver, choice, progress)
        return found(driver, choice)


def remove(conn: object, name: str) -> None:
    """Removes an index, complete or not. Reading and appending waits a moment.

    :param conn: as for :func:`add`.
    :raises IndexRefused: there is no such index, or as for :func:`add`.
    :raises psycopg.errors.InsufficientPrivilege: the connection's role does not own the schema.
    """
    choice = chosen(name)
    with alone(conn) as driver:
        if not fetch(driver, scalar_row, EXISTS, [choice.relation])[0]:
            raise IndexRefused(f"there is no index {name}: `pgaudit index list` shows those that were added")
        drop(driver, choice)


@contextmanager
def alone(conn: object) -> Generator[psycopg.Connection[Any]]:
    """Yields the owner's connection, without time limits, while no other session changes indexes."""
    driver = reading(conn)
    if not driver.autocommit or driver.info.transaction_status != TransactionStatus.IDLE:
        raise IndexRefused("an index is changed outside of transactions: use a psycopg connection in autocommit")
    owner.require(driver, "add and remove indexes")
    if not fetch(driver, scalar_row, LOCK)[0]:
        raise IndexRefused("another session adds or removes an index: try again when it has ended")
    (limits,) = fetch(driver, tuple_row, LIMITS)
    try:
        fetch(driver, tuple_row, SET_LIMITS, ["0", "0"])
        yield driver
    finally:
        if not driver.closed:
            fetch(driver, tuple_row, SET_LIMITS, limits)
            fetch(driver, tuple_row, UNLOCK)


def create(driver: psycopg.Connection[Any], choice: Choice) -> None:
    """Creates the index of the log, invalid until every partition has one; partitions created from now on have it."""
    name = sql.Identifier(choice.relation)
    briefly(driver, sql.SQL(CREATE).format(name, choice.definition), sql.SQL(NAME).format(name, choice.name))


def build(driver: psycopg.Connection[Any], choice: Choice, progress: Callable[[Step], object]) -> None:
    """Creates the index on each partition that lacks it, and attaches it."""
    number = 0
    while missing := lacking(driver, choice):
        number += 1
        progress(Step(missing[0].name, number, number - 1 + len(missing)))
        build_on(driver, choice, missing[0])


def build_on(driver: psycopg.Connection[Any], choice: Choice, partition: Partition) -> None:
    """Creates the index on a partition, and attaches it. What an interrupted build has left is replaced."""
    index = sql.Identifier(partition.schema, f"{choice.relation}_{partition.oid}")
    table = sql.Identifier(partition.schema, partition.name)
    if partition.is_valid is False:
        driver.execute(sql.SQL(DROP_UNATTACHED).format(index))
    if not partition.is_valid:
        name = sql.Identifier(f"{choice.relation}_{partition.oid}")
        driver.execute(sql.SQL(BUILD).format(name, table, choice.definition))
    driver.execute(sql.SQL(ANALYZE).format(table))
    briefly(driver, sql.SQL(ATTACH).format(sql.Identifier(choice.relation), index))


def drop(driver: psycopg.Connection[Any], choice: Choice) -> None:
    """Drops the index with those of its partitions, and what an interrupted build has left."""
    briefly(driver, sql.SQL(DROP).format(sql.Identifier(choice.relation)))
    for partition in lacking(driver, choice):
        if partition.is_valid is not None:
            index = sql.Identifier(partition.schema, f"{choice.relation}_{partition.oid}")
            driver.execute(sql.SQL(DROP_UNATTACHED).format(index))


def briefly(driver: psycopg.Connection[Any], *statements: sql.Composed) -> None:
    """Runs statements that lock the log, in a transaction; gives way to readers and appends until the lock is free.

    :raises IndexRefused: the log stayed locked.
    """
    for _ in range(ATTEMPTS):
        try:
            with driver.transaction():
                driver.execute(PATIENCE)
                for statement in statements:
                    driver.execute(statement)
        except (LockNotAvailable, DeadlockDetected):
            time.sleep(PAUSE)
        else:
            return
    raise IndexRefused(
        "a transaction keeps the audit log locked: end it (pg_locks and pg_stat_activity show it), then run the same "
        "command again, which keeps what is built"
    )


def found(driver: psycopg.Connection[Any], choice: Choice) -> ChosenIndex:
    """Returns the index as the catalog has it."""
    return next(index for index in list_indexes(driver) if index.name == choice.name)
