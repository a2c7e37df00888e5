"""``pgaudit`` as a person or a script runs it: in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = [sys.executable, "-m", "pgaudit"]
# Python reads other variables when it starts.
READ_LATER = ("PGAUDIT_", "COLUMNS", "NO_COLOR")
SECONDS = 60


def run_anew(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs ``pgaudit`` in a new process of Python."""
    environment = os.environ | variables
    command = [*COMMAND, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)


class Commands:
    """Runs commands in forks of a process that has imported ``pgaudit``: that takes most of the time of a command."""

    def __init__(self) -> None:
        server = [sys.executable, "-m", "tests.support.command_server"]
        self._server = subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs ``pgaudit`` with these arguments and variables, which are added to those of this process."""
        if not all(name.startswith(READ_LATER) for name in variables):
            return run_anew(*arguments, **variables)
        with TemporaryDirectory() as directory:
            out, err = Path(directory, "out"), Path(directory, "err")
            asked = {"arguments": arguments, "environment": dict(os.environ | variables), "directory": str(Path.cwd())}
            code = self._ask(asked | {"out": str(out), "err": str(err), "seconds": SECONDS})
            return subprocess.CompletedProcess([*COMMAND, *arguments], code, out.read_text(), err.read_text())

    def _ask(self, asked: dict[str, object]) -> int:
        """Returns the exit code of a command; that of a signal is negative, as in ``subprocess``."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """Ends the process."""
        self._server.communicate()
