"""Worker processes, and what the kernel says that they use."""

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

Process = subprocess.Popen[bytes]
PGAUDIT: Final = [sys.executable, "-c", "from pgaudit import worker; worker.run()"]
AT_MOST: Final = 600.0
TICKS: Final = os.sysconf("SC_CLK_TCK")


@contextmanager
def worker(dsn: str, *command: str, **environment: str) -> Generator[Process]:
    """A worker; it is killed at the end."""
    process = subprocess.Popen(command, env=os.environ | {"PGAUDIT_DSN": dsn} | environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(
    conn: psycopg.Connection[Any],
    query: LiteralString | sql.Composed,
    process: Process,
    *parameters: object,
    pause: float = 0.02,
) -> float:
    """The time at which a query first says yes, give or take the pause between two looks.

    :raises RuntimeError: the worker has ended, or ten minutes have passed.
    """
    end = time.perf_counter() + AT_MOST
    while conn.execute(query, parameters).fetchone() != (True,):
        if process.poll() is not None or time.perf_counter() > end:
            raise RuntimeError(f"the worker {process.args!r} did not get there: {query!r}")
        time.sleep(pause)
    return time.perf_counter()


def peak_megabytes(process: Process) -> float:
    """The most memory that was ever resident."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def cpu_seconds(process: Process) -> float:
    """The processor time it has used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_share(process: Process, seconds: float) -> float:
    """Returns the share of one core that it uses in that time, in percent."""
    before, start = cpu_seconds(process), time.perf_counter()
    time.sleep(seconds)
    return (cpu_seconds(process) - before) / (time.perf_counter() - start) * 100
