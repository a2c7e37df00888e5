"""``pgaudit processors``: how the application's processors do, pausing them, and giving them events of the past."""

from dataclasses import asdict, dataclass
from typing import Annotated, Self

import typer
from rich.text import Text

from pgaudit import processors
from pgaudit.cli.database import connect
from pgaudit.cli.output import BIGINT, AsJson, cell, console, print_json, print_rows, table
from pgaudit.cli.terminal import say

app = typer.Typer(help="Inspect and pause processors, and run them for events of the past.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the processor.")]


@dataclass(frozen=True, slots=True)
class ProcessorRow:
    """What of a processor fits into a line."""

    name: str
    state: str
    lag_events: int
    lag_seconds: float
    waiting: int
    delayed: int
    running: int
    failed: int
    jobs_per_second: float
    backfill_events: int

    @classmethod
    def of(cls, stats: processors.ProcessorStats) -> Self:
        """The line of a processor."""
        kind = f" ({stats.pause_kind})" if stats.pause_kind else ""
        return cls(
            stats.name, stats.state + kind, stats.lag_events, stats.lag_seconds, stats.waiting, stats.delayed,
            stats.running, stats.failed, stats.jobs_per_second, stats.backfill_events,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class BackfillRow:
    """What of a backfill fits into a line."""

    id: int
    from_index: int
    to_index: int
    done: str
    jobs: int

    @classmethod
    def of(cls, backfill: processors.Backfill) -> Self:
        """The line of a backfill."""
        done = f"{100 * backfill.progress:.0f} %"
        return cls(backfill.id, backfill.from_index, backfill.to_index, done, backfill.jobs)


@app.command("list")
def list_(*, json: AsJson = False) -> None:
    """List the processors that workers have registered, with their lag and their jobs."""
    with connect("operator") as conn:
        listed = processors.list_processors(conn)
    if json:
        print_rows(processors.ProcessorStats, listed, as_json=True)
    else:
        print_rows(ProcessorRow, [ProcessorRow.of(stats) for stats in listed], as_json=False)


@app.command()
def show(name: Name, *, json: AsJson = False) -> None:
    """Show a processor, why it is paused, and how far its backfills are."""
    with connect("operator") as conn:
        stats, backfills = processors.get_processor(conn, name), processors.backfills(conn, name)
    if json:
        print_json(asdict(stats) | {"backfills": [asdict(each) | {"progress": each.progress} for each in backfills]})
        return
    for field, value in asdict(stats).items():
        console.print(Text.assemble((f"{field:>23}", "bold"), "  ", cell(value)))
    if backfills:
        console.print()
        console.print(table(BackfillRow, [BackfillRow.of(each) for each in backfills], title="backfills"))


@app.command()
def pause(
    name: Name,
    *,
    reason: Annotated[str | None, typer.Option(help="Why, for those who see it paused.")] = None,
    json: AsJson = False,
) -> None:
    """Pause a processor: it gets no jobs, and those it has wait. Nothing is lost."""
    with connect("operator") as conn:
        processors.pause(conn, name, reason)
    tell(name, f"is paused: `pgaudit processors resume {name}` resumes it.", json=json)


@app.command()
def resume(name: Name, *, json: AsJson = False) -> None:
    """Resume a processor, whatever has paused it."""
    with connect("operator") as conn:
        processors.resume(conn, name)
    tell(name, "continues.", json=json)


@app.command()
def backfill(
    name: Name,
    *,
    from_: Annotated[int, typer.Option("--from", min=0, max=BIGINT, help="Index of the first event.")],
    to: Annotated[
        int | None,
        typer.Option(
            min=0, max=BIGINT, help="Index of the last event; by default, all that it has passed.", show_default=False
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Run a processor for events of the past, including those that it has had. `show` has the progress."""
    with connect("operator") as conn:
        added = processors.backfill(conn, name, from_, to)
    if json:
        print_json({"name": name, "backfill": added})
    else:
        say(f"Workers add the jobs: `pgaudit processors show {name}` has the progress of backfill {added}.")


@app.command()
def remove(name: Name, *, json: AsJson = False) -> None:
    """Remove a processor that is no longer in the code, with its jobs. Needs the owner of the schema."""
    with connect("owner") as conn:
        processors.remove(conn, name)
    tell(name, "is removed, with its jobs. A worker whose code still declares it registers it again.", json=json)


def tell(name: str, what: str, *, json: bool) -> None:
    """Prints what was done."""
    if json:
        print_json({"name": name})
    else:
        say(f"The processor {name} {what}")
