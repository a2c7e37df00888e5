"""``pgaudit tail``: events of the audit log, one in each line."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

import psycopg
import typer

from pgaudit import trail
from pgaudit.cli.database import connect
from pgaudit.cli.options import moment, type_and_id
from pgaudit.cli.output import BIGINT, AsJsonLines, in_utc, print_json
from pgaudit.cli.terminal import end_with_reader, escaped, say

EVERY: Final = 0.2  # seconds between two looks for new events
NEWEST: Final = 10
# How wide a tail's index, time, action, outcome and actor are. A wider value pushes its own line alone.
MIN_WIDTHS: Final = (9, 27, 27, 7, 17)
MAX_WIDTHS: Final = (9, 27, 60, 7, 40)
TIME: Final = "ISO 8601, in UTC without an offset, or an age such as 90s, 15m, 3h, 7d"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(tail)


@dataclass(frozen=True, slots=True)
class Line:
    """An entry of the log as one line."""

    index: int
    occurred_at: str
    action: str
    outcome: str
    actor: str
    target: str

    @classmethod
    def of(cls, entry: trail.Entry) -> "Line":
        """The line of an entry."""
        actor, target = entry.actor or "-", entry.target or "-"
        return cls(entry.index, in_utc(entry.occurred_at, "microseconds"), entry.action, entry.outcome, actor, target)


def tail(  # noqa: PLR0913 - one for each option
    *,
    number: Annotated[
        int | None,
        typer.Option(
            "--number",
            "-n",
            min=0,
            max=BIGINT,
            help=f"How many of the newest events. Default: {NEWEST}, or all that the other options select.",
        ),
    ] = None,
    actor: Annotated[str | None, typer.Option(help='Only the events of one actor, such as "user:42".')] = None,
    action: Annotated[str | None, typer.Option(help='Only one action, such as "claim.approved".')] = None,
    target: Annotated[
        str | None, typer.Option(help='Only the events that have this target, such as "claim:7", first or further.')
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only the events of one tenant.")] = None,
    since: Annotated[str | None, typer.Option(help=f"Only what was recorded since then: {TIME}.")] = None,
    until: Annotated[str | None, typer.Option(help=f"Only what was recorded before then: {TIME}.")] = None,
    from_index: Annotated[
        int | None, typer.Option(min=0, max=BIGINT, help="Only the events from this index of the log on.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new events until Ctrl-C.")] = False,
    json: AsJsonLines = False,
) -> None:
    """Print events of the audit log in its order, one in each line.

    The columns are index, time of the event in UTC, action, outcome, actor, and first target.
    """
    end_with_reader()
    wanted = filter_of(actor=actor, target=target, action=action, tenant=tenant, since=since, until=until)
    if follow and wanted.until:
        raise typer.BadParameter("--follow never ends, so it excludes --until")
    if number is None and wanted == trail.Filter() and from_index is None:
        number = NEWEST
    with connect("reader") as conn:
        end = end_of_log(conn)
        print_pages(trail.pages(conn, wanted, range(from_index or 0, end), number), as_json=json)
        while follow:
            time.sleep(EVERY)
            start, end = max(end, from_index or 0), end_of_log(conn)
            if start < end:
                print_pages(trail.pages(conn, wanted, range(start, end)), as_json=json)


def filter_of(  # noqa: PLR0913 - one for each option
    *,
    actor: str | None,
    target: str | None,
    action: str | None,
    tenant: str | None,
    since: str | None,
    until: str | None,
) -> trail.Filter:
    """Returns what the options select."""
    wanted = trail.Filter(
        actor=type_and_id(actor) if actor is not None else None,
        target=type_and_id(target) if target is not None else None,
        action=action,
        tenant=tenant,
        since=moment(since) if since is not None else None,
        until=moment(until) if until is not None else None,
    )
    if wanted.since and wanted.until and wanted.since >= wanted.until:
        raise typer.BadParameter("--since is not before --until")
    return wanted


def end_of_log(conn: psycopg.Connection[Any]) -> int:
    """Returns the index that the next event will have, as far as this connection can see."""
    return max((entry.index + 1 for entry in trail.last(conn, 1)), default=0)


def print_pages(pages: Iterable[list[trail.Entry]], *, as_json: bool) -> None:
    """Prints a line for each entry; with ``--json``, an object in each line."""
    for page in pages:
        if as_json:
            for entry in page:
                print_json(asdict(entry))
        else:
            print_lines(page)


def print_lines(entries: list[trail.Entry]) -> None:
    """Prints a page of entries in columns."""
    lines = [[escaped(str(value)) for value in asdict(Line.of(entry)).values()] for entry in entries]
    widths = [
        min(max(least, *map(len, column)), most)
        for least, most, column in zip(MIN_WIDTHS, MAX_WIDTHS, zip(*lines, strict=True), strict=False)  # not the last
    ]
    for index, *others, last in lines:
        columns = [index.rjust(widths[0]), *map(str.ljust, others, widths[1:]), last]
        say("  ".join(columns))
