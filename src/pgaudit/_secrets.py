"""Masks secret settings, so that errors, dumps and pickles do not show them."""

from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgaudit.embedded import PREFIX

TOKENS: Final = ("admin_token", "metrics_token")
SECRET: Final = frozenset({"dsn", *TOKENS})  # no error shows their values
MASK: Final = "***"
SECRET_OPTIONS: Final = ("password", "sslpassword", "oauth_client_secret")  # of libpq


def masked(field: str, value: str) -> str:
    """Returns the value of a setting with its secrets replaced by ``***``."""
    if field == "dsn":
        return without_secrets(value)
    return MASK if field in SECRET and value else value


def without_secrets(dsn: str) -> str:
    """Returns the DSN as a libpq string in which secrets are masked; a DSN without secrets is returned unchanged."""
    if not has_secrets(dsn):
        return dsn
    given = conninfo_to_dict(dsn)
    return make_conninfo("", **given | {name: MASK for name in SECRET_OPTIONS if given.get(name)})


def has_secrets(dsn: str) -> bool:
    """Returns whether a DSN holds a password or another secret of libpq."""
    return not dsn.startswith(PREFIX) and any(conninfo_to_dict(dsn).get(name) for name in SECRET_OPTIONS)
