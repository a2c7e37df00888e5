"""``pgaudit coverage``: which tables of the application are captured or guarded."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from pgaudit.cli.database import connect
from pgaudit.cli.exit_codes import Code
from pgaudit.cli.output import AsJson, console, print_json, table
from pgaudit.cli.terminal import escaped, say
from pgaudit.guard import Coverage, TableCoverage, UnrecordedChange
from pgaudit.guard import coverage as coverage_

Patterns = list[str]


class Requirement(StrEnum):
    """What a table has to be, for ``--require``."""

    ANY = "any"
    CAPTURED = "captured"
    GUARDED = "guarded"

    def is_met(self, table: TableCoverage) -> bool:
        """Returns whether a table is that now. What is paused or broken is not."""
        met = {Requirement.CAPTURED: table.is_captured, Requirement.GUARDED: table.is_guarded}
        return met.get(self, table.is_covered)


@dataclass(frozen=True, slots=True)
class Line:
    """A table as people read it."""

    table: str
    capture: str
    guard: str
    rows: int
    changed: int
    last_event: datetime | None
    unrecorded: int

    @classmethod
    def of(cls, table: TableCoverage) -> "Line":
        """Returns the line of a table."""
        guard = f"{table.guard} ({table.on_missing})" if table.guard else "-"
        rows, changed = table.estimated_rows, table.changed_rows
        return cls(
            table.name, table.capture or "-", guard, rows, changed, table.last_event_at, table.unrecorded_changes
        )


@dataclass(frozen=True, slots=True)
class Passed:
    """A change without an event, as people read it."""

    found_at: datetime
    table: str
    operation: str
    rows: int
    targets: str
    transaction: str
    role: str
    application: str

    @classmethod
    def of(cls, change: UnrecordedChange) -> "Passed":
        """Returns the line of a change."""
        targets = ", ".join(change.targets) + (" …" if change.count > len(change.targets) else "")
        whence = change.transaction, change.role, change.application or "-"
        return cls(change.found_at, change.table, change.operation, change.count, targets, *whence)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(coverage)


def coverage(  # noqa: PLR0913 - the options of a command
    *,
    tables: Annotated[
        Patterns | None,
        typer.Option("--table", help="Look only at these tables: a name or a pattern, such as 'insurance.*'."),
    ] = None,
    left_out: Annotated[
        Patterns | None, typer.Option("--except", help="Leave these tables out, such as 'django_*'.")
    ] = None,
    require: Annotated[
        Requirement | None,
        typer.Option("--require", help="Exit with 1 unless each table is captured, guarded, or one of both (any)."),
    ] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(
            "--fail-under",
            min=0,
            max=100,
            help="Exit with 1 if less than this percentage of the tables meets --require.",
        ),
    ] = None,
    silent_after: Annotated[
        float,
        typer.Option(
            "--silent-after", min=0, max=36_500, help="Days without an event after which a table counts as silent."
        ),
    ] = 7.0,
    json: AsJson = False,
) -> None:
    """Show which tables are captured or guarded, which are silent, and what passed without an event in the last day."""
    with connect("reader") as conn:
        found = coverage_.report(conn)
    report = about(select(found.tables, tables, left_out or []), found) if tables or left_out else found
    if not report.tables and (require or fail_under is not None):
        raise typer.BadParameter("there is no table to check: run it after the migrations of the application")
    requirement = require or Requirement.ANY
    failing = [table for table in report.tables if not requirement.is_met(table)]
    percentage = 100 * (1 - len(failing) / len(report.tables)) if report.tables else 100.0
    silent = [table.name for table in report.silent(timedelta(days=silent_after))]
    if json:
        print_json(as_document(report, percentage, silent))
    else:
        console.print(picture(report, silent, silent_after))
    limit = fail_under if fail_under is not None else 100.0 if require else 0.0
    if percentage < limit:
        say(shortfall(requirement, failing, percentage, limit), error=True)
        raise typer.Exit(Code.BAD)


def shortfall(requirement: Requirement, failing: Sequence[TableCoverage], percentage: float, limit: float) -> str:
    """Returns the sentence about tables that do not meet the requirement."""
    wanted = "captured or guarded" if requirement is Requirement.ANY else requirement.value
    names = ", ".join(table.name for table in failing)
    return f"pgaudit: {percentage:.1f} % of the tables are {wanted}, but {limit:g} % must be. These are not: {names}"


def select(tables: Sequence[TableCoverage], patterns: Patterns | None, left_out: Patterns) -> list[TableCoverage]:
    """Returns the tables that match one of the patterns, or all without patterns; not those to be left out.

    :raises typer.BadParameter: no table matches one of them: a check of no table would always succeed.
    """
    for pattern in patterns or []:
        if not any(table.matches([pattern]) for table in tables):
            raise typer.BadParameter(f"no table of the application matches {pattern!r}", param_hint="--table")
    return [table for table in tables if not table.matches(left_out) and (not patterns or table.matches(patterns))]


def about(tables: list[TableCoverage], report: Coverage) -> Coverage:
    """Returns what a report says of some tables."""
    names = {table.name for table in tables}
    latest = [change for change in report.latest if change.table in names]
    return replace(
        report, tables=tables, unrecorded_changes=sum(table.unrecorded_changes for table in tables), latest=latest
    )


def as_document(report: Coverage, percentage: float, silent: list[str]) -> dict[str, object]:
    """Returns the report as a JSON document."""
    return {
        "observed_at": report.observed_at,
        "percentage": percentage,
        "tables": [asdict(table) for table in report.tables],
        "uncovered": [table.name for table in report.uncovered],
        "silent": silent,
        "unrecorded_changes": report.unrecorded_changes,
        "latest": [asdict(change) for change in report.latest],
    }


def picture(report: Coverage, silent: list[str], silent_after: float) -> Group:
    """Returns the report as people read it."""
    parts: list[RenderableType] = [
        table(Line, [Line.of(one) for one in report.tables]),
        sentence("neither captured nor guarded", [one.name for one in report.uncovered]),
        sentence(f"no event for {silent_after:g} days", silent),
    ]
    if not report.latest:
        return Group(*parts, Text("No change of the last day passed a guard without an event."))
    title = f"\nrows changed without an event in the last day: {report.unrecorded_changes:,}; the latest"
    return Group(*parts, table(Passed, [Passed.of(change) for change in report.latest], title))


def sentence(what: str, names: list[str]) -> Text:
    """Returns the names of tables after what they have in common."""
    return Text.assemble((f"{what}: ", "bold"), escaped(", ".join(names) or "none"))
