"""The tutorial of the forger, from its first command to its last, on an embedded Postgres."""

import os
import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pgaudit.testing import programs
from tests.docs.printed import ROOT, blocks, commands, statements
from tests.docs.sessions import bash, environment
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.processes import kill, terminate
from tests.support.waiting import wait_until

PAGE = "docs/tutorial-tampering.md"
PATH = f"{programs.directory()}{os.pathsep}{environment('')['PATH']}"
# What differs from run to run: a key, a time, and whether the 301 events were signed in one checkpoint or in two.
KEY, COUNT = re.compile(r"\+[0-9a-f]{8}\+\S+"), re.compile(r"\d+ checkpoints?\b")
SIGNED = "Assurance: signed."


@contextmanager
def signer(session: str, directory: Path) -> Generator[Path]:
    """Runs the last command of a session inside the block; yields the file with what it says."""
    said = directory / "signer.log"
    with said.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/bash", "-c", "\n".join([*commands(session)[1:-1], f"exec env {commands(session)[-1]}"])],
            cwd=directory, env=environment("", PATH=PATH), stderr=output,
        )  # fmt: skip
    try:
        yield said
        assert terminate(process) == 0
    finally:
        kill(process)


def run(session: str, directory: Path, *before: str) -> str:
    """Returns what the commands of a session print, after what earlier ones have exported."""
    exports = [command for block in before for command in commands(block) if command.startswith("export ")]
    script = [*exports, *(f"{command} || true" for command in commands(session))]
    return bash("\n".join(script), directory, PATH=PATH)


def steady(text: str) -> list[str]:
    """Returns the lines without what differs from run to run; a finding for each checkpoint is one line."""
    lines = [COUNT.sub("checkpoints", KEY.sub("+KEY", line)) for line in text.splitlines() if line[:1] not in ("$", "")]
    return list(dict.fromkeys(re.sub(r"events \d+ to \d+|of \d+ events|\d+ findings?", "…", line) for line in lines))


def parts(session: str) -> list[str]:
    """Returns a session in two parts, the second from its worker on; or as a whole, if it has no worker."""
    return [part for part in re.split(r"^(?=\$ .*timeout 5 )", session, flags=re.MULTILINE) if part]


def caught(session: str, directory: Path, *before: str) -> None:
    """Checks what a session prints. A worker that had too little time on a busy machine gets more."""
    expected = steady(session)
    if "timeout 5" in session:
        wait_until(f"it prints {expected}", lambda: steady(run(session, directory, *before)) == expected)
    else:
        assert steady(run(session, directory, *before)) == expected, session


@pytest.mark.parametrize("step", range(3))
def test_the_statements_of_the_page_are_those_of_the_files(step: int) -> None:
    """What the page explains is what its commands run; the third file is only named."""
    path = ("alter-event.sql", "hide-alteration.sql", "forge-checkpoint.sql")[step]
    text = (ROOT / "docs/files" / path).read_text()
    assert f"docs/files/{path}" in "".join(blocks(PAGE, "console"))
    assert step == 2 or statements(text) == statements(blocks(PAGE, "sql")[step])


def test_the_forger_is_caught(tmp_path: Path) -> None:
    """Each command prints what the page says, and the signer notices, too."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    first, second, clean, altered, hidden, told, forged, unkeyed = blocks(PAGE, "console")
    assert steady(run(first, tmp_path)) == steady(first)
    with signer(second, tmp_path) as said:
        wait_until("the log is signed", lambda: SIGNED in run(clean, tmp_path, first))
        wait_until("all of it is signed", lambda: "Not signed yet" not in run(clean, tmp_path, first))
        assert steady(run(clean, tmp_path, first)) == steady(clean)
        for session in (altered, hidden, forged, unkeyed):
            for part in parts(session):
                caught(part, tmp_path, first, altered)
        assert "after-a-restore.md" in told
        (error,) = re.findall(r"ERROR .+", told)
        assert re.sub(r"\d+", "", error) in re.sub(r"\d+", "", said.read_text())


def test_the_readme_proves_it(conn: psycopg.Connection, dsn: str, tmp_path: Path) -> None:
    """After the quick start, which has left one event in the log."""
    record_persist_and_commit(conn, *events(1))
    (session,) = (block for block in blocks("README.md", "console") if "keys new" in block)
    database = f"$ export PGAUDIT_DSN='{dsn}'"
    keys, signing = parts(re.sub(r"  +#.*", "", session))
    caught(keys, tmp_path, database)
    caught(signing, tmp_path, database, keys)
