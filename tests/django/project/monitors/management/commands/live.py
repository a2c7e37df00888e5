"""Runs the project as in production, where Django commits each statement."""

import json
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand
from django.db import connection, transaction
from django.db.models.signals import post_save
from django.test import Client

from pgaudit import AuditEvent
from pgaudit.django import audit
from pgaudit.django.models import AuditEntry
from pgaudit.testing import run_worker_once
from tests.django.project.monitors.models import Check, Project


class Command(BaseCommand):  # type: ignore[misc]  # Django ships no types
    """Serves requests, and prints the rows and events that they left, as JSON."""

    def handle(self, **_options: Any) -> None:
        Project.objects.create(name="p", api_key="k")
        User.objects.create_user("ada", "ada@example.org", "secret")
        client = Client(raise_request_exception=False)
        client.post("/sign-in", {"email": "ada@example.org", "password": "wrong"})
        client.post("/sign-in", {"email": "ada@example.org", "password": "secret"})
        client.post("/api/checks", {"name": "c"}, headers={"X-Api-Key": "k"})
        post_save.connect(refuse, sender=Check)
        refused = client.post("/api/checks", {"name": "d"}, headers={"X-Api-Key": "k"})
        run_worker_once(connection)
        entries = AuditEntry.objects.order_by("index")
        found = {
            "refused": refused.status_code,
            "checks": Check.objects.count(),
            "events": [f"{entry.action} {entry.actor} {entry.outcome}" for entry in entries],
        }
        self.stdout.write(json.dumps(found))


def refuse(**_signal: Any) -> None:
    """Records an autonomous event and raises, after the row and its event were written; both are rolled back."""
    with transaction.atomic():
        audit.record_autonomous(AuditEvent(action="check.refused", outcome="denied"))
        raise RuntimeError
