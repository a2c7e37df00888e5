"""The command line in a process of its own."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.command_line import Commands, Run


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """The process whose forks run the commands of a session."""
    commands = Commands()
    yield commands
    commands.close()


@pytest.fixture
def run(commands: Commands, dsn: str) -> Run:
    """Runs ``pgaudit`` with these arguments and variables, against the test's database."""

    def run_in(*arguments: str, dsn: str = dsn, **more: str) -> subprocess.CompletedProcess[str]:
        return commands.run(*arguments, PGAUDIT_DSN=dsn, **{"COLUMNS": "120"} | more)

    return run_in
