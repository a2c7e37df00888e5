"""Capture and guard as SQL, for the migrations of the application: statements without parameters."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from psycopg import sql

from pgaudit.guard.guards import by_operation
from pgaudit.guard.tables import Names, several


def add_capture(  # noqa: PLR0913 - as captures.add
    table: str,
    *,
    target: str,
    key: Names,
    action: str | None = None,
    columns: Names | None = None,
    exclude: Names = (),
    mask: Names = (),
    when: str | None = None,
) -> str:
    """Returns the statement that captures a table; see :func:`pgaudit.guard.captures.add`.

    >>> add_capture("claims", target="claim", key="id")
    "SELECT pgaudit.add_capture('claims', target => 'claim', key => '{id}')"
    """
    given = {"target": target, "key": several(key), "action": action, "columns": columns and several(columns)}
    return call(
        "add_capture", table, given | {"excluded": several(exclude), "masked": several(mask), "condition": when}
    )


def add_guard(  # noqa: PLR0913 - as guards.add
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
) -> str:
    """Returns the statement that guards a table; see :func:`pgaudit.guard.guards.add`."""
    given = {
        "target": target,
        "key": several(key),
        "on_missing": on_missing,
        "actions": by_operation(actions),
        "with_changes": changes,
        "action": action,
        "columns": columns and several(columns),
        "excluded": several(exclude),
        "masked": several(mask),
        "condition": when,
    }
    return call("add_guard", table, given)


def remove_capture(table: str) -> str:
    """Returns the statement that ends the capture of a table; it does nothing without one."""
    return call("remove_capture", table, {})


def remove_guard(table: str) -> str:
    """Returns the statement that ends the guard of a table; it does nothing without one."""
    return call("remove_guard", table, {})


ADD: Final[Mapping[str, Callable[..., str]]] = {"capture": add_capture, "guard": add_guard}
REMOVE: Final[Mapping[str, Callable[[str], str]]] = {"capture": remove_capture, "guard": remove_guard}


def call(function: str, table: str, options: Mapping[str, object]) -> str:
    """Returns a call of a function of the schema. Options that are empty are left out."""
    arguments = [literal(table)]
    arguments += [f"{name} => {literal(value)}" for name, value in options.items() if value]
    return f"SELECT pgaudit.{function}({', '.join(arguments)})"


def literal(value: object) -> str:
    """Returns a value as SQL has it; a mapping as JSON.

    >>> literal("Ada's"), literal(["id"])
    ("'Ada''s'", "'{id}'")
    """
    if isinstance(value, Mapping):
        value = json.dumps(value)
    return sql.Literal(value).as_string(None).strip()
