"""``pgaudit search``: a page of the events that a query finds, the newest first."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Final

import typer

from pgaudit import trail
from pgaudit.cli.database import connect
from pgaudit.cli.entries import document_of, print_entries
from pgaudit.cli.output import AsJson, in_utc, print_json
from pgaudit.cli.queries import QueryCommand, QueryText, WithActor, WithTarget, query_of, words_of
from pgaudit.cli.terminal import end_with_reader, say
from pgaudit.trail import Page, Query, Stop
from pgaudit.trail.bounded import LARGEST_PAGE
from pgaudit.trail.page_cursor import NEWEST, Cursor

SIZE: Final = 20


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(cls=QueryCommand)(search)


def search(  # noqa: PLR0913 - one for each option
    query: QueryText = None,
    *,
    target: WithTarget = None,
    actor: WithActor = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="CURSOR", help="The page at this cursor, as the page before it printed."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=LARGEST_PAGE, help="Events of a page.")] = SIZE,
    count: Annotated[
        bool, typer.Option("--count", help="Print only how many events the query finds, up to 1,000.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Print a page of the events that a query finds, the newest first.

    Below it is the command for the next page. A query that no index serves looks through 100,000 events for a page,
    and says how far it has looked.
    """
    end_with_reader()
    words = words_of(query)
    wanted = query_of(words, target=target, actor=actor)
    if count:
        print_count(wanted, as_json=json)
        return
    side = (Cursor.parse(after) if after else NEWEST).side
    with connect("reader") as conn:
        page = trail.search(conn, wanted, after=after, limit=limit)
    if json:
        print_json(asdict(page) | {"entries": [document_of(entry) for entry in page.entries]})
        return
    print_entries(page.entries, with_names=True)
    options = {"--target": target, "--actor": actor, "--limit": str(limit) if limit != SIZE else None}
    given = [part for name, value in options.items() if value is not None for part in (name, value)]
    for sentence in sentences(page, side, [*given, *words]):
        say(sentence)


def print_count(query: Query, *, as_json: bool) -> None:
    """Prints how many events a query finds."""
    with connect("reader") as conn:
        found = trail.count(conn, query)
    if as_json:
        print_json(asdict(found))
    else:
        say(f"{found.number:,}" if found.exact else f"at least {found.number:,}")


def sentences(page: Page, side: str, arguments: Sequence[str]) -> list[str]:
    """Returns what stands below a page: how far it has looked, and the commands for the pages beside it."""
    found = [] if page.entries or page.stopped else ["No event matches." if side == "before" else "Nothing newer."]
    if page.stopped:
        found.append(how_far(page.stopped, "back to" if side == "before" else "up to"))
    for name, cursor in (("Older", page.next), ("Newer", page.previous)):
        if cursor:
            found.append(f"{name}: pgaudit search --after {cursor} {shlex.join(arguments)}".rstrip())
    return ["", *found] if page.entries and found else found


def how_far(stop: Stop, direction: str) -> str:
    """Returns how far a search has looked."""
    place = f"{in_utc(stop.recorded_at, 'seconds')}, " if stop.recorded_at else ""
    return f"Looked through {stop.examined:,} events, {direction} {place}index {stop.index}, and stopped there."
