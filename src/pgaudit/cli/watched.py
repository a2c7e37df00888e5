"""Options and output that the commands for capture and guard share."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from pgaudit._exact_json import to_json
from pgaudit.cli.output import cell, print_indented
from pgaudit.cli.terminal import say
from pgaudit.guard.tables import WatchedTable

Table = Annotated[str, typer.Argument(help="The table, with its schema where the search path does not have it.")]
Target = Annotated[str, typer.Option(help="Type of the target of its events, such as claim.")]
Key = Annotated[list[str], typer.Option(help="Column of the key; repeat it, or write commas, for a key of several.")]
Columns = Annotated[str | None, typer.Option(help="Columns that count, with commas between; all when left out.")]
Exclude = Annotated[str | None, typer.Option(help="Columns that do not count, with commas between.")]
Mask = Annotated[str | None, typer.Option(help="Columns whose values are not shown, with commas between.")]
When = Annotated[
    str | None,
    typer.Option(help="An UPDATE counts only where this SQL holds: new.status IS DISTINCT FROM old.status."),
]
INDENT = 12


def names(text: str | None) -> list[str]:
    """Returns the names in a text with commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def key_of(columns: list[str]) -> list[str]:
    """Returns the columns of a key, given one by one or with commas."""
    return [name for text in columns for name in names(text)]


def columns_of(columns: str | None, exclude: str | None) -> list[str] | None:
    """Returns the columns that count; None for all.

    :raises typer.BadParameter: both options are given.
    """
    if columns is not None and exclude is not None:
        raise typer.BadParameter("--columns and --exclude exclude each other")
    return names(columns) or None


def print_settings(settings: Sequence[tuple[str, object]], example: dict[str, Any]) -> None:
    """Prints settings in lines of their own, and below them an example of an event."""
    for name, value in settings:
        print_indented(cell(value), INDENT, name)
    say("")
    print_indented(Text(to_json(example)), INDENT, "example")


def settings_of(table: WatchedTable, state: str) -> Iterator[tuple[str, object]]:
    """Yields what is set for a table and how it is, as name and value."""
    yield "table", table.table
    yield "state", f"{state}: it {table.problem}" if table.problem else state
    yield "target", f"{table.target}:{','.join(table.key)}"
    yield "columns", ", ".join(table.columns) if table.columns else "all"
    for name, columns in (("exclude", table.exclude), ("mask", table.mask), ("children", table.children)):
        if columns:
            yield name, ", ".join(columns)
    if table.when:
        yield "when", table.when
    yield "level", f"{table.level}, because {table.level_reason}" if table.level_reason else table.level
    yield "added", f"by {table.added_by}"
    yield "added at", table.added_at
    if table.is_paused:
        yield "paused", f"by {table.paused_by}"
        yield "paused at", table.paused_at


def as_json(table: WatchedTable, state: str, example: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns a table as JSON has it."""
    return asdict(table) | {"state": state} | ({} if example is None else {"example": example})
