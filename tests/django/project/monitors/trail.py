"""Signal receivers that record changes of checks: the project's own part of its audit trail."""

from typing import Any

from django.db import connections
from django.db.models.signals import post_delete, post_save

from pgaudit import AuditEvent
from pgaudit.django import audit
from tests.django.project.monitors.models import Check


def connect() -> None:
    """Connects the receivers."""
    post_save.connect(saved, sender=Check)
    post_delete.connect(deleted, sender=Check)


def saved(instance: Check, using: str, *, created: bool, **_signal: Any) -> None:
    """Records that a check was created or updated."""
    action = "check.created" if created else "check.updated"
    audit.record(connections[using], AuditEvent(action=action, target=f"check:{instance.pk}"))


def deleted(instance: Check, using: str, **_signal: Any) -> None:
    """Records that a check was deleted."""
    audit.record(connections[using], AuditEvent(action="check.deleted", target=f"check:{instance.pk}"))
