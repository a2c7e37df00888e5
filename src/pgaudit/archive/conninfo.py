"""Connection strings (conninfo). A password is never an argument, and never stored in the catalog of a server."""

import os
import re
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgaudit.errors import ArchiveRefused

REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)|file:(/.+)")
SECRETS: Final = frozenset({"password", "sslpassword", "oauth_client_secret"})


def conninfo_at(text: str) -> str:
    """Returns a connection string: the value of ``env:VARIABLE`` or ``file:/PATH``, or the text itself.

    :raises ArchiveRefused: the value is missing, or the text itself has a password, which other users would see.
    """
    found = REFERENCE.fullmatch(text)
    if found is None:
        return without_password(text, "write --to env:VARIABLE or file:/PATH, or put the password into ~/.pgpass")
    variable, path = found.groups()
    try:
        conninfo = os.environ.get(variable, "") if variable else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArchiveRefused(f"{text} cannot be read: {type(error).__name__}") from None
    if not conninfo.strip():
        raise ArchiveRefused(f"{text} is not set")
    parsed(conninfo.strip())
    return conninfo.strip()


def without_password(conninfo: str, remedy: str) -> str:
    """Returns the text if there is no password in it.

    :raises ArchiveRefused: there is one; or it is not where a database can be.
    """
    if SECRETS & parsed(conninfo).keys():
        raise ArchiveRefused(f"a password would be seen by others: {remedy}")
    return conninfo


def source_of(conninfo: str) -> str:
    """Returns how the archive's server connects to the primary by default: as we do, without a password."""
    parts = {name: value for name, value in parsed(conninfo).items() if name not in SECRETS}
    return make_conninfo("", **parts)


def parsed(conninfo: str) -> dict[str, str | int | None]:
    """Returns the parts of a libpq string or URL.

    :raises ArchiveRefused: it is none. The message does not quote it.
    """
    try:
        return dict(conninfo_to_dict(conninfo))
    except psycopg.ProgrammingError:
        raise ArchiveRefused("that is no libpq string or URL: write host=… dbname=…, or postgresql://…") from None
