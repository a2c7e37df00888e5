"""``pgaudit doctor``: what this installation is, and what is wrong with it."""

import logging
from collections.abc import Iterator
from dataclasses import asdict

import psycopg
import typer
from rich.text import Text

from pgaudit.cli.database import open_connection
from pgaudit.cli.database_findings import database_findings
from pgaudit.cli.exit_codes import Code, sentence_of
from pgaudit.cli.findings import Finding, Level
from pgaudit.cli.local_findings import local_findings
from pgaudit.cli.output import AsJson, console, print_json
from pgaudit.cli.terminal import escaped
from pgaudit.settings import Settings

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAULT: "bold red"}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(doctor)


def doctor(*, json: AsJson = False) -> None:
    """Show settings, versions, role, rights, schema, clock and spool, each with a remedy where one is needed.

    Exit with 0 when there is no fault (warnings are none), 1 when there is one, 3 when the database cannot be reached.
    """
    logging.getLogger("pgaudit").setLevel(logging.ERROR)  # the findings say what the log would say
    settings = Settings()
    findings = list(local_findings(settings))
    reached = True
    try:
        with open_connection(settings.conninfo) as conn:
            findings.extend(database_findings(conn))
    except psycopg.Error as error:
        reached = False
        findings.append(unreachable(error, settings))
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            console.print(Text.assemble(*line(finding)))
    faulty = any(finding.level is Level.FAULT for finding in findings)
    raise typer.Exit(Code.CANNOT_LOOK if not reached else Code.BAD if faulty else Code.FINE)


def unreachable(error: psycopg.Error, settings: Settings) -> Finding:
    """Returns what to do when the database does not answer."""
    variable = "PGAUDIT_DSN" if settings.dsn else "PGAUDIT_DSN, which is not set,"
    return Finding("database", Level.FAULT, sentence_of(error), f"check {variable} and the way to the server")


def line(finding: Finding) -> Iterator[str | tuple[str, str]]:
    """Returns the parts of a line: level, name, what was seen, and the remedy."""
    yield (f"{finding.level:<8}", STYLES[finding.level])
    yield f" {finding.name:<12} {escaped(finding.message)}"
    if finding.remedy:
        yield f": {escaped(finding.remedy)}"
