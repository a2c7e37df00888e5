"""``pgaudit reconcile``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import psycopg
import typer

from pgaudit.cli.database import connect
from pgaudit.cli.exit_codes import Code, sentence_of
from pgaudit.cli.output import AsJson, print_json
from pgaudit.cli.progress import Progress
from pgaudit.cli.reconcile_result import Report, as_json, is_reconciled, tell
from pgaudit.cli.terminal import say
from pgaudit.errors import PgauditError
from pgaudit.sealing import reconcile as reconciling

COULD_NOT_CHECK: Final = 2

WalDirectory = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Directory of WAL files: an archive, or pg_wal.", exists=True, file_okay=False),
]
Start = Annotated[str | None, typer.Option(metavar="LSN|FILE", help="Where to begin. Default: the first file.")]
End = Annotated[str | None, typer.Option(metavar="LSN|FILE", help="Where to end. Default: the last file.")]
Timeline = Annotated[int | None, typer.Option(min=1, help="Timeline to read. Default: the newest one there.")]
PgWaldump = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The program pg_waldump, of the version of the server.")
]
Every = Annotated[
    bool,
    typer.Option("--every", help="Also name events of the log that were recorded in that time without a receipt."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(reconcile)


def reconcile(  # noqa: PLR0913 - its options
    *,
    wal: WalDirectory = None,
    start: Start = None,
    end: End = None,
    timeline: Timeline = None,
    pg_waldump: PgWaldump = None,
    every: Every = False,
    quiet: Quiet = False,
    json: AsJson = False,
) -> None:
    """Check that every committed event is in the log or in the queue, by the receipts in the WAL.

    Without --wal: what log and queue themselves can prove, and what they cannot.
    Exit with 0 when reconciled, 1 when something was found or there was nothing to check, 2 when it cannot be checked.
    """
    if wal:
        part: dict[str, Any] = {"start": start, "end": end, "timeline": timeline}
        compare = partial(reconciling.reconcile, directory=wal, program=pg_waldump, every=every, **part)
        report = checked(compare, quiet=quiet)
    elif start or end or timeline or pg_waldump or every:
        raise typer.BadParameter("--start, --end, --timeline, --pg-waldump and --every are for --wal")
    else:
        report = checked(reconciling.inspect, quiet=quiet)
    if json:
        print_json(as_json(report))
    else:
        tell(report)
    raise typer.Exit(Code.FINE if is_reconciled(report) else Code.BAD)


def checked(check: Callable[..., Report], *, quiet: bool) -> Report:
    """Returns the report of a check, which runs with its progress. Ends the command if it cannot run."""
    progress = Progress(quiet=quiet)

    def show(done: int, of: int) -> None:
        progress.show(done, "compared", of)

    try:
        with connect("reader") as conn:
            return check(conn, show=show)
    except (psycopg.Error, PgauditError, OSError) as error:
        say(f"pgaudit: {sentence_of(error)}", error=True)
        raise typer.Exit(COULD_NOT_CHECK) from None
    finally:
        progress.clear()
