"""Queries of the project on its audit log."""

from typing import Any

from pgaudit.django.models import AuditEntry


def history_of(check_id: int) -> Any:
    """Returns the entries whose targets include the check, newest first."""
    return AuditEntry.objects.of_target("check", check_id)


def moved_by(user_id: int, place: int) -> Any:
    """Returns the first fifty moves of a user to a place; ``data`` and ``changes`` are in the column ``event``."""
    entries = AuditEntry.objects.of_actor("user", user_id)
    return entries.filter(action="check.moved", event__data__to=place)[:50]
