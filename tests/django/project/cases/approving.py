"""An event of the project's own, with what the save will change."""

from django.db import connection, transaction

from pgaudit import AuditEvent
from pgaudit.django import audit, changes_of
from tests.django.project.cases.models import Holder


def rename(holder_id: int, name: str) -> None:
    """Renames a holder, whose model is not tracked."""
    with transaction.atomic():
        holder = Holder.objects.select_for_update().get(pk=holder_id)
        holder.name = name
        changes = changes_of(holder)
        holder.save()
        audit.record(connection, AuditEvent(action="holder.renamed", target=f"holder:{holder_id}", changes=changes))
