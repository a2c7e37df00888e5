"""What ``pgaudit doctor`` finds on this machine: versions, settings, spool."""

import os
import platform
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psycopg

from pgaudit._environment import environment, unknown_variables, variable_of
from pgaudit._secrets import masked
from pgaudit.cli.findings import Finding, Level
from pgaudit.errors import SpoolRefused
from pgaudit.recording import spool
from pgaudit.settings import Mode, OnFailure, Settings

OPEN_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def local_findings(settings: Settings) -> Iterator[Finding]:
    """Yields what can be seen without a database."""
    yield versions()
    yield settings_in_force(settings)
    yield from ignored_variables()
    yield from spool_findings(settings)


def versions() -> Finding:
    """Returns the versions of this program and of what it runs on."""
    libpq = psycopg.pq.version()
    return Finding(
        "versions",
        Level.OK,
        f"pgaudit {sys.modules['pgaudit'].__version__}, Python {platform.python_version()}, "
        f"psycopg {version('psycopg')} ({psycopg.pq.__impl__}, libpq {libpq // 10_000}.{libpq % 10_000}), "
        f"procrastinate {version('procrastinate')}",
    )


def settings_in_force(settings: Settings) -> Finding:
    """Returns the settings that the environment has, with secrets masked."""
    given = [
        f"{variable_of(field)}={masked(field, value)}" for field, value in environment(Settings.model_fields).items()
    ]
    message = f"{', '.join(given)}; others have their default" if given else "all settings have their default"
    if settings.mode is Mode.OFF:
        return Finding("settings", Level.WARNING, message, "with PGAUDIT_MODE=off no event is recorded; unset it")
    return Finding("settings", Level.OK, message)


def ignored_variables() -> Iterator[Finding]:
    """Yields the environment variables that start with ``PGAUDIT_`` but are not settings."""
    for name, meant in unknown_variables(Settings.model_fields):
        remedy = f"write {meant}" if meant else "unset it"
        yield Finding("settings", Level.WARNING, f"{name} is not a setting, so it is ignored", remedy)


def spool_findings(settings: Settings) -> Iterator[Finding]:
    """Yields the state of the spool, and what waits in it."""
    directory = settings.spool_dir
    if directory is None or not directory.exists():
        where = f"{directory} does not exist" if directory else "PGAUDIT_SPOOL_DIR is not set"
        yield Finding("spool", Level.OK, f"{where}: no event has been spooled")
        return
    try:
        yield events_waiting(directory)
    except (SpoolRefused, OSError) as error:
        yield Finding("spool", Level.FAULT, str(error), "close it to other users, or set PGAUDIT_SPOOL_DIR to another")
        return
    if settings.on_failure is OnFailure.SPOOL and not os.access(directory, os.W_OK | os.X_OK):
        yield Finding("spool", Level.FAULT, f"{directory} cannot be written to", "give this user the right")
    if directory.stat().st_mode & OPEN_TO_OTHERS:
        yield Finding("spool", Level.WARNING, f"{directory} can be read by other users", f"run chmod 700 {directory}")


def events_waiting(directory: Path) -> Finding:
    """Returns how many events wait in the spool, and its size."""
    files, waiting = spool.files(directory), spool.count(directory)
    size = sum(file.stat().st_size for file in files)
    message = f"{directory.absolute()}: {waiting} event(s) in {len(files)} file(s), {size:,} bytes"
    if not waiting:
        return Finding("spool", Level.OK, message)
    return Finding("spool", Level.WARNING, message, "start a worker on this machine, or run `pgaudit replay`")
