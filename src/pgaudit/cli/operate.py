"""Commands that run something: worker, replay, demo."""

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pgaudit.cli.database import connect
from pgaudit.cli.output import AsJson, print_json
from pgaudit.cli.terminal import say
from pgaudit.recording import replay, spool
from pgaudit.settings import Mode, Settings


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (demo, worker_, replay_):
        app.command(command.__name__.rstrip("_"))(command)


def demo(
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="How long the application runs.")] = 15.0,
    *,
    serve: Annotated[bool, typer.Option("--serve", help="Keep the dashboard up afterwards, until Ctrl-C.")] = False,
) -> None:
    """Show pgaudit at work: an application, two workers, one of them killed, and a final count. Needs no database."""
    from pgaudit import demo as demonstration  # noqa: PLC0415 - half a second that the other commands need not wait

    raise typer.Exit(0 if demonstration.run(seconds=seconds, serve=serve) else 1)


def worker_() -> None:
    """Run a worker until SIGTERM or SIGINT, through outages of any length. A second signal exits at once."""
    from pgaudit import worker  # noqa: PLC0415 - half a second that the other commands need not wait

    sys.path.insert(0, "")  # PGAUDIT_PROCESSORS may name modules of this directory
    worker.run()


def replay_(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...", help="Spool files, or directories of them; PGAUDIT_SPOOL_DIR by default.", exists=True
        ),
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """Record spooled events. Each event is stored once; files without remaining events are removed.

    Exit with 1 when events remain: they were refused, or their transaction is still open.
    """
    logging.getLogger("pgaudit").setLevel(logging.WARNING)  # the sentences below say what the log would say
    settings = Settings()
    files = [file for path in paths or [settings.require_spool_dir()] for file in files_of(path)]
    results: dict[Path, replay.Replayed] = {}
    with connect("inline" if settings.mode is Mode.INLINE else "writer") as conn:
        for file in files:
            results[file] = replay.replay(conn, file, settings.mode, receipts=settings.wal_receipts)
            spool.remove_if_empty(file)
    if json:
        print_json([{"file": str(file)} | asdict(result) for file, result in results.items()])
    else:
        print_results(results)
    raise typer.Exit(1 if any(result.pending or result.refused for result in results.values()) else 0)


def files_of(path: Path) -> list[Path]:
    """Returns the spool files of a directory, or the path itself if it is a file."""
    return list(spool.files(path)) if path.is_dir() else [path]


def print_results(results: dict[Path, replay.Replayed]) -> None:
    """Prints one sentence per file: how many of its events were recorded, dropped, left and refused."""
    if not results:
        say("There are no spooled events.")
    for file, result in results.items():
        name = f"{file}: " if len(results) > 1 else ""
        say(
            f"{name}{result.recorded} event(s) recorded, {result.rolled_back} dropped with their rolled-back change, "
            f"{result.pending} left because their transaction is still open, {result.refused} refused."
        )
        if result.refused:
            say(f"The refused lines are in {file.with_suffix('.refused')} now: correct or remove them.", error=True)
