"""Creates the tables and a first project, and records an event about it."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

from pgaudit import AuditEvent
from pgaudit.django import audit


def add_project(_apps: Any, editor: Any) -> None:
    """Records an event in the transaction of the migration."""
    audit.record(editor.connection, AuditEvent(action="project.imported", actor="service:migration"))


class Migration(migrations.Migration):  # type: ignore[misc]  # Django ships no types
    """Creates both tables and the first project."""

    operations = (
        migrations.CreateModel(
            name="Project",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.TextField()),
                ("api_key", models.TextField(unique=True)),
            ],
        ),
        migrations.CreateModel(
            name="Check",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.TextField()),
                ("paused", models.BooleanField(default=False)),
                ("project", models.ForeignKey("Project", django.db.models.deletion.CASCADE)),
            ],
        ),
        migrations.RunPython(add_project),
    )
