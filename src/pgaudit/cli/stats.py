"""``pgaudit stats``."""

import time
from dataclasses import asdict
from typing import Annotated, Any, Final

import psycopg
import typer
from rich.console import Group
from rich.live import Live

from pgaudit import stats as statistics
from pgaudit.cli.database import connect
from pgaudit.cli.output import AsJson, console, print_json, table
from pgaudit.cli.terminal import end_with_reader

EVERY: Final = 1.0  # seconds


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(stats)


def stats(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every second; with --json, a document in each line.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show the queue, the workers, the throughput of the last minutes and the size of the tables."""
    end_with_reader()
    with connect("reader") as conn:
        if watch and console.is_terminal and not json:
            refresh(conn)
        print_once(conn, as_json=json)
        while watch:
            time.sleep(EVERY)
            print_once(conn, as_json=json)


def print_once(conn: psycopg.Connection[Any], *, as_json: bool) -> None:
    """Prints all statistics."""
    if as_json:
        print_json(snapshot(conn))
    else:
        console.print(picture(conn))


def refresh(conn: psycopg.Connection[Any]) -> None:
    """Shows the statistics on the whole screen until Ctrl-C."""
    with Live(picture(conn), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(EVERY)
            live.update(picture(conn), refresh=True)


def snapshot(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    """Returns all statistics, for JSON."""
    return {
        "queues": [asdict(row) for row in statistics.queue_stats(conn)],
        "workers": [asdict(row) for row in statistics.worker_stats(conn)],
        "throughput": [asdict(row) for row in statistics.throughput(conn, minutes=10)],
        "storage": [asdict(row) for row in statistics.storage_stats(conn)],
    }


def picture(conn: psycopg.Connection[Any]) -> Group:
    """Returns all statistics as tables."""
    return Group(
        table(statistics.QueueStats, statistics.queue_stats(conn), "queue"),
        table(statistics.WorkerStats, statistics.worker_stats(conn), "\nworkers"),
        table(statistics.Throughput, statistics.throughput(conn, minutes=10), "\nthroughput, last minutes"),
        table(statistics.StorageStats, statistics.storage_stats(conn), "\nstorage"),
    )
