"""What the users of the project see of its audit trail, in Django's admin and in the dashboard."""

from typing import Any

from pgaudit.django.access import DjangoAccess
from pgaudit.web.access import Scope


def scope(user: Any) -> Scope:
    """Returns the tenants that are named like a group of the user; everything for a superuser."""
    if user.is_superuser:
        return Scope()
    return Scope(tenants=frozenset(user.groups.values_list("name", flat=True)))


def mask(user: Any, path: str, value: object) -> object:
    """Returns a value; addresses are hidden from all but superusers."""
    return "hidden" if path in {"context.ip", "data.email"} and not user.is_superuser else value


access = DjangoAccess(scope=scope, mask=mask)
