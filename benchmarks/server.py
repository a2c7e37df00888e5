"""The server that is measured, and a fresh database for every run on it."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgaudit.demo import server as embedded
from pgaudit.embedded import conninfo

# Room enough that no checkpoint falls into a run; everything else, fsync too, is as Postgres comes.
SETTINGS: Final = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}
SHOWN: Final = ("fsync", "synchronous_commit", "wal_sync_method", "max_connections", *SETTINGS)
RUN: Final = "pgaudit_benchmark_run"


@dataclass(frozen=True, slots=True)
class Bench:
    """A server; ``dsn`` is any database of it whose user may create others."""

    dsn: str

    def conninfo(self, database: str) -> str:
        """Where a database is, as libpq reads it."""
        return make_conninfo(self.dsn, dbname=database)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection in autocommit."""
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
        """Drops databases."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            for name in names:
                conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def settings(self) -> dict[str, str]:
        """What the figures depend on."""
        with psycopg.connect(self.dsn) as conn:
            shown = conn.execute(
                "SELECT name, current_setting(name) FROM unnest(%s::text[]) name", [list(SHOWN)]
            ).fetchall()
            version = conn.info.server_version
        return {"server_version": f"{version // 10_000}.{version % 10_000}"} | dict(shown)


@contextmanager
def server() -> Generator[Bench]:
    """The server that PGAUDIT_DSN names; without one an embedded server, removed at the end."""
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
