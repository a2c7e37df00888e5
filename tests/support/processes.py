"""Workers in processes of their own, under each of the commands that run one."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

from tests.support.queries import value_in
from tests.support.waiting import wait_until

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
def worker_process(
    dsn: str, command: str = "pgaudit", log: int = subprocess.DEVNULL, **environment: str
) -> Generator[Process]:
    """Runs a worker inside the block, which begins when it has registered itself; kills it at the end."""
    process = start_worker(dsn, command, log, **environment)
    try:
        wait_until("a worker registers", lambda: value_in(dsn, "SELECT count(*) FROM pgaudit.worker_stats") != 0)
        yield process
    finally:
        kill(process)


def kill(process: Process) -> None:
    """Ends a process with SIGKILL."""
    process.kill()
    process.communicate()


def terminate(process: Process, seconds: float = 30.0) -> int:
    """Ends a process with SIGTERM; returns its exit code."""
    process.send_signal(signal.SIGTERM)
    return process.wait(seconds)
