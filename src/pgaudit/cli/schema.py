"""Commands for the owner of the schema: migrate, downgrade, uninstall."""

import logging
from dataclasses import asdict
from typing import Annotated

import psycopg
import typer

from pgaudit import embedded
from pgaudit._schema import fingerprint
from pgaudit._schema.state import SCRIPTS, Standing, State, standing, state_of
from pgaudit.cli.database import explained, open_connection, role_of
from pgaudit.cli.exit_codes import Code, sentence_of
from pgaudit.cli.output import AsJson, print_json
from pgaudit.cli.terminal import say
from pgaudit.settings import Settings

CODES = {
    Standing.CURRENT: Code.FINE,
    Standing.MISSING: Code.BAD,
    Standing.BEHIND: Code.BAD,
    Standing.AHEAD: Code.AHEAD,
}
ADVICE = {
    Standing.CURRENT: "it is current",
    Standing.MISSING: "run `pgaudit migrate`",
    Standing.BEHIND: "run `pgaudit migrate`",
    Standing.AHEAD: "it is newer than this version, which may run on it",
}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (migrate_, downgrade, uninstall):
        app.command(command.__name__.rstrip("_"))(command)


def migrate_(
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print a script for psql, and change nothing.")] = False,
    start: Annotated[
        str | None, typer.Option("--from", help="With --sql: print an upgrade from this revision, not an installation.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Change nothing. Exit with 0 when the schema is current, 1 when it is behind or not installed, 3 when "
            "it cannot be looked at, 4 when a newer version has migrated it, 5 when it was changed by hand.",
        ),
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Replace all functions and views, changed or not.")] = False,
    json: AsJson = False,
) -> None:
    """Bring the database to the schema that this version needs. Safe to repeat."""
    from pgaudit import migrate  # noqa: PLC0415 - half a second that the other commands need not wait

    if sum((sql, check, repair)) > 1 or (start and not sql):
        raise typer.BadParameter("--sql, --check and --repair exclude each other, and --from needs --sql")
    if sql and json:
        raise typer.BadParameter("--sql prints a script, so it excludes --json")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if Settings().dsn.startswith(embedded.PREFIX):  # its only role is a superuser: no advice about the owner
        logging.getLogger("pgaudit.migrate").setLevel(logging.ERROR)
    if sql:
        typer.echo(migrate.sql(start), nl=False)
    elif check:
        raise typer.Exit(check_schema(as_json=json))
    else:
        with explained("owner") as conninfo:
            result = migrate.upgrade(conninfo, repair=repair)
        if json:
            print_json(asdict(result))
        else:
            say(outcome(result.found, result.before, result.after, repaired=repair))


def outcome(found: Standing, before: State, after: State, *, repaired: bool) -> str:
    """Returns a sentence about what `migrate` has done."""
    if found is Standing.AHEAD:
        return f"Nothing was changed: the schema pgaudit is at {after}, which is newer than this version."
    if found is Standing.CURRENT:
        return (
            "The functions and views of the schema pgaudit were replaced."
            if repaired
            else "The schema pgaudit is current."
        )
    return f"The schema pgaudit went from {before if before.revision else 'nothing'} to {after}."


def check_schema(*, as_json: bool) -> Code:
    """Prints how the schema compares with this version. Returns the exit code."""
    conninfo = Settings().conninfo
    try:
        with open_connection(conninfo) as conn:
            found = state_of(conn)
            verdict = standing(found)
            differences = fingerprint.differences(conn) if verdict is Standing.CURRENT else []
    except psycopg.Error as error:
        denied = isinstance(error, psycopg.errors.InsufficientPrivilege)
        remedy = f": as the owner, run `pgaudit grant` for role {role_of(conninfo)}" if denied else ""
        say(f"The schema cannot be looked at: {sentence_of(error)}{remedy}.", error=True)
        return Code.CANNOT_LOOK
    if as_json:
        needed = asdict(SCRIPTS.state)
        installed = asdict(found) if found and found.revision else None
        print_json({"standing": verdict, "installed": installed, "needed": needed, "differences": differences})
    else:
        seen = f"at {found}" if found and found.revision else "not migrated"
        say(f"The database is {seen}; this version needs {SCRIPTS.state}: {ADVICE[verdict]}.")
        for difference in differences:
            say(difference)
    return Code.CHANGED if differences else CODES[verdict]


def downgrade(
    revision: Annotated[str, typer.Argument(help="The revision to go back to; `base` removes an empty schema.")],
) -> None:
    """Take the schema back to an older revision, for an older version of pgaudit."""
    from pgaudit import migrate  # noqa: PLC0415 - half a second that the other commands need not wait

    with explained("owner") as conninfo:
        migrate.downgrade(conninfo, revision)
    gone = "The schema pgaudit was removed."
    say(gone if revision == "base" else f"The schema is at {revision}. Run the older version's `pgaudit migrate` now.")


def uninstall(
    confirm: Annotated[
        str | None, typer.Option(help="Name of the database, to confirm the loss of all events.")
    ] = None,
) -> None:
    """Drop the schema with all events. Tell how many, and do nothing, without --confirm."""
    from pgaudit import migrate  # noqa: PLC0415 - half a second that the other commands need not wait

    with explained("owner") as conninfo:
        say(migrate.uninstall(conninfo, confirm))
