"""The demo, as a program without a terminal runs it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.browser import Browser

COMMAND = [sys.executable, "-m", "pgaudit", "demo", "--seconds"]
COUNT = re.compile(r"^ {2,4}(\D+?) {2,}([\d,]+)", re.MULTILINE)
NOUGHT = ("missing", "doubled", "of rolled-back changes", "gaps in the index", "altered")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with a directory for temporary files, and settings that the demo must ignore."""
    elsewhere = {"PGAUDIT_DSN": "host=127.0.0.1 port=1", "PGAUDIT_MODE": "off", "PGPORT": "1"}
    return os.environ | elsewhere | {"TMPDIR": str(tmp_path), "COLUMNS": "80"}


@pytest.fixture
def demo(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The demo, running for a minute."""
    with demo_of(environment, "60") as process:
        yield process


@contextmanager
def demo_of(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Runs the demo inside the block."""
    # A background process ignores SIGINT, and its children inherit that. A signal that has a handler here has its
    # default action in the child, as in a terminal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with subprocess.Popen([*COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, text=True) as process:
            yield process
            process.terminate()
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_demo_verifies_that_each_change_is_logged_once(environment: dict[str, str], tmp_path: Path) -> None:
    """A worker is killed during a job, another takes it over, and every committed change is in the log once."""
    result = subprocess.run([*COMMAND, "4"], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0
    assert result.stderr == ""
    counted = {name: int(count.replace(",", "")) for name, count in COUNT.findall(result.stdout)}
    assert counted["committed changes"] == counted["events in the log"] > 0
    assert [counted[name] for name in NOUGHT] == [0] * len(NOUGHT)
    killed = re.search(r"worker 1 is killed .* on job (\d+)", result.stdout)
    assert killed
    assert re.search(rf"job {killed[1]} is taken over by worker [23]", result.stdout)
    assert "The trail of claim" in result.stdout
    assert re.search(
        r"pgaudit verify says: event ([\d,]+) was altered: its content and its hash are not", result.stdout
    )
    assert "events verified, assurance signed." in result.stdout
    assert "pgaudit demo --serve" in result.stdout
    assert left_in(tmp_path) == []


def test_the_dashboard_stays_up_when_it_is_asked_for(environment: dict[str, str], tmp_path: Path) -> None:
    """On loopback, with the demo's events, for who has the printed token; Ctrl-C ends it all, and is no failure."""
    with demo_of(environment, "2", "--serve") as process:
        assert process.stdout
        told = "".join(iter(process.stdout.readline, "  Ctrl-C ends both.\n"))
        address, token = re.findall(r"http://127\.0\.0\.1:\d+/", told)[0], re.findall(r"the token (\S+),", told)[0]
        assert "demo --serve" not in told
        with httpx.Client(base_url=address, trust_env=False) as client:
            browser = Browser(client)
            assert browser.get("/events").status_code == 303
            assert browser.log_in(token).status_code == 303
            assert "claim.settled" in browser.get("/events").text
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(
    demo: subprocess.Popen[str], number: signal.Signals, tmp_path: Path
) -> None:
    """Ctrl-C and SIGTERM stop workers, application and server, and remove the data."""
    assert demo.stdout
    assert any("claims come in" in line for line in demo.stdout)
    assert left_in(tmp_path)
    demo.send_signal(number)
    assert demo.wait(60) == 128 + number
    assert left_in(tmp_path) == []


def left_in(directory: Path) -> list[str]:
    """Returns the demo's files in that directory, and the processes that have its name in arguments or environment."""
    left = [str(path) for path in directory.glob("pgaudit*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or belongs to another user
        if str(directory).encode() in text:
            left.append(text.decode(errors="replace"))
    return left
