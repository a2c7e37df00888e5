"""Exit codes of all commands, and the sentence for each error that a user can correct."""

from enum import IntEnum
from typing import Final

import psycopg

from pgaudit._db_errors import is_infrastructure
from pgaudit.errors import InvalidQuery, InvalidSettings, MissingExtra, PgauditError


class Code(IntEnum):
    """How a command ends."""

    FINE = 0
    BAD = 1  # the verdict is bad, or what was asked for cannot be done
    USAGE = 2  # a wrong option, argument, query or setting
    CANNOT_LOOK = 3  # no connection, no answer, no right, no schema
    AHEAD = 4  # migrate --check: a newer version of pgaudit has migrated the schema
    CHANGED = 5  # migrate --check: the schema was changed by hand


EPILOG: Final = (
    "Exit codes: 0 fine; 1 the verdict is bad, or the request was refused; 2 wrong option, argument, query or setting; "
    "3 cannot look: no connection, no answer, no right, or no schema. `migrate --check` also has 4 and 5. 130: Ctrl-C."
)


class CannotLook(PgauditError):
    """The database does not answer, or not to this role; the message says what to do."""


class NoSuchEvent(PgauditError):
    """No event in the log has that index or id."""


def code_of(error: Exception) -> Code:
    """Returns the exit code for an error."""
    match error:
        case InvalidSettings() | InvalidQuery():
            return Code.USAGE
        case CannotLook() | MissingExtra() | OSError():
            return Code.CANNOT_LOOK
        case psycopg.errors.UndefinedObject():  # a role that does not exist
            return Code.BAD
        case psycopg.Error() if is_infrastructure(error):
            return Code.CANNOT_LOOK
        case _:
            return Code.BAD


def sentence_of(error: Exception) -> str:
    """Returns an error as one sentence."""
    text = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((text or str(error).strip() or repr(error)).split())
