"""Worker processes, and the memory and processor time that Linux reports for them."""

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
TIMEOUT_SECONDS: Final = 600.0
TICKS: Final = os.sysconf("SC_CLK_TCK")


@contextmanager
def worker(dsn: str, *command: str, **environment: str) -> Generator[Process]:
    """Starts a worker for the database, and kills it at the end of the block."""
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
    """Polls until a query returns true, and returns that time.

    ``pause`` is the number of seconds between two polls.

    :raises RuntimeError: the worker has ended, or ten minutes have passed.
    """
    end = time.perf_counter() + TIMEOUT_SECONDS
    while conn.execute(query, parameters).fetchone() != (True,):
        if process.poll() is not None or time.perf_counter() > end:
            raise RuntimeError(f"the worker {process.args!r} ended or took ten minutes without reaching: {query!r}")
        time.sleep(pause)
    return time.perf_counter()


def peak_megabytes(process: Process) -> float:
    """Returns the largest resident memory so far."""
    return _memory(process, "VmHWM:")


def resident_megabytes(process: Process) -> float:
    """Returns the resident memory now."""
    return _memory(process, "VmRSS:")


def _memory(process: Process, field: str) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def cpu_seconds(process: Process) -> float:
    """Returns the processor time used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_share(process: Process, seconds: float) -> float:
    """Watches a process for that time, and returns the share of one core that it used, in percent."""
    before, start = cpu_seconds(process), time.perf_counter()
    time.sleep(seconds)
    return (cpu_seconds(process) - before) / (time.perf_counter() - start) * 100
