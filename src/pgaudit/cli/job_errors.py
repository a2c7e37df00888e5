"""Each attempt at a job that did not succeed, as people read it."""

from collections.abc import Iterable

from rich.text import Text

from pgaudit.cli.output import cell, console
from pgaudit.cli.terminal import escaped_lines
from pgaudit.jobs import JobError


def print_errors(errors: Iterable[JobError]) -> None:
    """Prints the errors, the oldest first."""
    for error in errors:
        title = (f"attempt {error.attempt}", "bold")
        console.print(Text.assemble("\n", title, ", ", cell(error.failed_at), ": ", cell(error.error_class)))
        console.print(Text(escaped_lines(error.message, indent="  ")))
