"""``pgaudit jobs``: what is in the queue, and running again what has failed."""

import json as json_
from dataclasses import asdict, dataclass
from typing import Annotated, Literal, Self, get_args

import typer
from rich.text import Text

from pgaudit import jobs
from pgaudit.cli import processor_jobs
from pgaudit.cli.database import connect
from pgaudit.cli.job_errors import print_errors
from pgaudit.cli.output import BIGINT, AsJson, cell, console, print_json, print_rows
from pgaudit.cli.terminal import end_with_reader, escaped_lines, say
from pgaudit.jobs import listing, processed

app = typer.Typer(help="Look at the jobs of the queue, and run failed ones again.", no_args_is_help=True)
JobId = Annotated[int, typer.Argument(min=1, max=BIGINT, help="Number of the job.")]


Processor = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Jobs of that processor, instead of those of the queue.", show_default=False),
]


@dataclass(frozen=True, slots=True)
class Line:
    """What of a job fits into a line."""

    job_id: int
    state: str
    action: str | None
    attempts: int
    recorded_at: str | None
    last_error: str | None

    @classmethod
    def of(cls, job: jobs.Job) -> Self:
        """The line of a job."""
        recorded = job.recorded_at and f"{job.recorded_at.replace('T', ' ')[:19]}Z"  # the server writes it in UTC
        return cls(job.job_id, job.state, job.action, job.attempts, recorded, job.last_error)


@app.command("list")
def list_(
    state: Annotated[
        Literal["waiting", "active", "delayed", "failed", "all"],
        typer.Argument(help="waiting, active, delayed, failed, or all."),
    ] = "failed",
    *,
    limit: Annotated[int, typer.Option(min=1, max=BIGINT, help="Maximum number of jobs.")] = 100,
    processor: Processor = None,
    json: AsJson = False,
) -> None:
    """Count the jobs in each state, and list those in one, the oldest first. --json: the list."""
    end_with_reader()
    wanted = None if state == "all" else state
    if processor is not None:
        processor_jobs.list_(processor, wanted, limit, json=json)
        return
    with connect("operator") as conn:
        counts = jobs.count_jobs(conn)
        listed = jobs.list_jobs(conn, wanted, limit)
    if json:
        print_rows(jobs.Job, listed, as_json=True)
        return
    console.print(Text(", ".join(f"{counts[name]:,} {name}" for name in get_args(listing.State))))
    if listed:
        console.print()
        print_rows(Line, [Line.of(job) for job in listed], as_json=False)


@app.command()
def show(job_id: JobId, *, processor: Processor = None, json: AsJson = False) -> None:
    """Show a job with all its errors, and its event; of a processor's job, the index. --json has tracebacks, too."""
    if processor is not None:
        processor_jobs.show(processor, job_id, json=json)
        return
    with connect("operator") as conn:
        details = jobs.get_job(conn, job_id)
    if json:
        print_json(asdict(details))
        return
    for name, value in asdict(details.job).items():
        console.print(Text.assemble((f"{name:>14}", "bold"), "  ", cell(value, grouped=False)))
    console.print("\n[bold]event[/]")
    console.print(Text(escaped_lines(json_.dumps(details.event, indent=2, ensure_ascii=False, default=str))))
    print_errors(details.errors)


@app.command()
def retry(
    job_ids: Annotated[
        list[int] | None, typer.Argument(min=1, max=BIGINT, help="Numbers of failed jobs.", show_default=False)
    ] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Every job that has failed.")] = False,
    processor: Processor = None,
    json: AsJson = False,
) -> None:
    """Run failed jobs again, from their first attempt. --json: the numbers of these jobs."""
    named = named_jobs(job_ids, all_=all_)
    with connect("operator") as conn:
        retried = jobs.retry_jobs(conn, named) if processor is None else processed.retry_jobs(conn, processor, named)
    if json:
        print_json(retried)
    else:
        say(f"{len(retried)} job(s) back in the queue.")


@app.command()
def discard(
    job_ids: Annotated[
        list[int] | None, typer.Argument(min=1, max=BIGINT, help="Numbers of failed jobs.", show_default=False)
    ] = None,
    *,
    processor: Annotated[str, typer.Option(metavar="NAME", help="The processor whose jobs they are.")],
    reason: Annotated[str, typer.Option(help="Why they are discarded; kept in their history with your database role.")],
    all_: Annotated[bool, typer.Option("--all", help="Every job of the processor that has failed.")] = False,
    json: AsJson = False,
) -> None:
    """Give up failed jobs of a processor. Their events stay in the log. --json: the numbers of these jobs."""
    named = named_jobs(job_ids, all_=all_)
    with connect("operator") as conn:
        discarded = processed.discard_jobs(conn, processor, named, reason)
    if json:
        print_json(discarded)
    else:
        say(f"{len(discarded)} job(s) discarded.")


def named_jobs(job_ids: list[int] | None, *, all_: bool) -> list[int] | None:
    """Returns the jobs that were named; None for all that have failed."""
    if job_ids and all_:
        raise typer.BadParameter("name the jobs or give --all, not both")
    if not job_ids and not all_:
        raise typer.BadParameter("name the jobs, or give --all")
    return None if all_ else job_ids


@app.command()
def acknowledge(
    job_id: JobId,
    *,
    reason: Annotated[str, typer.Option(help="Why the event is given up; recorded with your database role.")],
    json: AsJson = False,
) -> None:
    """Take a failed job that can never succeed out of the queue. This is recorded as an audit event."""
    with connect("operator") as conn:
        jobs.acknowledge_job(conn, job_id, reason)
    if json:
        print_json({"job_id": job_id, "reason": reason})
    else:
        say(f"Job {job_id} is acknowledged: its event is kept in pgaudit.acknowledged_jobs.")
