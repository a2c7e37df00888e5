"""Ends the guard."""

from django.db import migrations

from pgaudit.django.operations import RemoveGuard


class Migration(migrations.Migration):  # type: ignore[misc]  # Django ships no types
    """Backwards, the guard is added again as it was."""

    dependencies = (("claims", "0002_capture"),)
    operations = (RemoveGuard("Claim", target="claim", on_missing="warn", actions={"delete": "claim.deleted"}),)
