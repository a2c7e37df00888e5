"""The audit log for querysets. It can be read, and nothing else."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from typing import Any, NoReturn

from django.db import NotSupportedError, models
from django.db.models.expressions import RawSQL

from pgaudit.django.options import options

READ_ONLY = "the audit log is append-only: record events with pgaudit.django.audit"
# The first target is in the log, the others in event_target. Without OR, which would read the whole log.
INDEXES_OF_TARGET = """
    SELECT index FROM pgaudit.audit_log WHERE target_type = %s AND target_id = %s
    UNION ALL SELECT index FROM pgaudit.event_target WHERE type = %s AND id = %s
"""


class AuditQuerySet(models.QuerySet):  # type: ignore[misc]  # Django ships no types
    """Entries of the log; what would change them is refused."""

    def of_target(self, kind: str, identity: object) -> Any:
        """Returns the entries that have this target, first or further.

        Such as ``AuditEntry.objects.of_target("claim", 7).filter(action="claim.approved")``.
        """
        return self.filter(index__in=RawSQL(INDEXES_OF_TARGET, [kind, str(identity)] * 2))  # noqa: S611 - a constant

    def of_actor(self, kind: str, identity: object) -> Any:
        """Returns the entries of this actor."""
        return self.filter(actor_type=kind, actor_id=str(identity))

    def bulk_create(self, *_arguments: Any, **_options: Any) -> NoReturn:
        raise NotSupportedError(READ_ONLY)

    def update(self, **_values: Any) -> NoReturn:
        raise NotSupportedError(READ_ONLY)

    def delete(self) -> NoReturn:
        raise NotSupportedError(READ_ONLY)


class AuditManager(models.Manager.from_queryset(AuditQuerySet)):  # type: ignore[misc]  # Django ships no types
    """Reads through ``PGAUDIT["READ_ALIAS"]``, unless ``using`` says otherwise."""

    def get_queryset(self) -> Any:
        chosen = options()
        return super().get_queryset().using(self._db or chosen.read_alias or chosen.alias)


class AuditEntry(models.Model):  # type: ignore[misc]  # Django ships no types
    """One event in ``pgaudit.audit_log``; ``event`` is all of it. ``index`` is its place in commit order."""

    index = models.BigIntegerField(primary_key=True)
    event_id = models.UUIDField()
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    persisted_at = models.DateTimeField()
    action = models.TextField()
    outcome = models.TextField()
    actor_type = models.TextField(null=True)  # noqa: DJ001 - as the log has it
    actor_id = models.TextField(null=True)  # noqa: DJ001
    target_type = models.TextField(null=True)  # noqa: DJ001
    target_id = models.TextField(null=True)  # noqa: DJ001
    tenant = models.TextField(null=True)  # noqa: DJ001
    event = models.JSONField()

    objects = AuditManager()

    class Meta:
        """Not Django's to create or to change."""

        managed = False
        db_table = '"pgaudit"."audit_log"'
        default_permissions = ("view",)
        ordering = ("-index",)
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.index} {self.action}"

    def save(self, *_arguments: Any, **_options: Any) -> NoReturn:
        raise NotSupportedError(READ_ONLY)

    def delete(self, *_arguments: Any, **_options: Any) -> NoReturn:
        raise NotSupportedError(READ_ONLY)

    @property
    def actor(self) -> str | None:
        """The actor as "type:id"."""
        return self.actor_type and f"{self.actor_type}:{self.actor_id}"

    @property
    def target(self) -> str | None:
        """The first target as "type:id"."""
        return self.target_type and f"{self.target_type}:{self.target_id}"
