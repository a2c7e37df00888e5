"""PostgreSQL servers: one that is running, and one that is started for a test and removed after it."""

import os
import subprocess
from pathlib import Path
from shutil import copytree, rmtree
from tempfile import mkdtemp
from typing import Any, Final

from psycopg.conninfo import make_conninfo

from pgaudit.testing import programs

INITDB: Final = ("-U", "postgres", "--auth-local=trust", "--auth-host=reject", "-E", "UTF8", "--no-sync")
# No network. A test's data may be lost with the machine: nothing is flushed to disk.
SETTINGS: Final = {"listen_addresses": "", "fsync": "off", "max_connections": 100, "log_min_messages": "fatal"}
UNPRIVILEGED: Final = "nobody"


class Server:
    """A server that is running, and the databases on it."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo

    def conninfo_of(self, database: str) -> str:
        """Returns where one of its databases is, for libpq."""
        return make_conninfo(self.conninfo, dbname=database)


class TemporaryServer(Server):
    """A server of its own, which ``stop()`` stops and removes.

    Other users cannot reach it: its only socket is in a directory of mode 0700. Started by root, it runs as ``nobody``
    and has none of root's rights, so its superuser reads no file that others may not.

    :param directory: of its programs; otherwise PGAUDIT_TEST_PG chooses.
    :param settings: of the server, such as ``max_prepared_transactions=2``.
    """

    def __init__(self, directory: Path | None = None, **settings: str | int) -> None:
        directory = directory or programs.directory()
        self.home = Path(mkdtemp(prefix="pgaudit-"))
        super().__init__(make_conninfo(host=str(self.home), port=5432, user="postgres", dbname="postgres"))
        try:
            self._user = unprivileged()
            if self._user:
                os.chown(self.home, self._user["user"], self._user["group"])
            self._programs = self._readable(directory)
            self._initialise(settings)
            self.start()
        except BaseException:
            rmtree(self.home)
            raise

    def start(self) -> None:
        """Starts it; returns when it accepts connections."""
        self._run("pg_ctl", "start", "-D", "data", "-l", "log", "-w", "-t", "60")

    def halt(self, mode: str = "fast") -> None:
        """Stops it and keeps its data. The mode ``immediate`` is a crash: the next start recovers from the WAL."""
        self._run("pg_ctl", "stop", "-D", "data", "-m", mode, "-w", "-t", "60")

    def stop(self) -> None:
        """Stops it, if it is running, and removes its data."""
        try:
            if (self.home / "data" / "postmaster.pid").exists():
                self.halt()
        finally:
            rmtree(self.home)

    def _initialise(self, settings: dict[str, str | int]) -> None:
        self._run("initdb", "-D", "data", *INITDB)
        values = SETTINGS | {"unix_socket_directories": str(self.home)} | settings
        with (self.home / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in values.items())

    def _readable(self, directory: Path) -> Path:
        """Returns the programs, or a copy where an unprivileged user may not read them, as below /root."""
        try:
            subprocess.run([directory / "postgres", "--version"], check=True, capture_output=True, **self._user)
        except PermissionError:
            return copy_of_programs(directory, self.home / "copy")
        return directory

    def _run(self, program: str, *arguments: str) -> None:
        """Runs a program in the server's directory. Raises RuntimeError with what it said, and the server's log."""
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(
            command, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **self._user
        )
        if done.returncode:
            log = self.home / "log"
            said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            raise RuntimeError(f"{program} failed: {done.stderr or done.stdout}{said}")


def copy_of_programs(directory: Path, into: Path) -> Path:
    """Copies an installation, and the libraries beside a wheel's package. Returns the directory of the programs."""
    installation = directory.parent
    package = installation.parent
    copytree(installation, into / package.name / installation.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        copytree(libraries, into / libraries.name, symlinks=True)
    return into / directory.relative_to(package.parent)


def unprivileged() -> dict[str, Any]:
    """Returns how a child process gives up root's rights, which Postgres refuses to run with; else nothing.

    The kernel takes all capabilities from a process that changes from root to another user.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    import pwd  # noqa: PLC0415 - not on Windows

    user = pwd.getpwnam(UNPRIVILEGED)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
