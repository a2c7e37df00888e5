"""Captures and guards the table."""

from django.db import migrations

from pgaudit.django.operations import AddCapture, AddGuard

WHEN = """new.status IS DISTINCT FROM old.status OR new."Holder" LIKE 'test:%'"""


class Migration(migrations.Migration):  # type: ignore[misc]  # Django ships no types
    """From here on each change of a claim is an event."""

    dependencies = (("claims", "0001_initial"),)
    operations = (
        AddCapture("Claim", target="claim", mask="holder", when=WHEN),
        AddGuard("Claim", target="claim", on_missing="warn", actions={"delete": "claim.deleted"}),
    )
