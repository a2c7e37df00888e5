"""The page on completeness: its program, and what its commands print."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from docs.code import completeness_
from pgaudit.sealing.completeness.offline import indexes_digest
from tests.sealing.completeness.conftest import Log

PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "completeness.md"


def test_the_program_of_the_page(three_days: Log, tmp_path: Path) -> None:
    """The proof is written, read again and checked; a pack without one of the events is refused."""
    path = tmp_path / "completeness.json"
    completeness_.write_proof(three_days.conn, path)
    events = three_days.texts(0, 601, 608, 609)
    assert completeness_.indexes(path, three_days.checkpoint, events) == [0, 601, 608, 609]
    with pytest.raises(SystemExit, match="not shown to be complete: event 609 is missing"):
        completeness_.indexes(path, three_days.checkpoint, events[:-1])
    assert completeness_.rebuild(three_days.conn) == []


def test_the_commands_of_the_page() -> None:
    """A shell prints the key and the digest that the page says, which are those of the code."""
    printed = re.findall(r"^\$ (printf .*)\n(\w{64})  -$", PAGE.read_text(), re.MULTILINE)
    shell = shutil.which("bash")
    assert len(printed) == 2
    assert shell
    for command, expected in printed:
        ran = subprocess.run([shell, "-c", command], capture_output=True, text=True, check=True)
        assert ran.stdout == f"{expected}  -\n"
    assert printed[1][1] == indexes_digest([7, 300]).hex()
