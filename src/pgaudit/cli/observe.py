"""Commands that look: stats, health, tail."""

import time
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Group
from rich.live import Live

from pgaudit import health as health_
from pgaudit import stats as stats_
from pgaudit import trail
from pgaudit.cli.output import AsJson, connect, console, in_utc, print_rows, table, to_json
from pgaudit.health import Status

EXIT_CODES = {Status.HEALTHY: 0, Status.DEGRADED: 1, Status.UNHEALTHY: 2}
EVERY = 1.0
NEWEST = 10
# How wide a tail's index, time, action, outcome and actor are. What is wider still pushes its own line alone.
LEAST = (9, 27, 27, 7, 17)
MOST = (9, 27, 60, 7, 40)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (stats, health, tail):
        app.command()(command)


def stats(
    *, watch: Annotated[bool, typer.Option("--watch", help="Go on, once a second.")] = False, json: AsJson = False
) -> None:
    """Show the queue, the workers, the throughput of the last minutes and the size of the tables."""
    with connect() as conn:
        if json:
            typer.echo(to_json(snapshot(conn)))
            while watch:
                time.sleep(EVERY)
                typer.echo(to_json(snapshot(conn)))
        elif watch and not console.is_terminal:
            while True:
                console.print(picture(conn))
                time.sleep(EVERY)
        elif watch:
            with Live(picture(conn), console=console, auto_refresh=False, screen=True) as live:
                while True:
                    time.sleep(EVERY)
                    live.update(picture(conn), refresh=True)
        else:
            console.print(picture(conn))


def snapshot(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    """Returns all statistics, for JSON."""
    return {
        "queues": [asdict(row) for row in stats_.queue_stats(conn)],
        "workers": [asdict(row) for row in stats_.worker_stats(conn)],
        "throughput": [asdict(row) for row in stats_.throughput(conn, minutes=10)],
        "storage": [asdict(row) for row in stats_.storage_stats(conn)],
    }


def picture(conn: psycopg.Connection[Any]) -> Group:
    """Returns all statistics as tables."""
    return Group(
        table(stats_.QueueStats, stats_.queue_stats(conn), "queue"),
        table(stats_.WorkerStats, stats_.worker_stats(conn), "\nworkers"),
        table(stats_.Throughput, stats_.throughput(conn, minutes=10), "\nthroughput, last minutes"),
        table(stats_.StorageStats, stats_.storage_stats(conn), "\nstorage"),
    )


def health(*, json: AsJson = False) -> None:
    """Check whether the audit trail keeps up. Exit with 0 when healthy, 1 when degraded, 2 when unhealthy."""
    report = look()
    if json:
        typer.echo(to_json(asdict(report)))
    else:
        console.print(f"[bold]{report.status}[/]")
        print_rows(health_.Check, report.checks, as_json=False)
    raise typer.Exit(EXIT_CODES[report.status])


def look() -> health_.HealthReport:
    """Returns the report; a database that cannot be reached is reported, too."""
    try:
        with connect() as conn:
            return health_.check(conn)
    except psycopg.Error as error:
        return health_.unreachable(error)


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
        actor, target = entry.actor or "–", entry.target or "–"
        return cls(entry.index, in_utc(entry.occurred_at, "microseconds"), entry.action, entry.outcome, actor, target)


def tail(
    *,
    number: Annotated[
        int | None,
        typer.Option("--number", "-n", min=0, help="How many of the newest events: 10, or all those of a target."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help='Only the events of one primary target, such as "claim:7".')
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    json: AsJson = False,
) -> None:
    """Print events of the audit log, one in each line."""
    kind, _, identity = (target or "").partition(":")
    if target is not None and not (kind and identity):
        raise typer.BadParameter('write the target as "type:id", such as "claim:7"')
    with connect() as conn:
        seen = max((entry.index for entry in trail.last(conn, 1)), default=-1)
        if target is None:
            entries = trail.last(conn, NEWEST if number is None else number)
        else:
            entries = newest(trail.of_target(conn, kind, identity), number)
        print_entries([entry for entry in entries if entry.index <= seen], as_json=json)
        while follow:
            time.sleep(EVERY / 5)
            entries = trail.after(conn, seen)
            seen = max((entry.index for entry in entries), default=seen)
            print_entries([entry for entry in entries if target in {None, Line.of(entry).target}], as_json=json)


def newest(entries: list[trail.Entry], number: int | None) -> list[trail.Entry]:
    """Returns the last ``count`` items; all of them when it is None."""
    return entries if number is None else entries[max(len(entries) - number, 0) :]


def print_entries(entries: list[trail.Entry], *, as_json: bool) -> None:
    """Prints a line for each entry; with ``--json``, an object in each line."""
    if as_json:
        for entry in entries:
            typer.echo(to_json(asdict(entry)))
        return
    lines = [[str(value) for value in asdict(Line.of(entry)).values()] for entry in entries]
    widths = [
        min(max(least, *map(len, column)), most)
        for least, most, column in zip(LEAST, MOST, zip(*lines, strict=True), strict=False)  # not of the last one
    ]
    for index, *others, last in lines:
        columns = [index.rjust(widths[0]), *map(str.ljust, others, widths[1:]), last]
        typer.echo("  ".join(columns))
