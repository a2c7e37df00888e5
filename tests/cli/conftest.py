"""The command line in a process of its own."""

import os
import subprocess
import sys

import pytest

from tests.support.command_line import Run


@pytest.fixture
def run(dsn: str) -> Run:
    """Runs ``pgaudit`` with these arguments and variables, against the test's database."""

    def run_in(*arguments: str, dsn: str = dsn, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pgaudit", *arguments]
        environment = os.environ | {"PGAUDIT_DSN": dsn, "COLUMNS": "120"} | more
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run_in
