"""Options and output that the commands for captures and guards share."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Annotated, Any

import typer
from rich.text import Text

from pgaudit._exact_json import to_json
from pgaudit.cli.output import Row, cell, print_indented, print_json, print_rows
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


def print_list(kind: type[Row], tables: Sequence[WatchedTable], *, in_json: bool) -> None:
    """Prints tables: those fields of them that ``kind`` has, or all of them as JSON."""
    if in_json:
        print_json([as_json(table) for table in tables])
        return
    names = [field.name for field in fields(kind)]
    rows = [as_json(table) | {"key": ", ".join(table.key)} for table in tables]
    print_rows(kind, [kind(**{name: row[name] for name in names}) for row in rows], as_json=False)


def print_changed(table: WatchedTable, sentence: str, *, in_json: bool) -> None:
    """Prints a sentence about a table that was changed, or the table as JSON."""
    if in_json:
        print_json(as_json(table))
    else:
        say(sentence)


def print_removed(kind: type[WatchedTable], name: str, *, in_json: bool) -> None:
    """Prints that a table is no longer captured or guarded."""
    if in_json:
        print_json({"removed": name})
    else:
        say(f"{name} is no longer {kind.watched}.")


def print_settings(settings: Sequence[tuple[str, object]], example: dict[str, Any]) -> None:
    """Prints settings in lines of their own, and below them an example of an event."""
    for name, value in settings:
        print_indented(cell(value), INDENT, name)
    say("")
    print_indented(Text(to_json(example)), INDENT, "example")


def settings_of(table: WatchedTable) -> Iterator[tuple[str, object]]:
    """Yields the settings and the state of a table, as name and value."""
    yield "table", table.table
    yield "state", f"{table.state}: it {table.problem}" if table.problem else table.state
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


def as_json(table: WatchedTable, example: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns a table as JSON has it."""
    return asdict(table) | {"state": table.state} | ({} if example is None else {"example": example})
