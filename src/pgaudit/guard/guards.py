"""Guards: a transaction that changes a row of a table must record an event for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pgaudit._db_errors import causes
from pgaudit._driver import fetch, reading
from pgaudit.guard.changing import change
from pgaudit.guard.tables import FIELDS, NAMED, Names, WatchedTable, require, several, the_only

__all__ = ["Guard", "add", "get_guard", "is_unrecorded", "list_guards", "pause", "remove", "renew", "resume"]

ACTION: Final = "guard tables"
OPERATIONS: Final = ("insert", "update", "delete", "truncate")
UNRECORDED: Final = "PA002"
ADD: Final = """
    SELECT pgaudit.table_name(relation)
      FROM CAST(%(table)s::text AS regclass) AS relation,
           pgaudit.add_guard(relation, %(target)s, %(key)s::text[], %(on_missing)s, %(actions)s,
                             %(changes)s, %(action)s, %(columns)s::text[], %(exclude)s::text[], %(mask)s::text[],
                             %(when)s)
"""
REMOVE: Final = "SELECT pgaudit.remove_guard(%(table)s::text::regclass)"
PAUSE: Final = "SELECT pgaudit.pause_guard(%(table)s::text::regclass, %(paused)s)"
RENEW: Final = """
    SELECT pgaudit.table_name(relation) FROM CAST(%(table)s::text AS regclass) AS relation
     WHERE pgaudit.renew_guard(relation)
"""
GUARDS: Final = f"SELECT {FIELDS}, on_missing, actions, with_changes AS changes FROM pgaudit.guard_state"  # noqa: S608
LISTED: Final = f"{GUARDS} ORDER BY schema_name, table_name"
SHOWN: Final = f"{GUARDS} WHERE {NAMED}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(WatchedTable):
    """A guarded table."""

    purpose = "guard"
    watched = "guarded"

    on_missing: str
    """What happens without an event: ``abort``, ``capture`` or ``warn``."""
    actions: dict[str, str]
    """The pattern of the action by operation; any action where there is none."""
    changes: bool
    """Whether the event must have the changes, too."""


def add(  # noqa: PLR0913 - each an option of the guard, all but the table by name
    conn: object,
    table: str,
    *,
    target: str,
    key: Names,
    on_missing: str = "abort",
    actions: str | Mapping[str, str] | None = None,
    changes: bool = False,
    action: str | None = None,
    columns: Names | None = None,
    exclude: Names = (),
    mask: Names = (),
    when: str | None = None,
) -> Guard:
    """Guards a table from now on, in the caller's transaction. Replaces an earlier guard.

    >>> guard = guards.add(conn, "claims", target="claim", key="id", actions={"delete": "claim.deleted"})

    It locks the table as :func:`pgaudit.guard.captures.add` does.

    :param conn: a connection of psycopg, or of SQLAlchemy or Django on psycopg, as the owner of schema and table.
    :param table: its name as SQL has it: ``claims`` by the search path, or ``insurance.claims``.
    :param target: the type of the target; its id is the row's key.
    :param key: the columns of the key.
    :param on_missing: without an event, ``abort`` the transaction (SQLSTATE ``PA002``), ``capture`` the change, or
        ``warn`` and note it.
    :param actions: what the action of the event must be like, such as ``"claim.*"``; by operation (``insert``,
        ``update``, ``delete``, ``truncate``) in a mapping. Any action when left out.
    :param changes: the event must have the changes of the row, too.
    :param action: what the actions of captured changes begin with, with ``on_missing="capture"``; the target's type
        when left out.
    :param columns: those that count; all when left out.
    :param exclude: columns that may change without an event.
    :param mask: columns whose changes are captured without their values, with ``on_missing="capture"``.
    :param when: SQL about ``old`` and ``new``: an UPDATE counts only where it holds.
    :raises CaptureRefused: it cannot be guarded so, as the message says, or it stayed locked.
    :raises psycopg.errors.InsufficientPrivilege: the connection's role does not own the schema.
    """
    options = {
        "table": table,
        "target": target,
        "key": several(key),
        "on_missing": on_missing,
        "actions": Jsonb(by_operation(actions)),
        "changes": changes,
        "action": action,
        "columns": None if columns is None else several(columns),
        "exclude": several(exclude),
        "mask": several(mask),
        "when": when,
    }
    return get_guard(conn, change(conn, ACTION, ADD, options))


def by_operation(actions: str | Mapping[str, str] | None) -> dict[str, str]:
    """Returns the pattern of the action for each operation.

    >>> by_operation("claim.*")["update"]
    'claim.*'
    """
    return dict.fromkeys(OPERATIONS, actions) if isinstance(actions, str) else dict(actions or {})


def is_unrecorded(error: BaseException) -> bool:
    """Returns whether a guard has refused the transaction, because it changed a row without recording an event.

    The error comes from COMMIT, as the driver raises it or as SQLAlchemy and Django wrap it.

    >>> is_unrecorded(ValueError())
    False
    """
    return any(
        UNRECORDED in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)) for cause in causes(error)
    )


def remove(conn: object, table: str) -> None:
    """Ends the guard of a table, in the caller's transaction.

    :raises CaptureRefused: it is not guarded, or as for :func:`add`.
    """
    require(Guard, table, is_there=change(conn, ACTION, REMOVE, {"table": table}))


def pause(conn: object, table: str) -> None:
    """Interrupts the guard of a table, in the caller's transaction: changes pass until :func:`resume`.

    Pause and resume are events themselves.

    :raises CaptureRefused: it is not guarded, or as for :func:`add`.
    """
    require(Guard, table, is_there=change(conn, ACTION, PAUSE, {"table": table, "paused": True}))


def resume(conn: object, table: str) -> None:
    """Resumes the guard of a table.

    :raises CaptureRefused: it is not guarded, or as for :func:`add`.
    """
    require(Guard, table, is_there=change(conn, ACTION, PAUSE, {"table": table, "paused": False}))


def renew(conn: object, table: str) -> Guard:
    """Adds a guard again with the same options, which adapts it to a changed table and ends its ``problem``.

    :raises CaptureRefused: it is not guarded, or as for :func:`add`.
    """
    return get_guard(conn, change(conn, ACTION, RENEW, {"table": table}) or table)


def list_guards(conn: object) -> list[Guard]:
    """Returns the guarded tables, by name. For readers.

    >>> broken = [guard.table for guard in guards.list_guards(conn) if guard.problem]
    """
    return fetch(reading(conn), class_row(Guard), LISTED)


def get_guard(conn: object, table: str) -> Guard:
    """Returns the guard of a table. For readers.

    :param table: its name, with the schema or without.
    :raises CaptureRefused: it is not guarded, or several of that name are.
    """
    return the_only(Guard, fetch(reading(conn), class_row(Guard), SHOWN, {"table": table}), table)
