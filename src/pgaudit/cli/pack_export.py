"""``pgaudit export --proof``: the events that a query finds, as a pack that others can verify."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from pgaudit.cli.export_access import ExportAccess
from pgaudit.cli.pack_policy import given_policy, policy_of_signer, with_sealing
from pgaudit.cli.progress import Progress
from pgaudit.cli.terminal import say
from pgaudit.errors import ExportRefused
from pgaudit.trail.export import Stream
from pgaudit.trail.export.copying import copy

if TYPE_CHECKING:
    from pgaudit.sealing.packs.planning import PackPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """What ``pgaudit export --proof`` was asked for."""

    query: str
    output: str
    tiles: bool
    complete: bool
    policy: Path | None
    vkeys: Sequence[str] | None
    force: bool
    quiet: bool


def check_fitting(output: str, format_: str | None, *others: object) -> None:
    """Checks the other options of an export.

    :raises ExportRefused: a pack does not have one of them.
    """
    if format_ not in (None, "ndjson") or any(others):
        raise ExportRefused("a pack has its events as NDJSON, and is not continued: leave out what --proof excludes")
    if output == "-":
        raise ExportRefused("a pack is a directory or a zip file: name one with --output")


def export_pack(conn: psycopg.Connection, access: ExportAccess, options: PackOptions) -> None:
    """Writes a pack, with its progress, and says what it has.

    :raises ExportRefused: nothing is signed yet, a key is missing, something is in the way, or nothing shows that the
        events are all.
    """
    with with_sealing():
        from pgaudit.sealing.packs.output import PackOutput  # noqa: PLC0415 - its packages are an extra
        from pgaudit.sealing.packs.planning import plan_pack  # noqa: PLC0415 - as above

    policy = given_policy(options.policy, options.vkeys) or policy_of_signer()
    plan = plan_pack(conn, options.query, policy, "tiles" if options.tiles else "proofs", complete=options.complete)
    output = PackOutput(Path(options.output), plan, replace=options.force)
    progress = Progress(0, plan.export.size, quiet=options.quiet)
    said: dict[str, Any] = {"proof": plan.kind, "complete": options.complete}

    def show(stream: Stream) -> None:
        progress.show(stream.position, f"{stream.count:,} events")

    try:
        access.start(plan.export, **said)
        path = copy(conn, output, access.record, show, **said, **access.said)
    finally:
        progress.clear()
        output.close()
    if not options.quiet:
        for sentence in in_words(output.stream, path, plan):
            say(sentence)


def in_words(stream: Stream, path: Path | None, plan: "PackPlan") -> Iterator[str]:
    """Yields what the pack has, what it shows, and what it does not have."""
    if stream.count:
        events = f"{stream.count:,} event{'s' * (stream.count > 1)}"
        yield f"{events}, index {stream.first_index} to {stream.last_index}, with proofs in {path}"
    else:
        yield f"0 events in {path}" + ("" if plan.complete else ": there is nothing to verify")
    if plan.complete:
        yield plan.complete.shown.statement
        yield plan.complete.shown.reservation(stream.count)
    if plan.left_out:
        yield left_out_in_words(plan.left_out, plan.export.size)


def left_out_in_words(count: int, size: int) -> str:
    """Returns what the pack does not have."""
    events = (
        "1 newer event that the query finds is" if count == 1 else f"{count:,} newer events that the query finds are"
    )
    return f"{events} left out: the newest signed checkpoint is of the first {size:,} events"
