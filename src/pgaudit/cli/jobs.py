"""``pgaudit jobs``: what is in the queue, and running again what has failed."""

from dataclasses import asdict, dataclass
from typing import Annotated, Self

import typer
from rich.text import Text

from pgaudit import jobs
from pgaudit.cli.output import AsJson, cell, connect, console, print_rows, to_json

app = typer.Typer(help="Look at the jobs of the queue, and run failed ones again.", no_args_is_help=True)


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
    state: Annotated[jobs.State, typer.Argument(help="waiting, active, delayed or failed.")] = "failed",
    *,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of jobs.")] = 100,
    json: AsJson = False,
) -> None:
    """List the jobs in a state, the oldest first."""
    with connect() as conn:
        listed = jobs.list_jobs(conn, state, limit)
    if json:
        print_rows(jobs.Job, listed, as_json=True)
    else:
        print_rows(Line, [Line.of(job) for job in listed], as_json=False)


@app.command()
def show(job_id: int, *, json: AsJson = False) -> None:
    """Show a job with its event and all its errors; with --json, their tracebacks, too."""
    with connect() as conn:
        details = jobs.get_job(conn, job_id)
    if json:
        typer.echo(to_json(asdict(details)))
        return
    for name, value in asdict(details.job).items():
        console.print(Text.assemble((f"{name:>14}", "bold"), "  ", cell(value, grouped=False)))
    console.print("\n[bold]event[/]")
    console.print_json(to_json(details.event))
    for error in details.errors:
        console.print(
            Text.assemble(
                "\n", (f"attempt {error.attempt}", "bold"), ", ", cell(error.failed_at), f": {error.error_class}"
            )
        )
        console.print(Text(error.message))


@app.command()
def retry(
    job_ids: Annotated[list[int] | None, typer.Argument(help="Numbers of failed jobs.")] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Every job that has failed.")] = False,
    json: AsJson = False,
) -> None:
    """Run failed jobs again, from their first attempt."""
    if bool(job_ids) == all_:
        raise typer.BadParameter("name the jobs to retry, or give --all")
    with connect() as conn:
        retried = jobs.retry_jobs(conn, None if all_ else job_ids)
    typer.echo(to_json(retried) if json else f"{len(retried)} job(s) back in the queue.")


@app.command()
def acknowledge(
    job_id: int,
    *,
    reason: Annotated[str, typer.Option(help="Why the event is given up; recorded with your database role.")],
) -> None:
    """Take a failed job that can never succeed out of the queue. This is recorded as an audit event."""
    with connect() as conn:
        jobs.acknowledge_job(conn, job_id, reason)
    typer.echo(f"Job {job_id} is acknowledged: its event is kept in pgaudit.acknowledged_jobs.")
