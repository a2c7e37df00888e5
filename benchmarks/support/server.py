"""The server under test, a fresh database for every run, and a description of the machine and the versions."""

import os
import platform
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgaudit.demo import server as embedded
from pgaudit.embedded import conninfo

# Large enough that no checkpoint falls into a run. Everything else, including fsync, has Postgres's default.
SETTINGS: Final = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}
SHOWN: Final = ("fsync", "synchronous_commit", "wal_sync_method", "max_connections", *SETTINGS)
RUN: Final = "pgaudit_benchmark_run"
PACKAGES: Final = ("pgaudit", "procrastinate", "pgqueuer", "psycopg", "asyncpg")


@dataclass(frozen=True, slots=True)
class Bench:
    """A server. ``dsn`` names any of its databases, as a user who can create databases."""

    dsn: str

    def conninfo(self, database: str) -> str:
        """Returns the connection string of a database."""
        return make_conninfo(self.dsn, dbname=database)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """Opens a connection in autocommit mode."""
        return psycopg.connect(self.conninfo(database), autocommit=True)

    def create(self, name: str, template: str = "template1") -> str:
        """Creates a fresh database and runs a checkpoint, so that each run begins in the same state."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            conn.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
            conn.execute("CHECKPOINT")
        return name

    def drop(self, *names: str) -> None:
        """Drops databases, if they exist."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            for name in names:
                conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def settings(self) -> dict[str, str]:
        """Returns the server's version and the settings that the measurements depend on."""
        with psycopg.connect(self.dsn) as conn:
            shown = conn.execute(
                "SELECT name, current_setting(name) FROM unnest(%s::text[]) name", [list(SHOWN)]
            ).fetchall()
            number = conn.info.server_version
        return {"server_version": f"{number // 10_000}.{number % 10_000}"} | dict(shown)

    @property
    def new_id(self) -> str:
        """The SQL expression for a new event id: ``uuidv7()`` came with PostgreSQL 18."""
        return "uuidv7()" if float(self.settings()["server_version"]) >= 18 else "gen_random_uuid()"  # noqa: PLR2004


@contextmanager
def server() -> Generator[Bench]:
    """Yields the server that PGAUDIT_DSN names, or else an embedded server, which is removed at the end."""
    if dsn := os.environ.pop("PGAUDIT_DSN", None):
        yield Bench(conninfo(dsn))
        return
    with (
        tempfile.TemporaryDirectory(prefix="pgaudit-bench-") as scratch,
        embedded.own_environment(),
        embedded.tidy_end(),
    ):
        directory = Path(scratch) / "data"
        with embedded.server(directory) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
            for name, value in SETTINGS.items():
                conn.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        with embedded.server(directory) as dsn:
            yield Bench(dsn)


def describe_machine() -> dict[str, Any]:
    """Returns the versions of Python and the packages, and the processor, memory and operating system."""
    cores = f"{os.cpu_count()} cores of {processor()}"
    return {
        "python": platform.python_version(),
        "machine": f"{cores}, {memory_gigabytes():.0f} GB, {platform.system()} {platform.release()}",
        "packages": {name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """Returns the processor's name from Linux, or its architecture elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def memory_gigabytes() -> float:
    """Returns the size of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
