"""How the command line prints: tables for people, JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Annotated, Any, ClassVar, Protocol

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from pgaudit.embedded import conninfo
from pgaudit.settings import Settings

console = Console()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Row(Protocol):
    """A dataclass instance."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def connect() -> psycopg.Connection[Any]:
    """The database that the environment names."""
    return psycopg.connect(
        conninfo(Settings().dsn), autocommit=True, prepare_threshold=None, application_name="pgaudit"
    )


def to_json(value: object) -> str:
    """JSON with ISO 8601 times."""
    return json.dumps(value, default=as_text, ensure_ascii=False)


def as_text(value: object) -> str:
    """What JSON has no form for."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_rows(kind: type[Row], rows: Sequence[Row], *, as_json: bool) -> None:
    """Prints rows as a table, or as a JSON array."""
    if as_json:
        typer.echo(to_json([asdict(row) for row in rows]))
    else:
        console.print(table(kind, rows))


def table(kind: type[Row], rows: Sequence[Row], title: str | None = None) -> Table:
    """A table with a column for each field."""
    result = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    numeric = {"int", "float", "float | None", "int | None"}
    for field in fields(kind):
        kind_name = getattr(field.type, "__name__", str(field.type))
        result.add_column(field.name, justify="right" if kind_name in numeric else "left", overflow="fold")
    for row in rows:
        result.add_row(*(cell(value) for value in asdict(row).values()))
    return result


def cell(value: object) -> str:
    """A value as people read it."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.3f}"
        case int():
            return f"{value:,}"
        case datetime():
            return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
        case _:
            return str(value)
