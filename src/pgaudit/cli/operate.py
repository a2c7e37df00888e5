"""Commands that run something: worker, replay, demo."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from pgaudit.cli.output import connect
from pgaudit.recording import replay
from pgaudit.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (demo, worker_, replay_):
        app.command(command.__name__.rstrip("_"))(command)


def demo(
    seconds: Annotated[float, typer.Option(min=1, help="How long the application runs.")] = 15.0,
) -> None:
    """Show pgaudit at work: an application, two workers, one of them killed, and a final count. Needs no database."""
    from pgaudit import demo as demonstration  # noqa: PLC0415 - half a second that the other commands need not wait

    raise typer.Exit(0 if demonstration.run(seconds=seconds) else 1)


def worker_() -> None:
    """Run a worker until SIGTERM or SIGINT, through outages of any length. A second signal exits at once."""
    from pgaudit import worker  # noqa: PLC0415 - half a second that the other commands need not wait

    worker.run()


def replay_(file: Annotated[Path, typer.Argument(help="A file of the spool.", exists=True, dir_okay=False)]) -> None:
    """Record the events of a spool file. Safe to repeat: each event is stored once."""
    logging.getLogger("pgaudit").setLevel(logging.WARNING)  # the sentence below says what the log would say
    with connect() as conn:
        result = replay.replay(conn, file, Settings().mode)
    typer.echo(
        f"{result.recorded} event(s) recorded, {result.rolled_back} dropped with their rolled-back change, "
        f"{result.pending} left because their transaction is still open, {result.refused} refused.",
    )
    if result.refused:
        typer.echo(f"The refused lines are in {file.with_suffix('.refused')} now: correct or remove them.", err=True)
        raise typer.Exit(1)
