"""Commands that change something: migrate, worker, replay, grant, demo."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from pgaudit import grants, replay
from pgaudit.cli.output import connect
from pgaudit.embedded import conninfo
from pgaudit.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (demo, migrate_, worker_, replay_, grant):
        app.command(command.__name__.rstrip("_"))(command)


def demo(
    seconds: Annotated[float, typer.Option(min=1, help="How long the application runs.")] = 15.0,
) -> None:
    """Shows it: an application in several processes, two workers, one killed, and a reckoning. Needs no database."""
    from pgaudit import demo as demonstration  # noqa: PLC0415 - half a second that the other commands need not wait

    raise typer.Exit(0 if demonstration.run(seconds=seconds) else 1)


def migrate_(
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print all migrations as SQL, and change nothing.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when the database is behind.")] = False,
) -> None:
    """Brings the database to the schema that this version needs. Safe to repeat."""
    from pgaudit import migrate  # noqa: PLC0415 - likewise

    if sql:
        logging.getLogger("alembic").setLevel(logging.WARNING)  # the script is all that is asked for
        typer.echo(migrate.sql())
        return
    dsn = conninfo(Settings().dsn)
    before, newest = migrate.current(dsn), migrate.newest()
    behind = (before or "") < newest  # ahead of it: a later version of pgaudit has migrated already
    if check:
        found = f"at {before}" if before else "not migrated yet"
        typer.echo(f"The database is {found}; this version needs {newest}.")
        raise typer.Exit(1 if behind else 0)
    if behind:
        migrate.upgrade(dsn)
    done = f"went from {before or 'nothing'} to {newest}" if behind else "is current"
    typer.echo(f"The schema pgaudit {done}.")


def worker_() -> None:
    """Runs a worker until SIGTERM or SIGINT, through outages of any length. A second signal exits at once."""
    from pgaudit import worker  # noqa: PLC0415 - likewise

    worker.run()


def replay_(file: Annotated[Path, typer.Argument(help="A file of the spool.", exists=True, dir_okay=False)]) -> None:
    """Records the events of a spool file. However often it is run, each is stored once."""
    logging.getLogger("pgaudit").setLevel(logging.WARNING)  # the sentence below says what the log would say
    with connect() as conn:
        result = replay.replay(conn, file, Settings().mode)
    typer.echo(
        f"{result.recorded} event(s) recorded, {result.rolled_back} dropped with their rolled-back change, "
        f"{result.pending} left because their transaction is still open.",
    )


def grant(
    *,
    writer: Annotated[str | None, typer.Option(help="Role of the application: may record, and nothing else.")] = None,
    worker: Annotated[str | None, typer.Option(help="Role of the workers.")] = None,
    reader: Annotated[str | None, typer.Option(help="Role that reads the log and the views.")] = None,
) -> None:
    """Gives existing roles the least that they need."""
    if not (writer or worker or reader):
        raise typer.BadParameter("name a role: --writer, --worker or --reader")
    with connect() as conn, conn.transaction():
        grants.grant(conn, writer=writer, worker=worker, reader=reader)
    given = {"writer": writer, "worker": worker, "reader": reader}
    typer.echo("\n".join(f"{role} is a {kind}." for kind, role in given.items() if role))
