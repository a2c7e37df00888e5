"""``pgaudit export`` without ``--proof``: the events that a query finds, as a file or on standard output."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pgaudit.cli.export_access import ExportAccess
from pgaudit.cli.export_options import FORMATS
from pgaudit.cli.progress import Progress
from pgaudit.cli.terminal import say
from pgaudit.errors import ExportRefused
from pgaudit.trail import parse
from pgaudit.trail.export import Stream, plan
from pgaudit.trail.export.copying import Output, check_continues, copy
from pgaudit.trail.export.files import FileOutput
from pgaudit.trail.export.pipe import PipeOutput
from pgaudit.trail.export.target import Target

STDOUT: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What ``pgaudit export`` was asked for."""

    query: str
    output: str
    format: str | None
    columns: Sequence[str] | None
    bom: bool
    resume: bool
    force: bool
    quiet: bool


def export_file(conn: object, access: ExportAccess, options: FileOptions) -> None:
    """Writes the export, with its progress, and says what it has.

    :raises ExportRefused: a file is in the way, there is none to continue, or the reader of standard output has ended.
    """
    wanted: dict[str, Any] = {
        "query": options.query,
        "format": options.format or format_of(options.output),
        "columns": tuple(options.columns or ()),
        "bom": options.bom,
    }
    is_pipe = options.output == STDOUT
    target = None if is_pipe else Target(Path(options.output), wanted["format"], replace=options.force)
    going = opened(conn, target, wanted, access, resume=options.resume)
    path = written(conn, going, access, quiet=options.quiet)
    if path and not options.quiet:
        say(f"{in_words(going.stream)} in {path}")


def written(conn: object, going: Output, access: ExportAccess, *, quiet: bool) -> Path | None:
    """Writes the export, with its progress. Returns the path of the file; None for standard output.

    :raises ExportRefused: the reader of standard output has ended.
    """
    progress = Progress(going.stream.position, going.stream.plan.size, quiet=quiet)

    def show(stream: Stream) -> None:
        progress.show(stream.position, f"{stream.count:,} events")

    try:
        return copy(conn, going, access.record, show, **access.said)
    except BrokenPipeError:
        raise ExportRefused("the reader of standard output has ended: the export is incomplete") from None
    finally:
        progress.clear()
        going.close()


def opened(
    conn: object, target: Target | None, wanted: dict[str, Any], access: ExportAccess, *, resume: bool
) -> Output:
    """Returns the output of the export. Its start is recorded before its first byte is written.

    :raises ExportRefused: a file is in the way, or there is none to continue.
    """
    if resume:
        return reopened(conn, target, wanted, access)
    new = plan(conn, **wanted)
    if target is None:
        access.start(new)
        return PipeOutput(new)
    target.check()
    access.start(new)
    return FileOutput.create(target, new)


def reopened(conn: object, target: Target | None, wanted: dict[str, Any], access: ExportAccess) -> FileOutput:
    """Returns the interrupted export.

    :raises ExportRefused: there is none, or it has another query, format or log.
    """
    if target is None:
        raise ExportRefused("standard output cannot be continued: name a file with --output")
    output = FileOutput.reopen(target)
    begun = output.stream.plan
    asked = str(parse(wanted["query"]))
    if (
        asked not in ("", begun.asked)
        or wanted["columns"] not in ((), begun.columns)
        or wanted["format"] != begun.format
    ):
        raise ExportRefused(
            f"the interrupted export has the query {begun.asked!r}, the format {begun.format} and the columns "
            f"{', '.join(begun.columns) or 'of every export'}: continue it with these, or begin again with --force"
        )
    check_continues(conn, output.stream)
    access.start(begun, output.stream.position)
    return output


def format_of(output: str) -> str:
    """Returns the format for the suffix of a file name; NDJSON for any other."""
    suffix = Path(output).suffix[1:]
    return suffix if suffix in FORMATS else "ndjson"


def in_words(stream: Stream) -> str:
    """Returns how many events there are, and their indexes."""
    if not stream.count:
        return "0 events"
    return f"{stream.count:,} event{'s' * (stream.count > 1)}, index {stream.first_index} to {stream.last_index},"
