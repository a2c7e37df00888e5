"""Is the audit trail keeping up? One query, and a sentence for each thing that matters.

================  =================================================
observation       what is asked of the database
verdicts          healthy, degraded or unhealthy, for each of them
schema_checks     version, owner and changes by hand of the schema
anchor_checks     how far anchors are behind the checkpoints
archive_checks    whether archives follow, or leave WAL behind
capture_checks    whether changes of captured tables may pass
stream_checks     whether streams send what is in the log
processor_checks  whether processors keep up
status            the types of a verdict
================  =================================================
"""

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from pgaudit._db_errors import origin
from pgaudit._driver import async_driver_of, fetch, reading
from pgaudit.health import schema_checks
from pgaudit.health.observation import OBSERVE, Observation
from pgaudit.health.schema_checks import SchemaObservation
from pgaudit.health.status import Check, Status
from pgaudit.health.verdicts import check_spool, verdicts
from pgaudit.settings import Settings

__all__ = ["Check", "HealthReport", "Status", "check", "check_async"]

NO_RIGHT: Final = "42501"
# Classes of SQLSTATE: there is no such schema; there is no such object.
MISSING: Final = ("3F", "42")


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The worst of its checks, and the checks."""

    status: Status
    checks: tuple[Check, ...]


def check(conn: object, settings: Settings | None = None) -> HealthReport:
    """Checks the audit trail through a connection. An error of the database is reported as a verdict, not raised.

    >>> check(conn).status
    <Status.HEALTHY: 'healthy'>

    In a transaction of the application the check is a savepoint, so an error does not abort the transaction.

    :raises UnknownConnection: ``conn`` is asynchronous, or has no psycopg connection below it.
    """
    settings = settings or Settings()
    try:
        driver = reading(conn)
    except Exception as error:  # SQLAlchemy and Django wrap psycopg's error in their own
        if (cause := origin(error)) is None:
            raise
        return unreachable(cause)
    try:
        with driver.transaction() if is_in_transaction(driver) else nullcontext():
            (seen,) = fetch(driver, class_row(Observation), OBSERVE)
            schema = schema_checks.observe(driver)
    except psycopg.Error as error:
        return unreachable(error, driver.info.user if error.sqlstate == NO_RIGHT else "")
    return _report(seen, schema, check_spool(settings), settings)


async def check_async(conn: object, settings: Settings | None = None) -> HealthReport:
    """``check`` for an AsyncConnection of psycopg.

    :raises UnknownConnection: ``conn`` is not an AsyncConnection of psycopg, or a cursor of one.
    """
    settings = settings or Settings()
    driver = async_driver_of(conn)
    try:
        async with driver.transaction() if is_in_transaction(driver) else nullcontext():
            cursor = psycopg.AsyncCursor(driver, row_factory=class_row(Observation))
            (seen,) = await (await cursor.execute(OBSERVE)).fetchall()
            schema = await schema_checks.observe_async(driver)
    except psycopg.Error as error:
        return unreachable(error, driver.info.user if error.sqlstate == NO_RIGHT else "")
    return _report(seen, schema, await asyncio.to_thread(check_spool, settings), settings)


def is_in_transaction(driver: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Returns whether the connection is in a transaction that has not failed."""
    return driver.info.transaction_status == TransactionStatus.INTRANS


def unreachable(error: psycopg.Error, role: str = "") -> HealthReport:
    """Returns the report when the database does not answer, or has no schema that this role can read."""
    state, reason = error.sqlstate or "", str(error).partition("\n")[0] or repr(error)
    verdict = "refuses" if state or "FATAL:" in reason else "does not answer"
    missing = "; run `pgaudit migrate`" if state[:2] in MISSING else ""
    hint = f"; run `pgaudit grant --reader {role or 'ROLE'}` as the owner" if state == NO_RIGHT else missing
    check = Check("database", Status.UNHEALTHY, error.sqlstate, None, f"The database {verdict}: {reason}{hint}.")
    return HealthReport(Status.UNHEALTHY, (check,))


def _report(seen: Observation, schema: SchemaObservation, spool_check: Check, settings: Settings) -> HealthReport:
    """Returns the report on what was observed."""
    checks = (*verdicts(seen, schema, settings), spool_check)
    worst = max(checks, key=lambda check: list(Status).index(check.status))
    return HealthReport(worst.status, checks)
