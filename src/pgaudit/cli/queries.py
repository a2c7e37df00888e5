"""Queries as arguments of a command: their terms, the options beside them, and the place of a mistake."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from rich.cells import cell_len
from rich.text import Text
from typer.core import TyperCommand

from pgaudit import trail
from pgaudit.cli.output import error_console
from pgaudit.cli.terminal import escaped
from pgaudit.errors import InvalidQuery
from pgaudit.trail import Query, Term
from pgaudit.trail.fields import FIELDS, moment

NEGATED: Final = re.compile(r"-[A-Za-z_]{2,}(\.[^:]*)?:")
NO_OPTION: Final = " "  # before an argument that begins with a minus
INDENT: Final = "  "

QueryText = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUERY",
        help="What to look for: parts such as action:claim.* target:claim:7 -outcome:success before:7d, all of which "
        "must hold. Without one, all events.",
        show_default=False,
    ),
]
WithTarget = Annotated[
    str | None,
    typer.Option("--target", metavar="TYPE:ID", help="The same as target:TYPE:ID, for an id with spaces or quotes."),
]
WithActor = Annotated[
    str | None,
    typer.Option("--actor", metavar="TYPE:ID", help="The same as actor:TYPE:ID, for an id with spaces or quotes."),
]


class QueryCommand(TyperCommand):
    """A command whose arguments are a query: ``-field:value`` is a term of it, not an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [NO_OPTION + one if NEGATED.match(one) else one for one in args])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Lists the fields of a query below the options."""
        with formatter.section("Fields of a query"):
            formatter.write_dl([(field, meaning.replace("`", "")) for field, meaning in FIELDS.items()])
        formatter.write_paragraph()
        formatter.write_text(
            "A comma separates alternatives, a minus before a field negates it, and a value with spaces, commas or "
            "quotes stands in double quotes, which the shell needs in single ones: 'tenant:\"North Sea\"'."
        )
        super().format_epilog(ctx, formatter)


def words_of(arguments: Sequence[str] | None) -> list[str]:
    """Returns the arguments of a query as they were given."""
    return [one.removeprefix(NO_OPTION) if NEGATED.match(one, len(NO_OPTION)) else one for one in arguments or ()]


def query_of(words: Sequence[str], **options: str | None) -> Query:
    """Returns the query of a command line.

    :param options: values of fields, as they are.
    :raises InvalidQuery: there is a mistake in it.
    :raises typer.BadParameter: its period is empty.
    """
    given = [Term(field, (value,)) for field, value in options.items() if value is not None]
    query = trail.parse(" ".join(words)) & Query(tuple(given))
    for since, until in (("after", "before"), ("occurred_after", "occurred_before")):
        starts, ends = times(query, since), times(query, until)
        if starts and ends and max(starts) >= min(ends):
            raise typer.BadParameter(f"{since}: is not earlier than {until}:, so that no event can match")
    return query


def times(query: Query, field: str) -> list[Any]:
    """Returns the times that a query names for a field."""
    return [moment(term.values[0]) for term in query.terms if term.field == field]


def print_place(error: InvalidQuery) -> None:
    """Prints the query to standard error, and below it a caret under the place of the mistake."""
    if error.position is None:
        return
    line, before = around(error.text, error.position, error_console.width - len(INDENT))
    error_console.print(Text(f"{INDENT}{line}\n{INDENT}{' ' * before}^"), soft_wrap=True)


def around(text: str, position: int, width: int) -> tuple[str, int]:
    """Returns the part of a text around a position that fits into a width, and the position in that part."""
    before, after = escaped(text[:position]), escaped(text[position:])
    room = max(width - min(cell_len(after), width // 2), width // 2) - 1
    if cell_len(before) > room:
        before = "…" + last_cells(before, room - 1)
    return before + first_cells(after, width - cell_len(before)), cell_len(before)


def first_cells(text: str, width: int) -> str:
    """Returns the beginning of a text, as much as fits into a width."""
    while cell_len(text) > width:
        text = text[: width if len(text) > width else -1]
    return text


def last_cells(text: str, width: int) -> str:
    """Returns the end of a text, as much as fits into a width."""
    while cell_len(text) > width:
        text = text[-width if len(text) > width else 1 :]
    return text
