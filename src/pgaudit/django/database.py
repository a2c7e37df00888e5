"""Translates a database of Django's ``DATABASES`` into a libpq string."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo


def dsn_of(alias: str) -> str:
    """Returns the libpq string of a database; while tests run, that of the test database.

    :raises ImproperlyConfigured: the database is not PostgreSQL.
    """
    conn: Any = connections[alias]
    if conn.vendor != "postgresql":
        raise ImproperlyConfigured(f"DATABASES[{alias!r}] is not PostgreSQL; set PGAUDIT['ALIAS'] to one that is")
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    given: dict[str, Any] = {name: value for name, value in conn.get_connection_params().items() if name in known}
    if role := conn.settings_dict["OPTIONS"].get("assume_role"):
        escaped = role.replace("\\", r"\\").replace(" ", r"\ ")
        given["options"] = f"{given.get('options', '')} -c role={escaped}"
    return make_conninfo(**given)
