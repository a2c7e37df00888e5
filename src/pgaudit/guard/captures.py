"""Capture: triggers record an event for each changed row of a table, whoever changed it."""

from dataclasses import dataclass
from typing import Final

from psycopg.rows import class_row

from pgaudit._driver import fetch, reading
from pgaudit.guard.changing import change
from pgaudit.guard.tables import FIELDS, NAMED, Names, WatchedTable, require, several, the_only

__all__ = ["Capture", "add", "get_capture", "list_captures", "pause", "remove", "renew", "resume"]

ACTION: Final = "capture tables"
ADD: Final = """
    SELECT pgaudit.table_name(relation)
      FROM CAST(%(table)s::text AS regclass) AS relation,
           pgaudit.add_capture(relation, %(target)s, %(key)s::text[], %(action)s, %(columns)s::text[],
                               %(exclude)s::text[], %(mask)s::text[], %(when)s)
"""
REMOVE: Final = "SELECT pgaudit.remove_capture(%(table)s::text::regclass)"
PAUSE: Final = "SELECT pgaudit.pause_capture(%(table)s::text::regclass, %(paused)s)"
RENEW: Final = """
    SELECT pgaudit.table_name(relation) FROM CAST(%(table)s::text AS regclass) AS relation
     WHERE pgaudit.renew_capture(relation)
"""
CAPTURES: Final = f"SELECT {FIELDS} FROM pgaudit.capture_state"  # noqa: S608 - of literals
LISTED: Final = f"{CAPTURES} ORDER BY schema_name, table_name"
SHOWN: Final = f"{CAPTURES} WHERE {NAMED}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture(WatchedTable):
    """A captured table."""

    purpose = "capture"
    watched = "captured"


def add(  # noqa: PLR0913 - each an option of the capture, all but the table by name
    conn: object,
    table: str,
    *,
    target: str,
    key: Names,
    action: str | None = None,
    columns: Names | None = None,
    exclude: Names = (),
    mask: Names = (),
    when: str | None = None,
) -> Capture:
    """Captures a table from now on, in the caller's transaction. Replaces an earlier capture.

    >>> capture = captures.add(conn, "claims", target="claim", key="id", mask="status")

    It locks the table against writes until the transaction ends. When the table stays locked, it tries again for half a
    minute, and lets writers through meanwhile.

    :param conn: a connection of psycopg, or of SQLAlchemy or Django on psycopg, as the owner of schema and table.
    :param table: its name as SQL has it: ``claims`` by the search path, or ``insurance.claims``.
    :param target: the type of the target; its id is the row's key.
    :param key: the columns of the key.
    :param action: what actions begin with, as in ``claim.updated``; the target's type when left out.
    :param columns: those to record; all when left out.
    :param exclude: columns that are not recorded; a change of these alone is no event.
    :param mask: columns whose changes are recorded without their values.
    :param when: SQL about ``old`` and ``new``: an UPDATE is recorded only where it holds.
    :raises CaptureRefused: it cannot be captured so, as the message says, or it stayed locked.
    :raises psycopg.errors.InsufficientPrivilege: the connection's role does not own the schema.
    """
    options = {
        "table": table,
        "target": target,
        "key": several(key),
        "action": action,
        "columns": None if columns is None else several(columns),
        "exclude": several(exclude),
        "mask": several(mask),
        "when": when,
    }
    return get_capture(conn, change(conn, ACTION, ADD, options))


def remove(conn: object, table: str) -> None:
    """Ends the capture of a table, in the caller's transaction.

    :raises CaptureRefused: it is not captured, or as for :func:`add`.
    """
    require(Capture, table, is_there=change(conn, ACTION, REMOVE, {"table": table}))


def pause(conn: object, table: str) -> None:
    """Interrupts the capture of a table, in the caller's transaction: changes are no events until :func:`resume`.

    Pause and resume are events themselves.

    :raises CaptureRefused: it is not captured, or as for :func:`add`.
    """
    require(Capture, table, is_there=change(conn, ACTION, PAUSE, {"table": table, "paused": True}))


def resume(conn: object, table: str) -> None:
    """Resumes the capture of a table.

    :raises CaptureRefused: it is not captured, or as for :func:`add`.
    """
    require(Capture, table, is_there=change(conn, ACTION, PAUSE, {"table": table, "paused": False}))


def renew(conn: object, table: str) -> Capture:
    """Adds a capture again with the same options, which adapts it to a changed table and ends its ``problem``.

    :raises CaptureRefused: it is not captured, or as for :func:`add`.
    """
    return get_capture(conn, change(conn, ACTION, RENEW, {"table": table}) or table)


def list_captures(conn: object) -> list[Capture]:
    """Returns the captured tables, by name. For readers.

    >>> broken = [capture.table for capture in captures.list_captures(conn) if capture.problem]
    """
    return fetch(reading(conn), class_row(Capture), LISTED)


def get_capture(conn: object, table: str) -> Capture:
    """Returns the capture of a table. For readers.

    :param table: its name, with the schema or without.
    :raises CaptureRefused: it is not captured, or several of that name are.
    """
    return the_only(Capture, fetch(reading(conn), class_row(Capture), SHOWN, {"table": table}), table)
