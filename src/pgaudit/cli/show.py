"""``pgaudit show``: everything about one event."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Final
from uuid import UUID

import psycopg
import typer
from rich.text import Text

from pgaudit import trail
from pgaudit._exact_json import to_indented_json, to_json
from pgaudit.cli.database import connect
from pgaudit.cli.entries import STYLES, change_of
from pgaudit.cli.exit_codes import Code, NoSuchEvent
from pgaudit.cli.output import BIGINT, console, in_utc, print_indented
from pgaudit.cli.terminal import end_with_reader, escaped, write_json_text
from pgaudit.trail import Entry, Query, Term
from pgaudit.trail import values as forms

INDENT: Final = 2
VALUES: Final = 16  # the column at which values begin
# Of an event; its other fields are printed as they are.
SHOWN: Final = frozenset(
    {
        "id",
        "action",
        "outcome",
        "actor",
        "targets",
        "tenant",
        "occurred_at",
        "recorded_at",
        "context",
        "changes",
        "data",
    }
)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(show)


def show(
    event: Annotated[
        str, typer.Argument(metavar="EVENT_ID|INDEX", help="The id of an event, or its index in the log.")
    ],
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Print the exact stored text, which the leaf hash covers, in UTF-8.")
    ] = False,
) -> None:
    """Show an event: its fields, targets, context, changes and data, and whether its leaf hash is that of its text.

    Exit with 1 when there is no such event, or when its leaf hash is another one.
    """
    end_with_reader()
    key = key_of(event)
    with connect("reader") as conn:
        entry = trail.find(conn, key)
        others = [] if entry is None else same_id(conn, entry)
    if entry is None:
        raise NoSuchEvent(f"no event of the log has the {'id' if isinstance(key, UUID) else 'index'} {key}")
    if json:
        write_json_text(entry.text)
    else:
        print_event(entry, others)
    if not has_its_hash(entry):
        raise typer.Exit(Code.BAD)


def key_of(text: str) -> int | UUID:
    """Returns the index or the id that a text names.

    :raises typer.BadParameter: it is neither.
    """
    if text.isascii() and text.isdigit() and int(text) <= BIGINT:
        return int(text)
    if forms.UUID.fullmatch(text):
        return UUID(text)
    raise typer.BadParameter(f"{text!r} is neither the id of an event nor an index: `pgaudit search` prints indexes")


def same_id(conn: psycopg.Connection[Any], entry: Entry) -> list[int]:
    """Returns the indexes of the other events that have the id of this one."""
    page = trail.search(conn, Query((Term("id", (str(entry.event_id),)),)), limit=1_000)
    return sorted(other.index for other in page.entries if other.index != entry.index)


def has_its_hash(entry: Entry) -> bool:
    """Returns whether the leaf hash is the one of the stored text, computed here."""
    return hashlib.sha256(b"\0" + entry.text.encode()).digest() == entry.leaf_hash


def print_event(entry: Entry, others: Sequence[int]) -> None:
    """Prints everything of an event; its numbers have the digits of the stored text."""
    event = entry.exact_event()
    for name, value in rows_of(entry, event, others):
        print_indented(value, VALUES, escaped(name))
    if event.get("context"):
        print_section("context", context_of(event["context"]))
    if event.get("changes"):
        print_section("changes", map(change_of, event["changes"]))
    if event.get("data"):
        print_section("data", to_indented_json(event["data"]).split("\n"))


def print_section(name: str, lines: Iterable[str]) -> None:
    """Prints a part of an event below its name. A long line is wrapped and keeps its indent."""
    console.print(Text(f"\n{name}", "bold"))
    for line in lines:
        text = line.lstrip(" ")
        print_indented(Text(escaped(text)), INDENT + len(line) - len(text))


def rows_of(entry: Entry, event: dict[str, Any], others: Sequence[int]) -> Iterator[tuple[str, Text]]:
    """Yields names and values of the fields that are not sections of their own."""
    yield "index", Text(str(entry.index))
    yield "event_id", Text(str(entry.event_id))
    yield "action", Text(escaped(entry.action))
    yield "outcome", Text(escaped(entry.outcome), STYLES.get(entry.outcome, ""))
    if event.get("actor"):
        yield "actor", Text(escaped(reference_of(event["actor"])))
    for target in event.get("targets", ()):
        yield "target", Text(escaped(reference_of(target)))
    if entry.tenant is not None:
        yield "tenant", Text(escaped(entry.tenant))
    for name in ("occurred_at", "recorded_at", "persisted_at"):
        yield name, Text(in_utc(getattr(entry, name), "microseconds"))
    for name, value in event.items():
        if name not in SHOWN:
            yield name, Text(escaped(in_words(value)))
    yield from integrity_of(entry, others)


def integrity_of(entry: Entry, others: Sequence[int]) -> Iterator[tuple[str, Text]]:
    """Yields the leaf hash with its verdict, and the events that have the same id."""
    yield "leaf_hash", hash_of(entry)
    if entry.conflicts_with is not None:
        yield "conflicts_with", Text(f"index {entry.conflicts_with}, which has the same id and other content", "yellow")
    if others:
        yield "same id", Text(f"also at index {', '.join(map(str, others))}", "yellow")


def in_words(value: object) -> str:
    """Returns a text as it is, and any other value as JSON."""
    return value if isinstance(value, str) else to_json(value)


def reference_of(reference: dict[str, Any]) -> str:
    """Returns an actor or target as "type:id", with its other fields in parentheses."""
    more = ", ".join(f"{key}: {in_words(value)}" for key, value in reference.items() if key not in ("type", "id"))
    return f"{reference.get('type')}:{reference.get('id')}" + (f" ({more})" if more else "")


def hash_of(entry: Entry) -> Text:
    """Returns the leaf hash, and whether it is that of the stored text."""
    if has_its_hash(entry):
        verdict = (" ✓ matches the stored text", "green")
    else:
        verdict = (" ✗ does not match the stored text: the event was changed in the log", "bold red")
    return Text.assemble(entry.leaf_hash.hex(), verdict)


def context_of(context: dict[str, Any]) -> Iterator[str]:
    """Yields a line for each field of the context."""
    width = max(map(len, context))
    for name, value in context.items():
        yield f"{name:<{width}}  {in_words(value)}"
