"""The audit log as a read-only Django model."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from typing import Any, NoReturn

from django.db import NotSupportedError, models
from django.db.models.expressions import RawSQL

from pgaudit.django.options import options

READ_ONLY = "the audit log is append-only: record events with pgaudit.django.audit"
# The first target is in audit_log, further ones in event_target. With OR instead of UNION the whole log would be read.
INDEXES_OF_TARGET = """
    SELECT index FROM pgaudit.audit_log WHERE target_type = %s AND target_id = %s
    UNION ALL SELECT index FROM pgaudit.event_target WHERE type = %s AND id = %s
"""


class AuditQuerySet(models.QuerySet):  # type: ignore[misc]  # Django ships no types
    """Entries of the audit log. Methods that would change them raise NotSupportedError."""

    def of_target(self, kind: str, identity: object) -> Any:
        """Returns the entries that have this target, whether it is their first one or not.

        For example ``AuditEntry.objects.of_target("claim", 7).filter(action="claim.approved")``.

        :param identity: the id, or an instance of the model.
        """
        return self.filter(index__in=RawSQL(INDEXES_OF_TARGET, [kind, id_of(identity)] * 2))  # noqa: S611 - a constant

    def of_actor(self, kind: str, identity: object) -> Any:
        """Returns the entries of this actor.

        :param identity: the id, or an instance of the model.
        """
        return self.filter(actor_type=kind, actor_id=id_of(identity))

    def bulk_create(self, *_arguments: Any, **_options: Any) -> NoReturn:
        raise NotSupportedError(READ_ONLY)

    def update(self, **_values: Any) -> NoReturn:
        raise NotSupportedError(READ_ONLY)

    def delete(self) -> NoReturn:
        raise NotSupportedError(READ_ONLY)


def id_of(identity: object) -> str:
    """Returns the id as an event has it; that of an instance is its primary key."""
    return str(getattr(identity, "pk", identity))


class AuditManager(models.Manager.from_queryset(AuditQuerySet)):  # type: ignore[misc]  # Django ships no types
    """Reads from the database ``PGAUDIT["READ_ALIAS"]``, unless ``using`` names another one."""

    def get_queryset(self) -> Any:
        chosen = options()
        return super().get_queryset().using(self._db or chosen.read_alias or chosen.alias)


class AuditEntry(models.Model):  # type: ignore[misc]  # Django ships no types
    """An event in ``pgaudit.audit_log``. ``event`` is the whole document, ``index`` its position in commit order."""

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
        """Unmanaged: ``pgaudit migrate`` creates and changes the table, not Django's migrations."""

        managed = False
        db_table = '"pgaudit"."audit_log"'
        default_permissions = ()
        permissions = (
            ("view_event", "Can view audit events"),
            ("export_event", "Can export audit events"),
            ("retry_job", "Can retry jobs of the audit trail"),
            ("manage_trail", "Can change how the audit trail is run"),
        )
        ordering = ("-index",)
        verbose_name = "audit event"
        verbose_name_plural = "audit events"

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
