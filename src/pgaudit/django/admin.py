"""Registers the audit events with Django's admin, which imports this module when it starts."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from django.contrib import admin

from pgaudit.django import extra
from pgaudit.django.models import AuditEntry
from pgaudit.django.options import options

if options().admin and extra.is_installed():
    from pgaudit.django.event_admin import AuditEventAdmin

    admin.site.register(AuditEntry, AuditEventAdmin)
