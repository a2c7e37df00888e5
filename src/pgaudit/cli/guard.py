"""``pgaudit guard``: tables of the application that no transaction changes without an event."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from pgaudit.cli.database import connect
from pgaudit.cli.output import AsJson, print_json
from pgaudit.cli.watched import (
    Columns,
    Exclude,
    Key,
    Mask,
    Table,
    Target,
    When,
    as_json,
    columns_of,
    key_of,
    names,
    print_changed,
    print_list,
    print_removed,
    print_settings,
    settings_of,
)
from pgaudit.guard import Guard, guards
from pgaudit.guard.example import example_event

app = typer.Typer(help="Guard tables: no change of a row without an event for it.", no_args_is_help=True)
OnMissing = Annotated[
    Literal["abort", "capture", "warn"],
    typer.Option(help="Without an event: abort the transaction, capture the change, or warn and note it."),
]
Pattern = Annotated[str | None, typer.Option(help="Pattern for this operation; that of --action when left out.")]
CONSEQUENCES = {
    "abort": "a transaction that changes it without an event fails",
    "capture": "changes without an event are captured",
    "warn": "changes without an event are noted",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A guarded table in a list."""

    table: str
    target: str
    key: str
    on_missing: str
    state: str
    level: str | None
    problem: str | None


@app.command()
def add(  # noqa: PLR0913 - each is an option
    table: Table,
    *,
    target: Target,
    key: Key,
    on_missing: OnMissing,
    action: Annotated[
        str | None, typer.Option(help="What the action of the event must be like, such as claim.*; any when left out.")
    ] = None,
    on_insert: Pattern = None,
    on_update: Pattern = None,
    on_delete: Pattern = None,
    on_truncate: Pattern = None,
    changes: Annotated[
        bool, typer.Option("--changes", help="The event must have the changes of the row, too.")
    ] = False,
    captured_as: Annotated[
        str | None,
        typer.Option(help="What actions begin with, with --on-missing capture; the target's type when left out."),
    ] = None,
    columns: Columns = None,
    exclude: Exclude = None,
    mask: Mask = None,
    when: When = None,
    json: AsJson = False,
) -> None:
    """Guard a table, or replace how it is guarded. Waits while a transaction keeps the table locked."""
    chosen = columns_of(columns, exclude)
    by_operation = {"insert": on_insert, "update": on_update, "delete": on_delete, "truncate": on_truncate}
    with connect("owner") as conn:
        guard = guards.add(
            conn, table, target=target, key=key_of(key), on_missing=on_missing, actions=patterns(action, by_operation),
            changes=changes, action=captured_as, columns=chosen, exclude=names(exclude), mask=names(mask), when=when,
        )  # fmt: skip
    print_changed(guard, f"{guard.table} is guarded: {CONSEQUENCES[guard.on_missing]}.", in_json=json)


def patterns(action: str | None, by_operation: Mapping[str, str | None]) -> dict[str, str]:
    """Returns the pattern of each operation; ``action`` where it has none of its own."""
    own = {operation: pattern for operation, pattern in by_operation.items() if pattern is not None}
    return guards.by_operation(action) | own


@app.command("list")
def list_(*, json: AsJson = False) -> None:
    """List the guarded tables: guarded, paused, or broken when changes may pass unseen."""
    with connect("reader") as conn:
        found = guards.list_guards(conn)
    print_list(Line, found, in_json=json)


@app.command()
def show(table: Table, *, json: AsJson = False) -> None:
    """Show how a table is guarded, whether its triggers work, and an example of an event that is captured."""
    with connect("reader") as conn:
        guard = guards.get_guard(conn, table)
        example = example_event(conn, guard)
    if json:
        print_json(as_json(guard, example))
        return
    actions = ", ".join(f"{operation}: {pattern}" for operation, pattern in guard.actions.items()) or "any"
    own = [("on missing", guard.on_missing), ("actions", actions), ("changes", guard.changes)]
    print_settings([*settings_of(guard), *own], example)


@app.command()
def remove(table: Table, *, json: AsJson = False) -> None:
    """End the guard of a table and of those that inherit from it."""
    with connect("owner") as conn:
        guards.remove(conn, table)
    print_removed(Guard, table, in_json=json)


@app.command()
def pause(table: Table, *, json: AsJson = False) -> None:
    """Interrupt the guard of a table. The pause is an event itself."""
    with connect("owner") as conn:
        guards.pause(conn, table)
        guard = guards.get_guard(conn, table)
    print_changed(guard, f"The guard of {guard.table} is paused: its changes need no event.", in_json=json)


@app.command()
def resume(table: Table, *, json: AsJson = False) -> None:
    """Resume the guard of a table."""
    with connect("owner") as conn:
        guards.resume(conn, table)
        guard = guards.get_guard(conn, table)
    print_changed(guard, f"{guard.table} is guarded again.", in_json=json)


@app.command()
def renew(table: Table, *, json: AsJson = False) -> None:
    """Adapt triggers and function to a changed table, with the same settings: where `guard list` says so."""
    with connect("owner") as conn:
        guard = guards.renew(conn, table)
    print_changed(guard, f"The guard of {guard.table} fits its present columns and triggers again.", in_json=json)
