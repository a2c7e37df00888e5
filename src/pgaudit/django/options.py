"""The application's options in the Django setting ``PGAUDIT``."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from pgaudit.settings import Settings


@dataclass(frozen=True, slots=True)
class Options:
    """The keys of ``PGAUDIT`` that are not settings of pgaudit; ``pgaudit.django`` describes them."""

    alias: str = "default"
    read_alias: str = ""
    migrate: bool = True
    logins: bool = False
    permissions: bool = False
    atomic_saves: bool = False
    identify: bool = False
    admin: bool = True
    access: str = ""


def options() -> Options:
    """Returns the current options, which a test may override.

    :raises ImproperlyConfigured: ``PGAUDIT`` has an unknown key, or a DSN, which ``DATABASES`` has already.
    """
    given: dict[str, Any] = getattr(settings, "PGAUDIT", {})
    if "DSN" in given:
        raise ImproperlyConfigured("PGAUDIT['DSN'] is not a setting: the database is DATABASES[PGAUDIT['ALIAS']]")
    own = {field.name.upper() for field in fields(Options)}
    known = own | {name.upper() for name in Settings.model_fields}
    if unknown := given.keys() - known:
        raise ImproperlyConfigured(f"PGAUDIT: unknown {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    return Options(**{name.lower(): value for name, value in given.items() if name in own})
