"""What a worker needs before it begins: the schema, and the right to work."""

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
    """Checks what the database has and allows.

    :raises WorkerRefused: the schema is not installed, or the role is no worker; the message says what to do.
    """
    try:
        async with connector.pool.connection() as conn:
            await check_schema(conn)
            await check_right(conn)
    except psycopg.Error as error:
        logger.warning("cannot check the schema: %s", safe_summary(error))


async def check_schema(conn: psycopg.AsyncConnection) -> None:
    """Writes to the application log when the schema is older than this version, which may still work on it.

    :raises WorkerRefused: there is none.
    """
    try:
        found = await state.state_of_async(conn)
    except psycopg.errors.InsufficientPrivilege:
        return  # to be named with the right to work
    verdict = state.standing(found)
    if verdict is state.Standing.MISSING:
        raise WorkerRefused(f"the database {conn.info.dbname} has no schema of pgaudit: run `pgaudit migrate`")
    if verdict is state.Standing.BEHIND:
        logger.error("the database is at %s, this version needs %s: run `pgaudit migrate`", found, state.SCRIPTS.state)
    elif verdict is state.Standing.AHEAD:
        logger.info("the database is at %s, which is newer than this version", found)


async def check_right(conn: psycopg.AsyncConnection) -> None:
    """Raises WorkerRefused if the role is no worker."""
    try:
        allowed = await (await conn.execute(MAY_WORK)).fetchone() == (True,)
    except psycopg.errors.InsufficientPrivilege:
        allowed = False  # it may not even look into the schema
    if not allowed:
        role, database = shlex.quote(conn.info.user), conn.info.dbname
        raise WorkerRefused(
            f"the role {role} is no worker in the database {database}: run `pgaudit grant --worker {role}` as the owner"
        )
