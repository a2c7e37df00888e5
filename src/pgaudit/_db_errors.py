"""Errors of the database: which are the infrastructure's fault, which refuse an event, and what may be logged."""

from collections.abc import Iterator
from typing import Final

import psycopg

from pgaudit.errors import PgauditError

# SQLSTATE classes: connection, transaction state, rollback, missing object or right, resources,
# object in use, operator, system. pgaudit.is_infrastructure holds the same list.
INFRASTRUCTURE: Final = frozenset({"08", "25", "40", "42", "53", "55", "57", "58"})

# pgaudit.record refuses the event.
REFUSED: Final = "PA001"
# What to do about an error, in the words of the command line.
HINTS: Final = {
    "3F000": "; run `pgaudit migrate`",  # no such schema
    "42P01": "; run `pgaudit migrate`",  # no such table
    "42883": "; run `pgaudit migrate`",  # no such function
    "42501": "; see `pgaudit grant`",
}
# A part of the message of a refused connection, and what to do. libpq gives no SQLSTATE for it, so only the message,
# in English, tells the reasons apart; a server with other messages gets no hint.
CONNECTION_HINTS: Final = {
    "password authentication failed": "; correct the password of the DSN, or the password file",
    "no password supplied": "; put it into the DSN or into a password file",
    "does not exist": "; correct the DSN, or create it",
    "permission denied for database": "; GRANT CONNECT on the database to the role",
    "no pg_hba.conf entry": "; allow the role and its address in pg_hba.conf",
}


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Returns the error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def origin(error: BaseException) -> psycopg.Error | None:
    """Returns the error of psycopg among the causes, if there is one."""
    return next((cause for cause in causes(error) if isinstance(cause, psycopg.Error)), None)


def is_infrastructure(error: BaseException) -> bool:
    """Returns whether the database or the way to it is to blame, and not the event."""
    found = origin(error)
    if found is None:
        return isinstance(error, OSError)
    # An OperationalError without a SQLSTATE is libpq's: no connection, or a lost one.
    unknown = "08" if isinstance(found, psycopg.OperationalError) else ""
    return (found.sqlstate or unknown)[:2] in INFRASTRUCTURE


def refusal(error: BaseException) -> str | None:
    """Returns why the database refused an event, whichever driver raised it; None for any other error."""
    refused = next((cause for cause in causes(error) if getattr(cause, "sqlstate", None) == REFUSED), None)
    if isinstance(refused, psycopg.Error):
        return refused.diag.message_primary or str(refused)
    return str(refused) if refused else None


def safe_summary(error: BaseException) -> str:
    """Returns the error for a log line, with a hint; with its message only where that cannot quote an event.

    A message of Postgres about a value quotes that value, and SQLAlchemy quotes the parameters of the statement.
    """
    cause = next((cause for cause in causes(error) if hasattr(cause, "sqlstate")), error)
    state = getattr(cause, "sqlstate", None)
    kind = f"{type(cause).__name__}, SQLSTATE {state}" if state else type(cause).__name__
    if isinstance(cause, psycopg.Error) and is_infrastructure(cause):
        message = cause.diag.message_primary or " ".join(str(cause).split()).rstrip(".")
        return f"{kind}: {message}{hint_for(state) or hint_for_connection(cause)}"
    return f"{kind}: {cause}" if isinstance(cause, PgauditError | OSError) else f"{kind}{hint_for(state)}"


def add_remedy(error: BaseException) -> None:
    """Adds the remedy for a missing schema or right to the error, as a note; does nothing for other errors."""
    states: Iterator[str | None] = (getattr(cause, "sqlstate", None) for cause in causes(error))
    remedy = hint_for(next(filter(None, states), None))
    if remedy:
        error.add_note(f"pgaudit{remedy.replace(';', ':', 1)}")


def hint_for(state: str | None) -> str:
    """Returns what to do about an error of that SQLSTATE: the end of a sentence, or an empty string."""
    return HINTS.get(state or "", "")


def hint_for_connection(error: psycopg.Error) -> str:
    """Returns the remedy if the server refuses the connection for a lasting reason; otherwise an empty string."""
    message = str(error) if error.sqlstate is None else ""
    return next((hint for text, hint in CONNECTION_HINTS.items() if "FATAL" in message and text in message), "")
