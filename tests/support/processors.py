"""Processors in tests: declaring them for one test, in other processes, and what their jobs do."""

import os
import subprocess
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from pgaudit import Settings
from pgaudit.processors.declaration import DECLARED
from pgaudit.processors.dispatcher import Dispatcher
from pgaudit.worker.connection import connect
from tests.support.processes import Process, start_worker
from tests.support.queries import value_in

JOBS = "SELECT count(*) FROM pgaudit.processor_jobs"
# A module that writes a line for each attempt to a file: the index, the attempt, and the process.
MODULE = """
import asyncio, os, time
import pgaudit

def note(entry, what="ran"):
    line = f"{entry.index} {entry.attempt} {os.getpid()} {what} {entry.idempotency_key}\\n"
    descriptor = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)
"""


@contextmanager
def no_others() -> Generator[None]:
    """Forgets, inside the block, the processors that were declared before; after it, those that were declared there."""
    before = dict(DECLARED)
    DECLARED.clear()
    try:
        yield
    finally:
        DECLARED.clear()
        DECLARED.update(before)


def start(dsn: str, environment: Mapping[str, str], command: str = "pgaudit") -> Process:
    """Starts a worker in a process of its own."""
    return start_worker(dsn, command, subprocess.DEVNULL, **environment)


def stat(dsn: str, name: str, column: str) -> Any:
    """Returns a column of ``processor_stats``; None if no worker has known the processor."""
    query = f"SELECT {column} FROM pgaudit.processor_stats WHERE name = '{name}'"
    return value_in(dsn, query)


def column(dsn: str, query: str) -> list[Any]:
    """Returns the first column of the rows of a query."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return [row[0] for row in conn.execute(query)]


def errors(dsn: str, name: str) -> list[tuple[int, str, str]]:
    """Returns the attempt, class and message of each error in the history of a processor's jobs."""
    query = "SELECT attempt, error_class, message FROM pgaudit.job_error WHERE task_name = %s ORDER BY id"
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute(query, [name]).fetchall()


@dataclass(frozen=True)
class Attempt:
    """One line that ``note`` has written."""

    index: int
    attempt: int
    pid: int
    what: str
    key: str


@dataclass(frozen=True)
class Modules:
    """Modules with processors for workers in processes of their own, and what they have noted."""

    directory: Path

    @property
    def notes(self) -> list[Attempt]:
        """What was noted, in its order; without a line that is being written."""
        path = self.directory / "notes"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        parts = [line.split() for line in lines]
        return [Attempt(int(index), int(attempt), int(pid), what, key) for index, attempt, pid, what, key in parts]

    def write(self, name: str, code: str) -> dict[str, str]:
        """Writes a module; returns the environment of a worker that runs it."""
        (self.directory / f"{name}.py").write_text(MODULE + code)
        path = os.pathsep.join([str(self.directory), os.environ.get("PYTHONPATH", "")])
        return {"PYTHONPATH": path, "PGAUDIT_PROCESSORS": name, "NOTES": str(self.directory / "notes")}


def dispatcher(settings: Settings) -> Dispatcher:
    """Returns the dispatcher of a worker that knows what was declared."""
    return Dispatcher(DECLARED, settings, connect, threading.Event(), 0.0)


def dispatch(settings: Settings) -> None:
    """Dispatches all that there is."""
    one = dispatcher(settings)
    with connect(settings, "test") as conn:
        one.run_maintenance(conn)
        while one.dispatch_due(conn):
            pass
