"""Calls the functions of the database that change streams."""

from collections.abc import Callable
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import scalar_row

from pgaudit._driver import fetch, undone_on_error
from pgaudit.errors import InvalidStream, PgauditError, StreamNotFound

REFUSED: Final = "PA003"
NAMES: Final = ": pgaudit stream list names them all"


def stream_refusal(message: str) -> InvalidStream | StreamNotFound:
    """Returns the error for what the database has refused, with what to do about it."""
    if message.startswith("there is no stream"):
        return StreamNotFound(message + NAMES)
    if message.endswith("already"):
        message += ": choose another name, or remove that one first"
    return InvalidStream(message)


def change(
    conn: object,
    statement: LiteralString,
    given: dict[str, object],
    refusal: Callable[[str], PgauditError] = stream_refusal,
) -> Any:
    """Calls a function that changes a stream, and returns what it returns.

    :param refusal: returns the error for the message with which the database refuses the change.

    :raises StreamNotFound: there is none of that name.
    :raises InvalidStream: the change was refused.
    """
    try:
        with undone_on_error(conn) as driver:
            (result,) = fetch(driver, scalar_row, statement, given)
    except psycopg.errors.CheckViolation:
        raise InvalidStream(
            "the name of a stream has 1 to 63 lower-case letters, digits, dots, hyphens and underscores, and begins "
            "with a letter or digit"
        ) from None
    except psycopg.Error as error:
        if error.sqlstate != REFUSED:
            raise
        raise refusal(error.diag.message_primary or "") from None
    return result
