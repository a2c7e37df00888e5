"""Checks that the database has the schema, and the worker's role its rights, before a worker starts."""

import logging
import shlex
from typing import Final

import psycopg

from pgaudit._db_errors import safe_summary
from pgaudit._schema import state
from pgaudit.errors import WorkerRefused
from pgaudit.worker.connector import AuditConnector

logger = logging.getLogger("pgaudit.worker")

MAY_WORK: Final = "SELECT has_function_privilege('pgaudit.register_worker(interval, integer)', 'EXECUTE')"


async def check_requirements(connector: AuditConnector) -> None:
    """Checks the schema and the rights. Logs a warning if the database cannot be asked.

    :raises WorkerRefused: the schema is missing, or the role lacks the rights of a worker; the message has the remedy.
    """
    try:
        async with connector.pool.connection() as conn:
            await check_schema(conn)
            await check_right(conn)
    except psycopg.Error as error:
        logger.warning("cannot check the schema: %s", safe_summary(error))


async def check_schema(conn: psycopg.AsyncConnection) -> None:
    """Logs an error if the schema is older than this version; the worker starts, because it may still work.

    :raises WorkerRefused: the schema is missing.
    """
    try:
        found = await state.state_of_async(conn)
    except psycopg.errors.InsufficientPrivilege:
        return  # check_right() reports it
    verdict = state.standing(found)
    if verdict is state.Standing.MISSING:
        raise WorkerRefused(f"the database {conn.info.dbname} has no schema of pgaudit: run `pgaudit migrate`")
    if verdict is state.Standing.BEHIND:
        logger.error("the database is at %s, this version needs %s: run `pgaudit migrate`", found, state.SCRIPTS.state)
    elif verdict is state.Standing.AHEAD:
        logger.info("the database is at %s, which is newer than this version", found)


async def check_right(conn: psycopg.AsyncConnection) -> None:
    """Raises WorkerRefused if the role lacks the rights of a worker."""
    try:
        allowed = await (await conn.execute(MAY_WORK)).fetchone() == (True,)
    except psycopg.errors.InsufficientPrivilege:
        allowed = False  # the role lacks even USAGE on the schema
    if not allowed:
        role, database = shlex.quote(conn.info.user), conn.info.dbname
        raise WorkerRefused(
            f"the role {role} is not a worker in the database {database}: "
            f"run `pgaudit grant --worker {role}` as the owner"
        )
