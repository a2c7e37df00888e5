"""The stage: the database, the workers and the application are set up, played with, and cleared away."""

import logging
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from rich.console import Console

from pgaudit import migrate
from pgaudit.demo import claims, report, tampering, workload
from pgaudit.demo.counts import figures
from pgaudit.demo.dashboard import DemoDashboard
from pgaudit.demo.processes import APPLICATIONS, Processes, processes
from pgaudit.demo.scenario import TICK, Plot
from pgaudit.demo.screen import screen
from pgaudit.demo.server import server, tidy_end
from pgaudit.errors import PgauditError

WORKERS: Final = 2
LONGEST_START: Final = 60.0


def play(seconds: float, directory: Path | None, *, serve: bool) -> bool:
    """Runs the demo from the start of its server to the end of its last process. Returns whether the check is right."""
    dashboard = DemoDashboard() if serve else None  # what it needs is missed before the demo, not after it
    console = Console(highlight=False)
    cast = f"a claims application in {APPLICATIONS} processes, {WORKERS} workers, a Postgres"
    console.print(f"\n[bold]pgaudit demo[/]  {cast}", soft_wrap=True)
    with tidy_end(), quiet(), ExitStack() as stack:
        with console.status("starting Postgres and the workers"):
            dsn = stack.enter_context(server(directory))
            conn = stack.enter_context(prepared(dsn))
            crew = stack.enter_context(processes(dsn))
            start_workers(conn, crew)
        with screen(console) as shown:
            plot = Plot(conn, crew, shown, seconds)
            plot.run()
        is_right = report.print_report(console, conn, plot.takeover)
        is_right = tampering.show(console, conn) and is_right
        if dashboard is None:
            report.print_next(console)
        else:
            dashboard.serve(console, dsn)
        return is_right


@contextmanager
def quiet() -> Generator[None]:
    """Keeps progress messages off the screen; warnings stay, except those of the migration.

    They are advice about the roles of a database that is kept; the demo's own has one role.
    """
    migration = logging.getLogger("pgaudit.migrate")
    before = migration.level
    logging.disable(logging.INFO)
    migration.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        migration.setLevel(before)


@contextmanager
def prepared(dsn: str) -> Generator[psycopg.Connection[Any]]:
    """Returns a connection to the database, with our schema and the application's tables."""
    migrate.upgrade(dsn)
    with psycopg.connect(dsn, autocommit=True, application_name="pgaudit demo") as conn:
        conn.execute(claims.CREATE_TABLE)
        conn.execute(workload.CREATE_SEQUENCE)
        yield conn


def start_workers(conn: psycopg.Connection[Any], crew: Processes) -> None:
    """Starts the workers one after the other, so that it is known which process has which number.

    :raises PgauditError: one does not register within a minute.
    """
    crew.foreign_worker_ids.update(figures(conn).workers)
    end = time.monotonic() + LONGEST_START
    for _ in range(WORKERS):
        worker = crew.start_worker()
        while worker.number is None:
            if time.monotonic() > end:
                raise PgauditError("the workers of the demo do not register with its database")
            crew.check()
            crew.meet(figures(conn).workers)
            time.sleep(TICK)
