"""Changes triggers of the application's tables: in the caller's transaction, without keeping writers waiting."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable
from psycopg.rows import scalar_row

from pgaudit._driver import fetch, reading
from pgaudit._schema import owner
from pgaudit.errors import CaptureRefused

_Result = TypeVar("_Result")

# Writers queue behind a waiting lock on their table: wait briefly, and try often.
ATTEMPTS: Final = 30
PAUSE: Final = 0.5  # seconds
PATIENCE: Final = "500ms"
LIMIT: Final = "SELECT current_setting('lock_timeout')"
SET_LIMIT: Final = "SELECT set_config('lock_timeout', %s, true)"
NO_TABLE: Final = "42P01"
ELSEWHERE: Final = "If it is in a schema that the search path does not have, name that, too, as in insurance.claims"
# invalid parameter, no such table, not its owner, no such column, no name of a table (two), no such schema
REFUSED: Final = frozenset({"22023", NO_TABLE, "42501", "42703", "42601", "42602", "3F000"})


def change(conn: object, action: str, call: LiteralString, parameters: Mapping[str, object]) -> Any:
    """Runs a statement that calls a function of the schema, and returns its result; None without a row.

    It is part of the caller's transaction, or a transaction of its own on a connection in autocommit outside of one.
    While the table is locked, sessions that wait behind are let through between the attempts.

    :param action: what only the owner can do: "capture tables".
    :raises CaptureRefused: the database refuses it, or the table stayed locked.
    :raises psycopg.errors.InsufficientPrivilege: the connection's role does not own the schema.
    """
    driver = reading(conn)
    owner.require(driver, action)  # begins the transaction, unless in autocommit: attempts are savepoints in it
    return patiently(lambda: attempt(driver, call, parameters), str(parameters["table"]))


def attempt(driver: psycopg.Connection[Any], call: LiteralString, parameters: Mapping[str, object]) -> Any:
    """Runs the statement in a savepoint or transaction, with a limit for locks; the caller's limit is restored."""
    try:
        with driver.transaction():
            (limit,) = fetch(driver, scalar_row, LIMIT)
            fetch(driver, scalar_row, SET_LIMIT, [PATIENCE])
            result = next(iter(fetch(driver, scalar_row, call, dict(parameters))), None)
            fetch(driver, scalar_row, SET_LIMIT, [limit])
            return result
    except psycopg.Error as error:
        if error.sqlstate in REFUSED and 'schema "pgaudit"' not in str(error):
            raise refusal(error) from error
        raise


def patiently(run: Callable[[], _Result], table: str) -> _Result:
    """Returns what ``run`` does; tries again while the table is locked.

    :raises CaptureRefused: it stayed locked.
    """
    for _ in range(ATTEMPTS):
        with suppress(LockNotAvailable, DeadlockDetected):
            return run()
        time.sleep(PAUSE)
    raise CaptureRefused(
        f"a transaction keeps {table} locked: end it (pg_locks and pg_stat_activity show it), then try again"
    )


def refusal(error: psycopg.Error) -> CaptureRefused:
    """Returns the database's sentence, with its advice, as our error."""
    hint = ELSEWHERE if error.sqlstate == NO_TABLE else error.diag.message_hint
    sentence = (error.diag.message_primary or str(error)).rstrip(".")
    return CaptureRefused(f"{sentence}. {hint}" if hint else sentence)
