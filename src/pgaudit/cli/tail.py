"""``pgaudit tail``: events of the audit log in its order."""

import time
from collections.abc import Iterable
from typing import Annotated, Any, Final

import psycopg
import typer

from pgaudit import trail
from pgaudit.cli.database import connect
from pgaudit.cli.entries import document_of, print_entries
from pgaudit.cli.output import BIGINT, AsJsonLines, print_json
from pgaudit.cli.queries import QueryCommand, QueryText, WithActor, WithTarget, query_of, words_of
from pgaudit.cli.terminal import end_with_reader
from pgaudit.trail import Query

EVERY: Final = 0.2  # seconds between two looks for new events
NEWEST: Final = 10


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(cls=QueryCommand)(tail)


def tail(  # noqa: PLR0913 - one for each option
    query: QueryText = None,
    *,
    number: Annotated[
        int | None,
        typer.Option(
            "--number",
            "-n",
            min=0,
            max=BIGINT,
            help=f"How many of the newest events. Default: {NEWEST}, or all that are selected.",
        ),
    ] = None,
    target: WithTarget = None,
    actor: WithActor = None,
    from_index: Annotated[
        int | None, typer.Option(min=0, max=BIGINT, help="Only the events from this index of the log on.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new events until Ctrl-C.")] = False,
    json: AsJsonLines = False,
) -> None:
    """Print events of the audit log in its order, the newest last.

    The columns are index, time of the event in UTC, action, outcome, actor, and first target with the number of
    further ones. In a narrow terminal, an event takes several lines.
    """
    end_with_reader()
    wanted = query_of(words_of(query), target=target, actor=actor)
    if follow and any(term.field == "before" for term in wanted.terms):
        raise typer.BadParameter("--follow never ends, so it excludes before:")
    if number is None and wanted == Query() and from_index is None:
        number = NEWEST
    with connect("reader") as conn:
        end = end_of_log(conn)
        print_pages(trail.pages(conn, wanted, range(from_index or 0, end), number), as_json=json)
        while follow:
            time.sleep(EVERY)
            start, end = max(end, from_index or 0), end_of_log(conn)
            if start < end:
                print_pages(trail.pages(conn, wanted, range(start, end)), as_json=json)


def end_of_log(conn: psycopg.Connection[Any]) -> int:
    """Returns the index that the next event will have, as far as this connection can see."""
    return max((entry.index + 1 for entry in trail.last(conn, 1)), default=0)


def print_pages(pages: Iterable[list[trail.Entry]], *, as_json: bool) -> None:
    """Prints all entries; with ``--json``, an object in each line."""
    for page in pages:
        if as_json:
            for entry in page:
                print_json(document_of(entry))
        else:
            print_entries(page)
