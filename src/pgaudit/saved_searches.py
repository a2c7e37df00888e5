"""Searches that users of the dashboard keep, in the database; each belongs to the user that the application names."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
from psycopg.rows import class_row, scalar_row

from pgaudit._driver import fetch, reading, undone_on_error
from pgaudit.errors import SearchNotSaved

__all__ = ["SavedSearch", "delete", "save", "saved"]

NOT_SAVED: Final = "PA002"
SAVED: Final = "SELECT owner, name, query, created_at FROM pgaudit.saved_search WHERE owner = %s ORDER BY name"
SAVE: Final = "SELECT pgaudit.save_search(%s, %s, %s)"
DELETE: Final = "SELECT pgaudit.delete_search(%s, %s)"


@dataclass(frozen=True, slots=True)
class SavedSearch:
    """A search under a name; ``query`` is its text, ``created_at`` when it was saved last."""

    owner: str
    name: str
    query: str
    created_at: datetime


def saved(conn: object, owner: str) -> list[SavedSearch]:
    """Returns the searches of a user, by name."""
    return fetch(reading(conn), class_row(SavedSearch), SAVED, [owner])


def save(conn: object, owner: str, name: str, query: str) -> None:
    """Saves a search; replaces the one of that name. In the caller's transaction; without one, it is committed at once.

    >>> save(conn, "user:42", "denied today", "outcome:denied after:1d")

    :param owner: the user, in 1 to 500 characters.
    :param name: 1 to 200 characters.
    :param query: at most 10,000 characters.
    :raises SearchNotSaved: one of them is longer or cannot be stored as text, or the user has 200 searches already.
    """
    try:
        with undone_on_error(conn) as driver:
            fetch(driver, scalar_row, SAVE, [owner, name, query])
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise SearchNotSaved("a saved search must not contain the character NUL or half a character") from error
    except psycopg.Error as error:
        if error.sqlstate != NOT_SAVED:
            raise
        raise SearchNotSaved(error.diag.message_primary) from error


def delete(conn: object, owner: str, name: str) -> bool:
    """Deletes a search of a user. Returns whether there was one: there is none with a name that cannot be stored."""
    try:
        with undone_on_error(conn) as driver:
            return fetch(driver, scalar_row, DELETE, [owner, name]) == [True]
    except (psycopg.DataError, UnicodeEncodeError):
        return False
