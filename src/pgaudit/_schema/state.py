"""Which schema this version brings, and which one a database has. Does not load Alembic."""

import hashlib
import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

PACKAGE: Final = Path(__file__).parents[1]
# In the package when it is installed, at the top of the project in a checkout.
MIGRATIONS: Final = next(path for path in (PACKAGE / "migrations", PACKAGE.parents[1] / "migrations") if path.is_dir())
NEWEST: Final = "0001"
# By the catalog alone: looking a name up in a schema needs a right to it.
INSTALLED: Final = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                    WHERE n.nspname = 'pgaudit' AND p.proname = 'schema_state')
"""
STATE: Final = "SELECT revision, checksum, version FROM pgaudit.schema_state()"


class Standing(StrEnum):
    """How a database compares with this version."""

    MISSING = "missing"  # never migrated
    BEHIND = "behind"
    CURRENT = "current"
    AHEAD = "ahead"  # a newer version of pgaudit has migrated it


@dataclass(frozen=True, slots=True)
class State:
    """What is installed in a database."""

    revision: str | None = None
    checksum: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"revision {self.revision} of pgaudit {self.version or '(none)'}" if self.revision else "not migrated"


@dataclass(frozen=True)
class Scripts:
    """The migrations of one version of pgaudit, in their directory."""

    directory: Path = MIGRATIONS
    version: str = ""

    @property
    def release(self) -> str:
        """Returns the version of pgaudit that these scripts belong to."""
        return self.version or str(sys.modules["pgaudit"].__version__)

    @cached_property
    def revisions(self) -> list[str]:
        """Returns the revisions, oldest first. The name of each file begins with its revision."""
        return sorted(path.name.partition("_")[0] for path in (self.directory / "versions").glob("*.py"))

    @cached_property
    def code(self) -> list[str]:
        """Returns the scripts that define functions, views and rights, in order. They are applied as a whole."""
        return [path.read_text(encoding="utf-8") for path in sorted((self.directory / "code").glob("*.sql"))]

    @cached_property
    def checksum(self) -> str:
        """Returns the SHA-256 of ``code``."""
        return hashlib.sha256("\0".join(self.code).encode()).hexdigest()

    @property
    def state(self) -> State:
        """Returns the state of a database that these scripts have migrated."""
        return State(self.revisions[-1], self.checksum, self.release)

    def text(self, name: str) -> str:
        """Returns the text of a script in the directory."""
        return (self.directory / name).read_text(encoding="utf-8")


SCRIPTS: Final = Scripts()


def standing(found: State | None, scripts: Scripts = SCRIPTS) -> Standing:
    """Returns how a database compares with the scripts."""
    if found is None or found.revision is None:
        return Standing.MISSING
    if found.revision not in scripts.revisions:
        return Standing.AHEAD
    if (found.revision, found.checksum) == (scripts.revisions[-1], scripts.checksum):
        return Standing.CURRENT
    newer = found.version is not None and order(found.version) > order(scripts.release)
    return Standing.AHEAD if newer else Standing.BEHIND


def order(version: str) -> tuple[list[int], bool, str]:
    """Returns a key that sorts versions: 0.9, 0.10rc1, 0.10, 0.10.1."""
    numbers = re.match(r"[\d.]*", version)
    release = numbers.group().strip(".") if numbers else ""
    suffix = version[len(release) :]
    return [int(number) for number in release.split(".") if number], not suffix, suffix


def state_of(conn: psycopg.Connection[Any]) -> State | None:
    """Returns what is installed; None when the database was never migrated.

    :raises psycopg.errors.InsufficientPrivilege: the role was granted nothing.
    """
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        (installed,) = cursor.execute(INSTALLED).fetchone() or (False,)
        row = cursor.execute(STATE).fetchone() if installed else None
    return State(*row) if row else None


async def state_of_async(conn: psycopg.AsyncConnection[Any]) -> State | None:
    """``state_of`` for asynchronous connections."""
    async with psycopg.AsyncCursor(conn, row_factory=tuple_row) as cursor:
        (installed,) = await (await cursor.execute(INSTALLED)).fetchone() or (False,)
        row = await (await cursor.execute(STATE)).fetchone() if installed else None
    return State(*row) if row else None
