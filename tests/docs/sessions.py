"""Runs the servers and shell sessions that a page prints, with the programs of this virtual environment."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import kill, terminate
from tests.support.waiting import wait_until

BIN = Path(sys.executable).parent
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+(?=\D)")


def environment(dsn: str, **more: str) -> dict[str, str]:
    """Returns the environment of a command: PATH to this virtual environment, and the DSN."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PGAUDIT_DSN": dsn, "PYTHONUNBUFFERED": "1"} | more


@contextmanager
def served(command: str, dsn: str, directory: Path, **more: str) -> Iterator[str]:
    """Runs a command that starts a server, on a free port; yields its address."""
    log = directory / "log"
    arguments = [*re.sub(r" --port \d+", "", command).split(), "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, cwd=directory, env=environment(dsn, **more), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until(
            "the server prints its address", lambda: ADDRESS.search(log.read_text()) or process.poll() is not None
        )
        found = ADDRESS.search(log.read_text())
        assert found, log.read_text()
        yield found[0]
        terminate(process)
    finally:
        kill(process)


def bash(script: str, directory: Path, **more: str) -> str:
    """Returns what a script prints to its standard output."""
    result = subprocess.run(
        ["/bin/bash", "-c", script], cwd=directory, env=environment("", **more), capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    return result.stdout
