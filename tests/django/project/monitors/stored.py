"""Tests that read events from the database. test_project.py runs them by name, in the modes that store events."""

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import NotSupportedError, connection, transaction
from django.test import TestCase, override_settings

from pgaudit import AuditEvent, NotInTransaction
from pgaudit.django import audit
from pgaudit.django.models import AuditEntry
from pgaudit.testing import assert_recorded, recording, run_worker_once
from tests.django.project.monitors.history import history_of, moved_by
from tests.django.project.monitors.models import Check, Project


class Stored(TestCase):  # type: ignore[misc]  # Django ships no types
    """Each test is one transaction, which Django rolls back."""

    def test_autonomous_events_are_in_the_transaction_of_the_test(self) -> None:
        """An autonomous event can be asserted at once, also in a test that has recorded other events before."""
        project = Project.objects.create(name="p", api_key="k")
        Check.objects.create(project=project, name="c")
        self.client.post("/sign-in", {"email": "ada", "password": "x"})
        assert_recorded(connection, action="user.login_failed", target="user:unknown", outcome="denied")

    def test_nothing_of_another_test_is_left(self) -> None:
        """Events of another test are rolled back with it; the event of a migration stays."""
        assert_recorded(connection, times=0, action="user.login_failed")
        assert_recorded(connection, action="project.imported", actor="service:migration")

    def test_only_the_test_case_is_a_transaction(self) -> None:
        """Recording outside ``atomic`` raises in each mode, and in ``recording()``, as it would in production."""
        event = AuditEvent(action="check.viewed")
        for mode in ("queue", "off"):
            with override_settings(PGAUDIT={"MODE": mode}), self.assertRaisesMessage(NotInTransaction, "test case"):
                audit.record(connection, event)
        with recording() as events, self.assertRaisesMessage(NotInTransaction, "test case"):
            audit.record(connection, event)
        assert events == []
        with transaction.atomic():
            audit.record(connection, event)

    def test_entries_are_querysets(self) -> None:
        """Entries are found by first target, further target and actor, and by any other filter of Django."""
        event = AuditEvent(action="check.moved", actor="user:1", targets=("check:7", "project:3"), data={"to": 4})
        with transaction.atomic():
            audit.record(connection, event)
        run_worker_once(connection)
        (entry,) = AuditEntry.objects.of_target("project", 3)
        assert list(history_of(7)) == list(moved_by(1, 4)) == [entry]
        assert list(AuditEntry.objects.of_target("check", Check(pk=7))) == [entry]
        assert list(moved_by(1, 5)) == []
        assert (entry.event_id, entry.actor, entry.target) == (event.id, "user:1", "check:7")
        assert str(entry) == f"{entry.index} check.moved"

    def test_entries_are_read_only(self) -> None:
        """Each method of a model or queryset that would write raises NotSupportedError."""
        entry = AuditEntry(index=1)
        entries = AuditEntry.objects.all()
        for attempt in (
            entry.save,
            entry.delete,
            entries.delete,
            lambda: entries.update(action="a.b"),
            lambda: entries.bulk_create([entry]),
            lambda: entries.create(index=1),
        ):
            with self.assertRaisesMessage(NotSupportedError, "append-only"):
                attempt()

    def test_migrating_again_changes_nothing(self) -> None:
        """``migrate`` can run again inside a test."""
        call_command("migrate", verbosity=0)
        assert User.objects.count() == 0
