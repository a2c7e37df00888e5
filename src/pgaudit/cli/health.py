"""``pgaudit health``."""

from dataclasses import asdict
from typing import Annotated

import psycopg
import typer

from pgaudit import health as health_
from pgaudit.cli.database import open_connection
from pgaudit.cli.exit_codes import Code
from pgaudit.cli.output import AsJson, console, print_json, print_rows
from pgaudit.health import Status
from pgaudit.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(health)


def health(
    *,
    allow_degraded: Annotated[
        bool, typer.Option("--allow-degraded", help="Exit with 0 when degraded, too: events are safe and flow.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Check whether events reach the log in time.

    Exit with 0 when healthy, 1 when degraded or unhealthy, 3 when that cannot be seen.
    """
    report = health_report()
    if json:
        print_json(asdict(report))
    else:
        console.print(f"[bold]{report.status}[/]")
        print_rows(health_.Check, report.checks, as_json=False)
    raise typer.Exit(code_for(report, allow_degraded=allow_degraded))


def health_report() -> health_.HealthReport:
    """Returns the report; a database that cannot be reached is reported, too."""
    try:
        with open_connection(Settings().conninfo) as conn:
            return health_.check(conn)
    except psycopg.Error as error:
        return health_.unreachable(error)


def code_for(report: health_.HealthReport, *, allow_degraded: bool) -> Code:
    """Returns the exit code: a report whose first check, of the database, is bad has no others."""
    if report.checks[0].status is Status.UNHEALTHY:
        return Code.CANNOT_LOOK
    fine = {Status.HEALTHY, Status.DEGRADED} if allow_degraded else {Status.HEALTHY}
    return Code.FINE if report.status in fine else Code.BAD
