"""Deletes paused checks."""

from typing import Any

from django.core.management.base import BaseCommand

from pgaudit import bind
from tests.django.project.monitors.models import Check


class Command(BaseCommand):  # type: ignore[misc]  # Django ships no types
    """Binds its actor, because a command has no request."""

    def handle(self, **_options: Any) -> None:
        with bind(actor="service:prune"):
            Check.objects.filter(paused=True).delete()
