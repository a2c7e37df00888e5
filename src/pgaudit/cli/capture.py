"""``pgaudit capture``: tables of the application whose changes triggers record."""

from dataclasses import dataclass
from typing import Annotated

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
from pgaudit.guard import Capture, captures
from pgaudit.guard.example import example_event

app = typer.Typer(help="Capture tables: an event for each change of a row, whoever made it.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Line:
    """A captured table in a list."""

    table: str
    target: str
    key: str
    state: str
    level: str | None
    problem: str | None


@app.command()
def add(  # noqa: PLR0913 - each is an option
    table: Table,
    *,
    target: Target,
    key: Key,
    action: Annotated[
        str | None, typer.Option(help="What actions begin with; the target's type when left out.")
    ] = None,
    columns: Columns = None,
    exclude: Exclude = None,
    mask: Mask = None,
    when: When = None,
    json: AsJson = False,
) -> None:
    """Capture a table, or replace how it is captured. Waits while a transaction keeps the table locked."""
    chosen = columns_of(columns, exclude)
    with connect("owner") as conn:
        capture = captures.add(
            conn, table, target=target, key=key_of(key), action=action, columns=chosen, exclude=names(exclude),
            mask=names(mask), when=when,
        )  # fmt: skip
    print_changed(capture, f"{capture.table} is captured: {capture.action}.created, .updated, .deleted.", in_json=json)


@app.command("list")
def list_(*, json: AsJson = False) -> None:
    """List the captured tables: captured, paused, or broken when changes may pass without an event."""
    with connect("reader") as conn:
        found = captures.list_captures(conn)
    print_list(Line, found, in_json=json)


@app.command()
def show(table: Table, *, json: AsJson = False) -> None:
    """Show how a table is captured, whether its triggers work, and an example of an event."""
    with connect("reader") as conn:
        capture = captures.get_capture(conn, table)
        example = example_event(conn, capture)
    if json:
        print_json(as_json(capture, example))
    else:
        print_settings(list(settings_of(capture)), example)


@app.command()
def remove(table: Table, *, json: AsJson = False) -> None:
    """End the capture of a table and of those that inherit from it."""
    with connect("owner") as conn:
        captures.remove(conn, table)
    print_removed(Capture, table, in_json=json)


@app.command()
def pause(table: Table, *, json: AsJson = False) -> None:
    """Interrupt the capture of a table. The pause is an event itself."""
    with connect("owner") as conn:
        captures.pause(conn, table)
        capture = captures.get_capture(conn, table)
    print_changed(capture, f"The capture of {capture.table} is paused: its changes are not recorded.", in_json=json)


@app.command()
def resume(table: Table, *, json: AsJson = False) -> None:
    """Resume the capture of a table."""
    with connect("owner") as conn:
        captures.resume(conn, table)
        capture = captures.get_capture(conn, table)
    print_changed(capture, f"{capture.table} is captured again.", in_json=json)


@app.command()
def renew(table: Table, *, json: AsJson = False) -> None:
    """Adapt triggers and function to a changed table, with the same settings: where `capture list` says so."""
    with connect("owner") as conn:
        capture = captures.renew(conn, table)
    print_changed(capture, f"The capture of {capture.table} fits its present columns and triggers again.", in_json=json)
