"""Is the audit trail keeping up? One query, and a sentence for each thing that matters.

=============  =================================================
observation    what is asked of the database
verdicts       healthy, degraded or unhealthy, for each of them
schema_checks  version, owner and changes by hand of the schema
status         the types of a verdict
=============  =================================================
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

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


def check(conn: psycopg.Connection[Any], settings: Settings | None = None) -> HealthReport:
    """Checks the audit trail through a connection. An error of the database is a verdict: it is not raised.

    >>> check(conn).status
    <Status.HEALTHY: 'healthy'>
    """
    settings = settings or Settings()
    try:
        with conn.cursor(row_factory=class_row(Observation)) as cursor:
            observation = cursor.execute(OBSERVE).fetchone()
        schema = schema_checks.observe(conn)
    except psycopg.Error as error:
        return unreachable(error, conn.info.user if error.sqlstate == NO_RIGHT else "")
    return _report(observation, schema, check_spool(settings), settings)


async def check_async(conn: psycopg.AsyncConnection[Any], settings: Settings | None = None) -> HealthReport:
    """``check`` for asynchronous connections."""
    settings = settings or Settings()
    try:
        async with conn.cursor(row_factory=class_row(Observation)) as cursor:
            await cursor.execute(OBSERVE)
            observation = await cursor.fetchone()
        schema = await schema_checks.observe_async(conn)
    except psycopg.Error as error:
        return unreachable(error, conn.info.user if error.sqlstate == NO_RIGHT else "")
    return _report(observation, schema, await asyncio.to_thread(check_spool, settings), settings)


def unreachable(error: psycopg.Error, role: str = "") -> HealthReport:
    """Returns the report when the database does not answer, or has no schema that this role can read."""
    state, reason = error.sqlstate or "", str(error).partition("\n")[0] or repr(error)
    verdict = "refuses" if state or "FATAL:" in reason else "does not answer"
    missing = "; run `pgaudit migrate`" if state[:2] in MISSING else ""
    hint = f"; run `pgaudit grant --reader {role or 'ROLE'}` as the owner" if state == NO_RIGHT else missing
    check = Check("database", Status.UNHEALTHY, error.sqlstate, None, f"The database {verdict}: {reason}{hint}.")
    return HealthReport(Status.UNHEALTHY, (check,))


def _report(
    seen: Observation | None, schema: SchemaObservation, spool_check: Check, settings: Settings
) -> HealthReport:
    """Returns the report on what was observed."""
    assert seen is not None, "queue_stats has one row"  # noqa: S101 - for the type checker
    checks = (*verdicts(seen, schema, settings), spool_check)
    worst = max(checks, key=lambda check: list(Status).index(check.status))
    return HealthReport(worst.status, checks)
