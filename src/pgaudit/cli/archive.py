"""``pgaudit archive``: another Postgres that keeps what the primary loses."""

import logging
from dataclasses import asdict
from typing import Annotated, Final

import psycopg
import typer

from pgaudit import archive as archives
from pgaudit.archive import Report, conninfo_at
from pgaudit.archive.conninfo import source_of
from pgaudit.archive.findings import in_units
from pgaudit.cli.database import LimitedConnection, connect, explained, open_connection
from pgaudit.cli.exit_codes import CannotLook, Code, sentence_of
from pgaudit.cli.output import AsJson, print_json
from pgaudit.cli.terminal import say

app = typer.Typer(
    help="Keep a second copy of the log on another Postgres server, by logical replication.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
DAY: Final = 86_400.0
NO_ANSWER: Final = "the archive does not answer: "
To = Annotated[
    str,
    typer.Option(
        "--to", metavar="REFERENCE", help="Where the archive is, for a superuser of it: env:VARIABLE or file:/PATH "
        "with a libpq string or URL, or such a string without a password.",
    ),
]  # fmt: skip
Name = Annotated[
    str,
    typer.Option("--name", help="Name of subscription and slot: a second archive needs its own, pgaudit_archive_…."),
]


@app.command()
def setup(
    to: To,
    *,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="CONNINFO",
            help="How the archive's server connects to the primary, without a password: that belongs into its .pgpass. "
            "PGAUDIT_DSN without its password when left out.",
        ),
    ] = None,
    name: Name = archives.NAME,
    wait: Annotated[float, typer.Option(min=1, max=30 * DAY, help="Seconds to wait for the first copy.")] = DAY,
    json: AsJson = False,
) -> None:
    """Set an archive up in an empty database, and wait until it has what the primary has. Safe to repeat."""
    place = conninfo_at(to)
    for noisy in ("alembic", "pgaudit.migrate"):  # the archive's superuser owns the schema there: no advice about that
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with explained("owner") as conninfo, open_connection(conninfo) as primary, opened(place) as archive:
        made = archives.setup(
            primary, archive, place, source_of(conninfo) if source is None else source, name=name, wait=wait
        )
    if json:
        print_json(asdict(made))
    else:
        state = "was there already" if made.was_there else "is being copied" if made.copying else "follows"
        say(f"The archive {made.name} {state}.")
        if made.keeps is None:
            say("If the archive dies, the primary keeps WAL for it without a limit: set max_slot_wal_keep_size there.")
    if made.copying:
        say(
            f"The first copy of {', '.join(made.copying)} has not ended: run this again later. "
            "If it does not go on, the log of the archive's server says why.",
            error=True,
        )
        raise typer.Exit(Code.BAD)


@app.command()
def check(
    to: To,
    *,
    name: Name = archives.NAME,
    newest: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="How many of the archive's newest events are compared.")
    ] = 100_000,
    every: Annotated[bool, typer.Option("--all", help="Compare all events.")] = False,
    json: AsJson = False,
) -> None:
    """Compare an archive with the primary: slot, subscription, guards, and the newest events of both, row by row.

    Exit with 0 when it follows and has the same events, 1 when something was found, 3 when the primary does not answer.
    """
    place = conninfo_at(to)
    with connect("owner") as primary:
        limit = None if every else newest
        try:
            with opened(place) as archive:
                report = archives.check(primary, archive, name=name, newest=limit)
        except CannotLook as error:
            report = archives.check(primary, sentence_of(error).removeprefix(NO_ANSWER), name=name)
    if json:
        print_json({"follows": not report.findings} | asdict(report))
    else:
        tell(report)
    raise typer.Exit(Code.BAD if report.findings else Code.FINE)


def opened(conninfo: str) -> LimitedConnection:
    """Returns a connection to the archive.

    :raises CannotLook: there is none; the message is the server's or libpq's, which names no password.
    """
    try:
        return open_connection(conninfo)
    except psycopg.OperationalError as error:
        raise CannotLook(NO_ANSWER + sentence_of(error)) from None


def tell(report: Report) -> None:
    """Prints what was found, and what was compared."""
    for finding in report.findings:
        say(f"{finding.name}: {finding.message}; {finding.remedy}.")
    if report.slot is not None:
        limit = "without a limit" if report.limit is None else f"of {in_units(report.limit)} at most"
        say(f"The primary keeps {in_units(report.slot.kept or 0)} of WAL for the archive, {limit}.")
    if report.lag is None:
        return
    found = report.differences
    say(f"The archive is {report.lag:,} events behind. Compared: {found.compared:,} of its events, column by column.")
    if found.removed:
        say(f"{found.removed:,} of them are in the archive only: the primary has removed their partitions.")
    if not report.findings:
        say("The archive follows the primary, and both have the same events.")
