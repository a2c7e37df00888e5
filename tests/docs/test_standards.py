"""The commands that the page on standards names."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.docs.printed import ROOT
from tests.support.command_line import Commands
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit

PAGE = (ROOT / "docs/standards.md").read_text()
COMMANDS = sorted(set(re.findall(r"\| `pgaudit (.+?)` \|", PAGE)))
RAN = (0, 1)  # 1: a verdict, such as that no worker is alive


@pytest.fixture(scope="module")
def pgaudit() -> Iterator[Commands]:
    """The program."""
    commands = Commands()
    yield commands
    commands.close()


def test_the_page_names_commands() -> None:
    """Most rows of its tables have one."""
    assert len(COMMANDS) > 8


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(
    command: str, pgaudit: Commands, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is spelt as the program has it, and finds something to look at."""
    monkeypatch.chdir(tmp_path)
    with psycopg.connect(dsn, autocommit=True) as conn:
        record_persist_and_commit(conn, *events(3))
    ran = pgaudit.run(*shlex.split(command), PGAUDIT_DSN=dsn)
    assert ran.returncode in RAN, ran.stdout + ran.stderr
    assert ran.stdout + ran.stderr != ""
    assert "Traceback" not in ran.stderr
