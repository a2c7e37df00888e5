"""What the tests of the pages share: users with permissions, events in the log, and the statements that ran."""

import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import psycopg
from django.contrib.auth.models import Group, Permission, User
from django.db import connection, transaction
from django.test import override_settings

from pgaudit import AuditEvent
from pgaudit.django import audit
from pgaudit.testing import run_worker_once

Ran = list[tuple[str, Any]]
BACKEND = "django.contrib.auth.backends.ModelBackend"
with_permissions = override_settings(AUTHENTICATION_BACKENDS=[BACKEND])
limited = override_settings(PGAUDIT={"ACCESS": "tests.django.project.monitors.limits.access"})


def user(name: str, *permissions: str, groups: Iterable[str] = (), is_staff: bool = True) -> User:
    """Returns a new user with these permissions, in these groups."""
    made: User = User.objects.create_user(name, f"{name}@example.org", "secret", is_staff=is_staff)
    made.user_permissions.set([one for codename in permissions for one in permission(codename)])
    made.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
    return made


def permission(codename: str) -> Any:
    """Returns the permission with that code name."""
    found = Permission.objects.filter(codename=codename)
    assert found.count() == 1, codename
    return found


def append(*events: AuditEvent) -> None:
    """Records events, and appends them to the log."""
    with transaction.atomic():
        audit.record(connection, *events)
    run_worker_once(connection)


def analyze() -> None:
    """Renews the statistics of the log, as autovacuum does."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE pgaudit.audit_log, pgaudit.event_target")


@contextmanager
def statements() -> Generator[Ran]:
    """Yields the statements that the block sends to Postgres, those of Django included."""
    ran: Ran = []
    execute = psycopg.Cursor.execute

    def noted(cursor: Any, query: Any, parameters: Any = None, **options: Any) -> Any:
        ran.append((query, parameters))
        return execute(cursor, query, parameters, **options)

    with patch.object(psycopg.Cursor, "execute", noted):
        yield ran


def rows_read(ran: Ran) -> int:
    """Returns how many rows of the log the statements read when they run again."""
    return sum(rows_of(explained(query, parameters)) for query, parameters in ran if "audit_log" in str(query))


def explained(query: Any, parameters: Any) -> Any:
    """Returns the plan of a statement, with the rows of each node."""
    with psycopg.Cursor(connection.connection) as cursor:
        row = cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", parameters, prepare=False).fetchone()
    (document,) = row or ("",)
    return (json.loads(document) if isinstance(document, str) else document)[0]["Plan"]


def rows_of(node: Any) -> int:
    """Returns the rows of the log that a node of a plan, and those below it, read."""
    own = 0
    if str(node.get("Relation Name", "")).startswith("audit_log"):
        own = int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
    return own + sum(map(rows_of, node.get("Plans", ())))
