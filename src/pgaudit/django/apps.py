"""The application's configuration: what Django loads at startup."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Collection
from typing import Any, Final

from django.apps import AppConfig, apps
from django.core import checks
from django.core.signals import setting_changed
from django.db import connections
from django.db.models.signals import pre_migrate

from pgaudit.django import atomic_saves, extra, identified_writes
from pgaudit.django.audit_log import audit, project_settings
from pgaudit.django.database import dsn_of
from pgaudit.django.options import options
from pgaudit.settings import Mode

# Any role may see triggers, whereas only owner and readers may see what is captured.
CAPTURED: Final = """
    SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = 'pgaudit' AND p.proname ~ '^capture_[0-9]+$' LIMIT 1
"""


class PgauditConfig(AppConfig):  # type: ignore[misc]  # Django ships no types
    """Connects the signal receivers that the options select, and registers the system check."""

    name = "pgaudit.django"
    label = "pgaudit"
    verbose_name = "Audit log"

    def ready(self) -> None:
        chosen = options()
        pre_migrate.connect(create_schema, sender=self)
        setting_changed.connect(renew_settings)
        checks.register(check_database, checks.Tags.database)
        checks.register(check_identified, checks.Tags.database)
        checks.register(check_admin)
        if chosen.logins:
            from pgaudit.django import logins  # noqa: PLC0415 - needs django.contrib.auth

            logins.connect()
        if chosen.permissions:
            from pgaudit.django import permissions  # noqa: PLC0415 - needs django.contrib.auth

            permissions.connect()
        if chosen.atomic_saves:
            atomic_saves.install()
        if chosen.identify:
            identified_writes.install()


def create_schema(using: str, **_signal: Any) -> None:
    """Brings the schema up to date before the project's migrations, because one of them may record events.

    Parallel tests have the schema as well: Django copies their databases after ``migrate``.
    """
    chosen = options()
    if using != chosen.alias or not chosen.migrate or connections[using].vendor != "postgresql":
        return
    from pgaudit import migrate  # noqa: PLC0415 - loads SQLAlchemy and Alembic

    migrate.upgrade(dsn_of(using))


def renew_settings(setting: str, **_signal: Any) -> None:
    """Applies ``override_settings(PGAUDIT=...)`` of a test."""
    if setting == "PGAUDIT":
        audit.settings = project_settings()


def check_database(**_options: Any) -> list[Any]:
    """Returns an error if the database for events is not PostgreSQL, unless ``PGAUDIT_MODE`` is off."""
    alias = options().alias
    if alias in connections and (connections[alias].vendor == "postgresql" or audit.settings.mode == Mode.OFF):
        return []
    hint = "Set PGAUDIT['ALIAS'] to one that is, or PGAUDIT['MODE'] to 'off', which checks events and drops them."
    return [checks.Error(f"DATABASES[{alias!r}] is not a PostgreSQL database.", hint=hint, id="pgaudit.E001")]


def check_identified(databases: Collection[str] | None = None, **_options: Any) -> list[Any]:
    """Returns a warning if triggers capture tables, and are not told who makes a change."""
    chosen = options()
    if chosen.identify or chosen.alias not in (databases or ()) or connections[chosen.alias].vendor != "postgresql":
        return []
    with connections[chosen.alias].cursor() as cursor:
        cursor.execute(CAPTURED)
        if not cursor.fetchall():
            return []
    hint = "Set PGAUDIT['IDENTIFY'] to True, unless each transaction calls pgaudit.identify(connection)."
    return [checks.Warning("Captured changes name the database role alone.", hint=hint, id="pgaudit.W002")]


def check_admin(**_options: Any) -> list[Any]:
    """Returns a warning if Django's admin cannot list the audit events, because packages are missing."""
    if not options().admin or not apps.is_installed("django.contrib.admin") or extra.is_installed():
        return []
    hint = "Run: pip install \"pgaudit[web]\". Or set PGAUDIT['ADMIN'] to False."
    return [checks.Warning("Django's admin cannot list the audit events.", hint=hint, id="pgaudit.W001")]
