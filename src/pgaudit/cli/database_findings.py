"""What ``pgaudit doctor`` finds in the database: server, clock, role, rights, schema."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import class_row, scalar_row

from pgaudit import roles
from pgaudit._schema import fingerprint, owner
from pgaudit._schema.state import SCRIPTS, Standing, standing, state_of
from pgaudit.cli.findings import Finding, Level
from pgaudit.health import Status, capture_checks, stream_checks
from pgaudit.settings import Settings

OLDEST: Final = 15  # major version of PostgreSQL
CLOCK_LIMIT: Final = timedelta(seconds=1)
SERVER: Final = """
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::integer / 10000 AS major,
           current_setting('server_encoding') AS encoding, current_database()::text AS database,
           current_user::text AS role, pg_is_in_recovery() AS standby,
           (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser,
           clock_timestamp() AS now
"""

# The guards do not reject jobs that such a role inserts: Procrastinate and the owner's functions insert jobs as well.
WRITERS_OF_ALL_TABLES: Final = """
    SELECT rolname::text FROM pg_catalog.pg_roles
     WHERE NOT rolsuper AND rolname <> 'pg_write_all_data' AND pg_has_role(oid, 'pg_write_all_data', 'MEMBER')
     ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says of itself and of this connection."""

    version: str
    major: int
    encoding: str
    database: str
    role: str
    standby: bool
    superuser: bool
    now: datetime


def database_findings(conn: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Yields what can be seen through a connection."""
    before = datetime.now(UTC)
    with psycopg.Cursor(conn, row_factory=class_row(Server)) as cursor:
        server = cursor.execute(SERVER).fetchall()[0]
    after = datetime.now(UTC)
    yield server_finding(conn, server)
    yield clock_finding(server.now - (before + (after - before) / 2), after - before)
    if roles.rights(conn):
        yield from role_findings(conn, server)
    yield from writers_of_all_tables(conn)
    yield from schema_findings(conn, server.role)


def server_finding(conn: psycopg.Connection[Any], server: Server) -> Finding:
    """Returns which server it is, and whether pgaudit can run on it."""
    message = (
        f"PostgreSQL {server.version} at {conn.info.host or 'a local socket'}:{conn.info.port}, "
        f"database {server.database}, {server.encoding}"
    )
    if server.major < OLDEST:
        return Finding("database", Level.FAULT, message, f"use PostgreSQL {OLDEST} or newer")
    if server.encoding != "UTF8":
        return Finding("database", Level.FAULT, message, "use a database with the encoding UTF8")
    if server.standby:
        return Finding(
            "database", Level.WARNING, f"{message}, a standby", "connect to the primary to record or migrate"
        )
    return Finding("database", Level.OK, message)


def clock_finding(difference: timedelta, uncertainty: timedelta) -> Finding:
    """Returns how far the server's clock is ahead of this machine's."""
    message = f"the server's clock differs from this machine's by {difference.total_seconds():+.3f} s"
    if abs(difference) > CLOCK_LIMIT + uncertainty:
        remedy = "synchronize both clocks: occurred_at is this machine's time, recorded_at the server's"
        return Finding("clock", Level.WARNING, message, remedy)
    return Finding("clock", Level.OK, message)


def role_findings(conn: psycopg.Connection[Any], server: Server) -> Iterator[Finding]:
    """Yields who this connection is, and what it may do."""
    if server.superuser:
        yield Finding("role", Level.WARNING, f"{server.role} is a superuser", "use a plain role, see `pgaudit grant`")
        return
    mine = next((found for found in roles.rights(conn) if found.role == server.role), None)
    kinds = [*(["owner"] if mine and mine.owner else []), *(mine.kinds if mine else [])]
    remedy = f"as the owner, run `pgaudit grant --writer {shlex.quote(server.role)}`, or --reader, --worker, --operator"
    if kinds:
        yield Finding("role", Level.OK, f"{server.role}: {', '.join(kinds)}")
    else:
        yield Finding("role", Level.FAULT, f"{server.role} has no right in the schema pgaudit", remedy)


def writers_of_all_tables(conn: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Yields the roles that can insert jobs directly, without the checks and timestamps of ``pgaudit.record``."""
    with psycopg.Cursor(conn, row_factory=scalar_row) as cursor:
        for role in cursor.execute(WRITERS_OF_ALL_TABLES):
            message = f"{role} is a member of pg_write_all_data, and can write jobs that pgaudit.record has not checked"
            yield Finding(
                "role", Level.WARNING, message, f"REVOKE pg_write_all_data FROM {sql.Identifier(role).as_string(conn)}"
            )


def schema_findings(conn: psycopg.Connection[Any], role: str) -> Iterator[Finding]:
    """Yields the state of the schema, its owner, its triggers, and what was changed by hand."""
    try:
        found = state_of(conn)
    except psycopg.errors.InsufficientPrivilege:
        yield Finding("schema", Level.FAULT, f"{role} cannot see its state", "grant this role something first")
        return
    verdict = standing(found)
    message = f"{found or 'not installed'}; this version needs {SCRIPTS.state}"
    if verdict in {Standing.MISSING, Standing.BEHIND}:
        yield Finding("schema", Level.FAULT, message, "run `pgaudit migrate` as the owner")
    elif verdict is Standing.AHEAD:
        yield Finding("schema", Level.WARNING, message, "upgrade pgaudit on this machine")
    else:
        yield Finding("schema", Level.OK, message)
        yield from changes(conn)
        yield from capture_findings(conn)
        yield from stream_findings(conn)
    if warning := owner.warning(conn):
        message, _, remedy = warning.rstrip(".").rpartition(". ")
        yield Finding("owner", Level.WARNING, message, remedy)


def capture_findings(conn: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Yields the captured and guarded tables whose changes may pass; nothing for a role that may not know them."""
    try:
        problems = capture_checks.problems(conn)
    except psycopg.errors.InsufficientPrivilege:
        return
    for problem in problems:
        yield Finding(problem.purpose, Level.FAULT, problem.sentence, problem.remedy)


def stream_findings(conn: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Yields what is wrong with each stream; nothing for a role that may not know them."""
    try:
        states = stream_checks.states(conn)
    except psycopg.errors.InsufficientPrivilege:
        return
    for problem in stream_checks.problems(states, Settings()):
        level = Level.WARNING if problem.status is Status.DEGRADED else Level.FAULT
        yield Finding("stream", level, problem.sentence, problem.remedy)


def changes(conn: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Yields each change by hand; those of triggers by themselves."""
    differences = fingerprint.differences(conn)
    of_triggers = [difference for difference in differences if difference.startswith("trigger ")]
    if not of_triggers:
        yield Finding("triggers", Level.OK, "all triggers are there and enabled")
    for difference in differences:
        message, _, remedy = difference.partition(": ")
        name = "triggers" if difference in of_triggers else "schema"
        yield Finding(name, Level.FAULT, message, remedy or "run `pgaudit migrate --repair` as the owner")
