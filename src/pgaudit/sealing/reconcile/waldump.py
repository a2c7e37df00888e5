"""``pg_waldump``, which reads the WAL: where it is, and what it prints for a stretch of files."""

import os
import re
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from tempfile import TemporaryFile
from typing import IO, Final

from pgaudit.embedded import PACKAGE
from pgaudit.errors import WalUnreadable
from pgaudit.sealing.reconcile.segments import LSN, Stretch, as_text, lsn

PROGRAM: Final = "pg_waldump"
# Where packages for Linux and macOS put the programs of a server.
DIRECTORIES: Final = (
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
)
ONLY: Final = ("--rmgr", "LogicalMessage", "--rmgr", "Transaction")
ENDED: Final = re.compile(
    r"error in WAL record at ([0-9A-F]+/[0-9A-F]+)|could not find a valid record after ([0-9A-F]+/[0-9A-F]+)"
)


def find(major: int, given: Path | None = None) -> Path:
    """Returns the program for the WAL of a server of that version: only the same version can read it.

    :param given: the program, if the user says where it is
    :raises WalUnreadable: it is not on this machine, or is of another version.
    """
    candidates = [given] if given else list(_candidates(major))
    versions = {path: version for path in candidates if (version := _version_of(path))}
    for path, version in versions.items():
        if version == major:
            return path
    others = "; ".join(f"{path} is of version {version}" for path, version in versions.items())
    raise WalUnreadable(
        f"pg_waldump of PostgreSQL {major} was not found{f' ({others})' if others else ''}: it comes with the server; "
        "name it with --pg-waldump"
    )


def _candidates(major: int) -> Iterator[Path]:
    """Yields where the program may be: on PATH, where packages install it, in the wheel of the embedded server."""
    if found := which(PROGRAM):
        yield Path(found)
    for directory in DIRECTORIES:
        yield Path(directory.format(major), PROGRAM)
    package = find_spec(PACKAGE)
    if package and package.origin:
        yield from sorted(Path(package.origin).parent.glob(f"pginstall*/bin/{PROGRAM}"))


def _version_of(program: Path) -> int | None:
    """Returns the major version of a program; None if there is none that can be run."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return None
    found = re.search(r"(\d+)[.\w]* *(?:\(|$)", said)
    return int(found[1]) if found else None


class Dump:
    """What the program prints for a stretch of the WAL.

    :param start: from where on, within the stretch
    :param end: up to where
    """

    def __init__(self, program: Path, stretch: Stretch, start: int, end: int) -> None:
        self._stretch, self._end = stretch, end
        first = stretch.segments[0]
        self._command: list[str | Path] = [
            program,
            "--path",
            first.path.parent,
            "--timeline",
            str(first.timeline),
            *ONLY,
        ]
        self._command += ["--start", as_text(max(start, first.start)), "--end", as_text(end)]
        self.end = end  # up to where the WAL was read

    def lines(self) -> Iterator[bytes]:
        """Yields its lines, and knows then where the WAL ended.

        :raises WalUnreadable: the files cannot be read, or are damaged before their end.
        """
        with TemporaryFile() as errors, self._running(errors) as program:
            assert program.stdout  # noqa: S101 - it is a pipe
            yield from program.stdout
            if program.wait():
                errors.seek(0)
                self.end = self._ended(errors.read().decode(errors="replace").strip())

    @contextmanager
    def _running(self, errors: IO[bytes]) -> Generator["subprocess.Popen[bytes]"]:
        environment = os.environ | {"TZ": "UTC", "LC_ALL": "C"}
        program = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        try:
            with program:
                yield program
        finally:
            program.kill()

    def _ended(self, said: str) -> int:
        """Returns where the WAL ended, by what the program said.

        A server's own directory ends in a file that is not full yet: there the program finds no further record.

        :raises WalUnreadable: it ended before the last file.
        """
        found = ENDED.search(said)
        place = lsn(found[1] or found[2]) if found else -1
        if place < self._stretch.segments[-1].start:
            raise WalUnreadable(f"{said.removeprefix('pg_waldump: ').removeprefix('error: ') or 'pg_waldump failed'}")
        return max([place, *(lsn(text[0]) for text in LSN.finditer(said))]) if found else self._end
