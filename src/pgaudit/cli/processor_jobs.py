"""``pgaudit jobs`` for the jobs of a processor."""

from dataclasses import asdict, dataclass
from typing import Self, get_args

from rich.text import Text

from pgaudit.cli.database import connect
from pgaudit.cli.job_errors import print_errors
from pgaudit.cli.output import cell, console, print_json, print_rows
from pgaudit.jobs import listing, processed
from pgaudit.jobs.processed import ProcessorJob


@dataclass(frozen=True, slots=True)
class JobRow:
    """What of a job fits into a line."""

    job_id: int
    state: str
    index: int
    action: str | None
    attempts: int
    last_error: str | None

    @classmethod
    def of(cls, job: ProcessorJob) -> Self:
        """The line of a job."""
        return cls(job.job_id, job.state, job.index, job.action, job.attempts, job.last_error)


def list_(processor: str, state: listing.State | None, limit: int, *, json: bool) -> None:
    """Prints how many jobs a processor has in each state, and those in one."""
    with connect("operator") as conn:
        counts = processed.count_jobs(conn, processor)
        listed = processed.list_jobs(conn, processor, state, limit)
    if json:
        print_rows(ProcessorJob, listed, as_json=True)
        return
    console.print(Text(", ".join(f"{counts[name]:,} {name}" for name in get_args(listing.State))))
    if listed:
        console.print()
        print_rows(JobRow, [JobRow.of(job) for job in listed], as_json=False)


def show(processor: str, job_id: int, *, json: bool) -> None:
    """Prints a job with each attempt that did not succeed."""
    with connect("operator") as conn:
        details = processed.get_job(conn, processor, job_id)
    if json:
        print_json(asdict(details))
        return
    for name, value in asdict(details.job).items():
        console.print(Text.assemble((f"{name:>14}", "bold"), "  ", cell(value, grouped=False)))
    print_errors(details.errors)
