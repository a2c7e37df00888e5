"""What an error's SQLSTATE says: who is to blame, and how much of the error may be told."""

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
ADVICE: Final = {
    "3F000": "; run `pgaudit migrate`",  # no such schema
    "42P01": "; run `pgaudit migrate`",  # no such table
    "42883": "; run `pgaudit migrate`",  # no such function
    "42501": "; see `pgaudit grant`",
}


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def blames_database(error: psycopg.Error) -> bool:
    """Whether the database or the way to it is to blame, and not the event."""
    # An OperationalError without a SQLSTATE is libpq's: no connection, or a lost one.
    unknown = "08" if isinstance(error, psycopg.OperationalError) else ""
    return (error.sqlstate or unknown)[:2] in INFRASTRUCTURE


def refusal(error: BaseException) -> str | None:
    """Returns why the database refused an event, whichever driver says so; None for any other error."""
    refused = next((cause for cause in causes(error) if getattr(cause, "sqlstate", None) == REFUSED), None)
    if isinstance(refused, psycopg.Error):
        return refused.diag.message_primary or str(refused)
    return str(refused) if refused else None


def in_brief(error: BaseException) -> str:
    """The error for a log line, and what to do about it: with its message only where that cannot quote an event.

    What Postgres says of a value quotes it, and SQLAlchemy quotes the parameters of the statement.
    """
    origin = next((cause for cause in causes(error) if hasattr(cause, "sqlstate")), error)
    state = getattr(origin, "sqlstate", None)
    kind = f"{type(origin).__name__}, SQLSTATE {state}" if state else type(origin).__name__
    if isinstance(origin, psycopg.Error) and blames_database(origin):
        return f"{kind}: {origin.diag.message_primary or origin}{advice_on(state)}"
    return f"{kind}: {origin}" if isinstance(origin, PgauditError | OSError) else f"{kind}{advice_on(state)}"


def advice_on(state: str | None) -> str:
    """What to do about an error of that SQLSTATE: the end of a sentence, or nothing."""
    return ADVICE.get(state or "", "")
