"""The archive: the schema of pgaudit, one partition for all events, and a subscription.

Guards fire ALWAYS there, too. They let in what the subscription applies, row by row, but not its first copy, which is a
statement: the guards of inserts are off until that has ended. Nothing else writes to the archive: it has no worker.
"""

import time
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row, tuple_row

from pgaudit._driver import fetch
from pgaudit.archive.publication import NAME, TABLES
from pgaudit.errors import ArchiveRefused

LOOK_EVERY_SECONDS: Final = 0.2
IS_SUPERUSER: Final = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
IS_INSTALLED: Final = "SELECT to_regclass('pgaudit.audit_log') IS NOT NULL"
IS_EMPTY: Final = """
    SELECT NOT EXISTS (SELECT FROM pgaudit.audit_log) AND NOT EXISTS (SELECT FROM pgaudit.batch)
           AND NOT EXISTS (SELECT FROM pgaudit.audit_jobs)
"""
SUBSCRIBED: Final = """
    SELECT EXISTS (SELECT FROM pg_subscription
                    WHERE subname = %s AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
COPYING: Final = """
    SELECT r.srrelid::regclass::text FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
     WHERE s.subname = %s AND r.srsubstate <> 'r' ORDER BY 1
"""
AS_OWNER: Final = """
    SELECT set_config('role', pg_get_userbyid(relowner), true) FROM pg_class WHERE oid = 'pgaudit.audit_log'::regclass
"""
# Nobody makes partitions there, and none is removed.
ONE_PARTITION: Final = """
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT p.partition FROM pgaudit.log_partitions() p LOOP
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
    CREATE TABLE pgaudit.audit_log_0 (LIKE pgaudit.audit_log INCLUDING ALL) WITH (autovacuum_freeze_min_age = 0);
    ALTER TABLE pgaudit.audit_log ATTACH PARTITION pgaudit.audit_log_0 FOR VALUES FROM (0) TO (9223372036854775807);
    PERFORM pgaudit.guard_partition('pgaudit.audit_log_0'), pgaudit.revoke_default_privileges('pgaudit.audit_log_0');
END $$
"""
COMMENT: Final = """
    SELECT obj_description(oid, 'pg_subscription') FROM pg_subscription
     WHERE subname = %s AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
FIRST_INDEX: Final = "The log of pgaudit from index "
INSERT_GUARDS: Final = {"audit_log": "append_only_insert"}
OTHER_GUARD: Final = "reject_direct_write"

Connection = psycopg.Connection[Any]


def prepare(archive: Connection, conninfo: str) -> None:
    """Makes the schema, unless it is there.

    :raises ArchiveRefused: the role is no superuser, or the database has events of its own.
    """
    from pgaudit import migrate  # noqa: PLC0415 - half a second that the other commands need not wait

    if fetch(archive, scalar_row, IS_SUPERUSER) != [True]:
        raise ArchiveRefused(
            "connect to the archive as a superuser: another role's subscription would store the password of the primary"
        )
    if fetch(archive, scalar_row, IS_INSTALLED) != [True]:
        migrate.upgrade(conninfo)
    if fetch(archive, scalar_row, IS_EMPTY) != [True]:
        raise ArchiveRefused("that database has events of its own: create an empty one for the archive")


def is_subscribed(archive: Connection, name: str) -> bool:
    """Returns whether the database has the subscription."""
    return fetch(archive, scalar_row, SUBSCRIBED, [name]) == [True]


def subscribe(archive: Connection, name: str, source: str, first: int) -> None:
    """Creates the subscription, which begins with a copy of what the primary has.

    :param source: how the archive's server connects to the primary.
    :param first: the first index that the primary has: the comment of the subscription keeps it.
    :raises psycopg.Error: that server does not reach it; then nothing is left.
    """
    with archive.transaction():
        archive.execute(AS_OWNER)
        archive.execute(ONE_PARTITION)
        set_guards(archive, "DISABLE")
    statement = sql.SQL("CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {}")
    try:
        archive.execute(statement.format(sql.Identifier(name), sql.Literal(source), sql.Identifier(NAME)))
    except BaseException:
        set_guards(archive, "ENABLE ALWAYS")
        raise
    comment = sql.SQL("COMMENT ON SUBSCRIPTION {} IS {}")
    archive.execute(comment.format(sql.Identifier(name), sql.Literal(f"{FIRST_INDEX}{first}")))


def first_index(archive: Connection, name: str) -> int:
    """Returns the first index that the primary had when the archive was set up; 0 if nothing says so."""
    comments = fetch(archive, scalar_row, COMMENT, [name])
    kept = str(comments[0] or "").removeprefix(FIRST_INDEX) if comments else ""
    return int(kept) if kept.isdecimal() else 0


def refresh(archive: Connection, name: str) -> None:
    """Takes in tables that are new in the publication, with a copy of what they have."""
    set_guards(archive, "DISABLE")
    archive.execute(sql.SQL("ALTER SUBSCRIPTION {} REFRESH PUBLICATION").format(sql.Identifier(name)))


def set_guards(archive: Connection, state: LiteralString) -> None:
    """Sets the state of the guards that would refuse the first copy."""
    with archive.transaction():
        for table in TABLES:
            guard = INSERT_GUARDS.get(table, OTHER_GUARD)
            statement = sql.SQL("ALTER TABLE {} " + state + " TRIGGER {}")
            archive.execute(statement.format(sql.Identifier("pgaudit", table), sql.Identifier(guard)))


def copying(archive: Connection, name: str) -> list[str]:
    """Returns the tables of which the first copy has not ended."""
    return [table for (table,) in fetch(archive, tuple_row, COPYING, [name])]


def wait_for_copy(archive: Connection, name: str, seconds: float) -> list[str]:
    """Waits for the first copy to end, and then lets the guards fire. Returns the tables that it has not ended for."""
    deadline = time.monotonic() + seconds
    while (left := copying(archive, name)) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SECONDS)
    if not left:
        set_guards(archive, "ENABLE ALWAYS")
    return left
