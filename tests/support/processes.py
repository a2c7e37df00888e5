"""Workers as processes of their own, under each of the commands that run one."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import psycopg

from tests.waiting import wait_until

COMMANDS = {
    "pgaudit": [sys.executable, "-m", "pgaudit", "worker"],
    "procrastinate": [sys.executable, "-m", "procrastinate", "--app=pgaudit.worker.app", "worker"],
}
Process = subprocess.Popen[bytes]


def start_worker(dsn: str, command: str = "pgaudit", log: int = subprocess.DEVNULL, **environment: str) -> Process:
    """Starts a worker, configured by its environment; ``log`` is where its standard error goes."""
    variables = os.environ | {"PGAUDIT_DSN": dsn} | environment
    return subprocess.Popen(COMMANDS[command], env=variables, stdout=subprocess.DEVNULL, stderr=log)


@contextmanager
def worker(dsn: str, command: str = "pgaudit", log: int = subprocess.DEVNULL, **environment: str) -> Generator[Process]:
    """A worker that has registered itself; it is killed at the end, if it still runs."""
    process = start_worker(dsn, command, log, **environment)
    try:
        wait_until(lambda: query(dsn, "SELECT count(*) FROM pgaudit.worker_stats") != 0)
        yield process
    finally:
        kill(process)


def kill(process: Process) -> None:
    """Ends a process without a chance to say goodbye."""
    process.kill()
    process.communicate()


def terminate(process: Process, seconds: float = 30.0) -> int:
    """Asks a process to end; its exit code."""
    process.send_signal(signal.SIGTERM)
    return process.wait(seconds)


def query(dsn: str, statement: str) -> object:
    """The one value that a query returns."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        (value,) = conn.execute(statement).fetchone() or (None,)
    return value
