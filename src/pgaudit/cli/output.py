"""How the command line prints: tables for people, JSON for programs."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Protocol

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgaudit._exact_json import to_json
from pgaudit.cli.terminal import escaped, write

UNLIMITED: Final = 1_000_000  # columns: a line of a file or pipe is never wrapped
NOT_ASCII: Final = re.compile("[^\x00-\x7e]")
BIGINT: Final = 2**63 - 1  # the largest number that Postgres has for an index or a job

console = Console(width=None if sys.stdout.isatty() else UNLIMITED)
error_console = Console(stderr=True, width=None if sys.stderr.isatty() else UNLIMITED)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print a JSON document in each line.")]


class Row(Protocol):
    """A dataclass instance."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def print_json(value: object) -> None:
    """Prints a JSON document in a line of ASCII, which any terminal and encoding can take."""
    write(NOT_ASCII.sub(lambda found: json.dumps(found.group())[1:-1], to_json(value, as_text)))


def as_text(value: object) -> str:
    """Returns the text of a value that JSON has no form for; ISO 8601 in UTC for a time."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def print_rows(kind: type[Row], rows: Sequence[Row], *, as_json: bool) -> None:
    """Prints rows as a table, or as a JSON array."""
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        console.print(table(kind, rows))


def table(kind: type[Row], rows: Sequence[Row], title: str | None = None) -> Table:
    """Returns a table with a column for each field."""
    result = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    numeric = {"int", "float", "float | None", "int | None"}
    for field in fields(kind):
        kind_name = getattr(field.type, "__name__", str(field.type))
        result.add_column(field.name, justify="right" if kind_name in numeric else "left", overflow="fold")
    for row in rows:
        result.add_row(*(cell(value, grouped=not name.endswith("_id")) for name, value in asdict(row).items()))
    return result


def cell(value: object, *, grouped: bool = True) -> Text:
    """Returns a value as people read it. Markup in it is printed as it is, control characters as escapes.

    :param grouped: 8,641 and not 8641, which can be pasted back into a command.
    """
    return Text(escaped(in_words(value, grouped=grouped)))


def in_words(value: object, *, grouped: bool) -> str:
    """Returns a value as people read it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.3f}"
        case int():
            return f"{value:,}" if grouped else str(value)
        case datetime():
            return in_utc(value, "seconds")
        case _:
            return str(value)


def print_indented(body: Text, indent: int, head: str = "") -> None:
    """Prints a text in the width of the terminal: each line is indented, the first one stands beside its head."""
    lines = body.wrap(console, max(console.width - indent, 1), overflow="fold")
    for number, line in enumerate(lines):
        start = (head if number == 0 else "").ljust(indent)
        console.print(Text.assemble((start, "bold"), line), soft_wrap=True)


def in_utc(moment: datetime, precision: str) -> str:
    """Returns a time in UTC, whatever the session or the machine says: "2026-03-01 12:00:00Z"."""
    return moment.astimezone(UTC).isoformat(" ", precision).replace("+00:00", "Z")
