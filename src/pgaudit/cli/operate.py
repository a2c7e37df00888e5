"""Commands that run something: worker, replay, demo."""

import logging
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
) -> None:
    """Show pgaudit at work: an application, two workers, one of them killed, and a final count. Needs no database."""
    from pgaudit import demo as demonstration  # noqa: PLC0415 - half a second that the other commands need not wait

    raise typer.Exit(0 if demonstration.run(seconds=seconds) else 1)


def worker_() -> None:
    """Run a worker until SIGTERM or SIGINT, through outages of any length. A second signal exits at once."""
    from pgaudit import worker  # noqa: PLC0415 - half a second that the other commands need not wait

    worker.run()


def replay_(
    file: Annotated[Path, typer.Argument(help="A file of the spool.", exists=True, dir_okay=False)],
    *,
    json: AsJson = False,
) -> None:
    """Record the events of a spool file. Each is stored once; a file in which none is left is removed."""
    logging.getLogger("pgaudit").setLevel(logging.WARNING)  # the sentence below says what the log would say
    mode = Settings().mode
    with connect("inline" if mode is Mode.INLINE else "writer") as conn:
        result = replay.replay(conn, file, mode)
    spool.remove_if_empty(file)
    if json:
        print_json(asdict(result))
        raise typer.Exit(1 if result.refused else 0)
    say(
        f"{result.recorded} event(s) recorded, {result.rolled_back} dropped with their rolled-back change, "
        f"{result.pending} left because their transaction is still open, {result.refused} refused."
    )
    if result.refused:
        say(f"The refused lines are in {file.with_suffix('.refused')} now: correct or remove them.", error=True)
        raise typer.Exit(1)
