"""Entries of the log as lines of a terminal, and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from rich.text import Text

from pgaudit._exact_json import to_json
from pgaudit.cli.output import console, in_utc, print_indented
from pgaudit.cli.terminal import escaped
from pgaudit.trail import Entry

NAMES: Final = ("index", "time", "action", "outcome", "actor", "target")
# Widths of all columns but the last. A wider value shifts only its own line.
NO_WIDTHS: Final = (0, 0, 0, 0, 0)
MIN_WIDTHS: Final = (9, 20, 27, 7, 17)  # of entries that are printed page by page, in the same columns
MAX_WIDTHS: Final = (9, 20, 60, 7, 40)
GAP: Final = "  "
FIRST_LINE: Final = 4  # cells in the first line of an entry that takes several lines
INDENT: Final = 4
NOT_TOLD: Final = "not told"
STYLES: Final = {"failure": "yellow", "denied": "red"}


def document_of(entry: Entry) -> dict[str, Any]:
    """Returns an entry for JSON. The exact stored text is what ``pgaudit show --json`` prints."""
    columns = {field.name: getattr(entry, field.name) for field in fields(entry) if field.name != "text"}
    return columns | {"event": entry.exact_event(), "leaf_hash": entry.leaf_hash.hex()}


def print_entries(entries: Sequence[Entry], *, with_names: bool = False) -> None:
    """Prints a line for each entry, in columns; where they are wider than the terminal, several lines for each."""
    rows = [row_of(entry) for entry in entries]
    names = [[Text(name, "bold") for name in NAMES]] if with_names and rows else []
    lines = in_columns(names + rows, NO_WIDTHS if with_names else MIN_WIDTHS)
    if all(line.cell_len <= console.width for line in lines):
        for line in lines:
            console.print(line, soft_wrap=True)
    else:
        for row in rows:
            print_folded(row)


def row_of(entry: Entry) -> list[Text]:
    """Returns the cells of an entry; the number of further targets follows the first one."""
    further = len(entry.event.get("targets", ())) - 1
    return [
        Text(str(entry.index), "dim"),
        Text(in_utc(entry.occurred_at, "seconds")),
        Text(escaped(entry.action), "bold"),
        Text(escaped(entry.outcome), STYLES.get(entry.outcome, "")),
        Text(escaped(entry.actor or "-")),
        Text(escaped(entry.target or "-") + (f" +{further}" if further > 0 else "")),
    ]


def in_columns(rows: Sequence[Sequence[Text]], least_widths: Sequence[int]) -> list[Text]:
    """Returns a line for each row. The index is on the right of its column, the others are on the left."""
    widths = [
        min(max(least, *(cell.cell_len for cell in column)), most)
        for least, most, column in zip(least_widths, MAX_WIDTHS, zip(*rows, strict=True), strict=False)  # not the last
    ]
    return [Text(GAP).join(padded(row, widths)) for row in rows]


def padded(row: Sequence[Text], widths: Sequence[int]) -> Iterator[Text]:
    """Yields the cells of a row in the widths of their columns."""
    for number, (cell, width) in enumerate(zip(row, [*widths, 0], strict=True)):
        blanks = " " * (width - cell.cell_len)
        yield Text.assemble(blanks, cell) if number == 0 else Text.assemble(cell, blanks)


def print_folded(row: Sequence[Text]) -> None:
    """Prints an entry in as many lines as the width of the terminal needs; all but the first are indented."""
    print_cells(row[:FIRST_LINE])
    print_cells(row[FIRST_LINE:], INDENT)


def print_cells(cells: Sequence[Text], indent: int = 0) -> None:
    """Prints cells in one line; those that do not fit go to further, indented lines."""
    for number, line in enumerate(folded(cells, console.width - INDENT)):
        print_indented(line, INDENT if number else indent)


def folded(cells: Sequence[Text], width: int) -> list[Text]:
    """Returns the cells in lines, as many in each as fit into the width."""
    lines = [cells[0]]
    for cell in cells[1:]:
        if lines[-1].cell_len + len(GAP) + cell.cell_len <= width:
            lines[-1] = Text(GAP).join([lines[-1], cell])
        else:
            lines.append(cell)
    return lines


def change_of(change: Mapping[str, Any]) -> str:
    """Returns a change as "path: before → after"."""
    before, after = (to_json(change[key]) if key in change else NOT_TOLD for key in ("before", "after"))
    return f"{change.get('path')}: {before} → {after}"
