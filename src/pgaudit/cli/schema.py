"""Commands for the owner of the schema: migrate, downgrade, uninstall, grant."""

import logging
from typing import Annotated

import psycopg
import typer

from pgaudit import embedded, grants
from pgaudit._schema import fingerprint
from pgaudit._schema.state import SCRIPTS, Standing, State, standing, state_of
from pgaudit.cli.output import connect
from pgaudit.settings import Settings

# Exit codes of `migrate --check`. 2 is typer's, for wrong options.
CODES = {Standing.CURRENT: 0, Standing.MISSING: 1, Standing.BEHIND: 1, Standing.AHEAD: 4}
CANNOT_LOOK, CHANGED = 3, 5
ADVICE = {
    Standing.CURRENT: "it is current",
    Standing.MISSING: "run `pgaudit migrate`",
    Standing.BEHIND: "run `pgaudit migrate`",
    Standing.AHEAD: "it is newer than this version, which may run on it",
}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (migrate_, downgrade, uninstall, grant):
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
) -> None:
    """Bring the database to the schema that this version needs. Safe to repeat."""
    from pgaudit import migrate  # noqa: PLC0415 - half a second that the other commands need not wait

    if sum((sql, check, repair)) > 1 or (start and not sql):
        raise typer.BadParameter("--sql, --check and --repair exclude each other, and --from needs --sql")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if Settings().dsn.startswith(embedded.PREFIX):  # its only role is a superuser: no advice about the owner
        logging.getLogger("pgaudit.migrate").setLevel(logging.ERROR)
    if sql:
        typer.echo(migrate.sql(start), nl=False)
    elif check:
        raise typer.Exit(check_schema())
    else:
        result = migrate.upgrade(Settings().conninfo, repair=repair)
        typer.echo(outcome(result.found, result.before, result.after, repaired=repair))


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


def check_schema() -> int:
    """Prints how the schema compares with this version. Returns the exit code."""
    try:
        with psycopg.connect(Settings().conninfo, client_encoding="utf8") as conn:
            found = state_of(conn)
            verdict = standing(found)
            differences = fingerprint.differences(conn) if verdict is Standing.CURRENT else []
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error).strip() or repr(error)
        typer.echo(f"The schema cannot be looked at: {reason}.", err=True)
        return CANNOT_LOOK
    seen = f"at {found}" if found and found.revision else "not migrated"
    typer.echo(f"The database is {seen}; this version needs {SCRIPTS.state}: {ADVICE[verdict]}.")
    for difference in differences:
        typer.echo(difference)
    return CHANGED if differences else CODES[verdict]


def downgrade(
    revision: Annotated[str, typer.Argument(help="The revision to go back to; `base` removes an empty schema.")],
) -> None:
    """Take the schema back to an older revision, for an older version of pgaudit."""
    from pgaudit import migrate  # noqa: PLC0415 - half a second that the other commands need not wait

    migrate.downgrade(Settings().conninfo, revision)
    gone = "The schema pgaudit was removed."
    typer.echo(
        gone if revision == "base" else f"The schema is at {revision}. Run the older version's `pgaudit migrate` now."
    )


def uninstall(
    confirm: Annotated[
        str | None, typer.Option(help="Name of the database, to confirm the loss of all events.")
    ] = None,
) -> None:
    """Drop the schema with all events. Tell how many, and do nothing, without --confirm."""
    from pgaudit import migrate  # noqa: PLC0415 - half a second that the other commands need not wait

    typer.echo(migrate.uninstall(Settings().conninfo, confirm))


def grant(
    *,
    writer: Annotated[list[str] | None, typer.Option(help="Role of the application: may record, nothing else.")] = None,
    inline: Annotated[list[str] | None, typer.Option(help="Role that may record in inline mode.")] = None,
    worker: Annotated[list[str] | None, typer.Option(help="Role of the workers.")] = None,
    operator: Annotated[list[str] | None, typer.Option(help="Role that retries and acknowledges failed jobs.")] = None,
    reader: Annotated[list[str] | None, typer.Option(help="Role that reads the log and the views.")] = None,
) -> None:
    """Give existing roles the least that they need. Repeat an option to name several roles."""
    given = {"writer": writer, "inline": inline, "worker": worker, "operator": operator, "reader": reader}
    if not any(given.values()):
        raise typer.BadParameter("name a role: --writer, --inline, --worker, --operator or --reader")
    with connect() as conn, conn.transaction():
        grants.grant(conn, **given)
    kinds = ("a writer", "an inline writer", "a worker", "an operator", "a reader")
    for kind, roles in zip(kinds, given.values(), strict=True):
        for role in roles or ():
            typer.echo(f"{role} is {kind}.")
