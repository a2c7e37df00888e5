"""Masks secret settings, so that errors, dumps and pickles do not show them; ``settings.Settings`` uses it."""

from typing import Any, Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import BaseModel

from pgaudit._environment import environment, variable_of
from pgaudit.embedded import PREFIX
from pgaudit.errors import InvalidSettings

TOKENS: Final = ("admin_token", "metrics_token")
HIDDEN: Final = (*TOKENS, "signing_key", "anchors")
SECRET: Final = frozenset({"dsn", *HIDDEN})  # no error shows their values
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


def secrets_of(settings: Any) -> dict[str, str]:
    """Returns the values of the fields that hold a secret: tokens and keys that are set, and a DSN with a password."""
    tokens = {field: token.get_secret_value() for field in HIDDEN if (token := getattr(settings, field))}
    return {"dsn": settings.dsn} | tokens if has_secrets(settings.dsn) else tokens


def all_masked(secrets: dict[str, str]) -> dict[str, str]:
    """Returns the same fields with their secrets masked."""
    return {field: masked(field, secret) for field, secret in secrets.items()}


def pickled(settings: BaseModel) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the fields without a secret, and those with one, masked.

    :raises InvalidSettings: a secret was given in code, so that no other process can read it from its environment.
    """
    fields = type(settings).model_fields
    secrets, given = secrets_of(settings), environment(fields)
    for field, secret in secrets.items():
        if given.get(field) != secret:
            raise InvalidSettings(
                f"these settings cannot be pickled, because their {field} is secret and was given in code: put it "
                f"into {variable_of(field)}, or make the settings in each process"
            )
    return {field: getattr(settings, field) for field in fields if field not in secrets}, all_masked(secrets)


def unpickled(kind: type[Any], values: dict[str, Any], shown: dict[str, str]) -> Any:
    """Unpickles settings, with the secrets of this process's environment.

    :param values: the fields without a secret.
    :param shown: the fields with a secret, masked, as the process that pickled them had them.
    :raises InvalidSettings: masked in the same way, the secrets of this process are different.
    """
    settings = kind(**values)
    here = all_masked(secrets_of(settings))
    for field in sorted(here.keys() | shown.keys()):
        if here.get(field) != shown.get(field):
            raise InvalidSettings(
                f"settings were pickled without their secrets, and {variable_of(field)} of this process is not that of "
                f"the process that pickled them: {here.get(field) or 'not set'} instead of {shown.get(field) or 'none'}"
            )
    return settings
