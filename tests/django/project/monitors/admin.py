"""The project's models in Django's admin."""

from django.contrib import admin

from pgaudit.django.history import AuditHistoryMixin
from tests.django.project.monitors.models import Check, Project


@admin.register(Check)
class CheckAdmin(AuditHistoryMixin, admin.ModelAdmin):  # type: ignore[misc]  # Django ships no types
    """Checks, with a button to their audit trail: the events of the target ``check:<pk>``."""

    list_display = ("name", "paused")


@admin.register(Project)
class ProjectAdmin(AuditHistoryMixin, admin.ModelAdmin):  # type: ignore[misc]
    """Projects, whose events have targets of another type."""

    audit_target_type = "client"
