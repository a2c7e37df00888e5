"""Models with a composite primary key."""

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations.state import ProjectState
from django.test import TestCase

from pgaudit import UntrackedChange
from pgaudit.django import audit, changes_of, track
from pgaudit.django.operations import AddCapture, AddGuard
from pgaudit.guard import captures, guards
from pgaudit.testing import recording
from tests.django.project.cases.models import Instalment, Payment
from tests.django.project.cases.tracked.reading import sides, summaries


class Keys(TestCase):  # type: ignore[misc]  # Django ships no types
    """Instalments, whose key is a payment and a number."""

    def test_a_key_of_several_fields_is_joined(self) -> None:
        """With commas, as capture joins its columns."""
        track(audit, Instalment, target="instalment")
        payment = Payment.objects.create(amount=3)
        target, key = f"instalment:{payment.pk},1", {"payment_id": (str(payment.pk),), "number": (1,)}
        with recording() as events:
            instalment = Instalment.objects.create(payment=payment, number=1, amount=2)
            instalment.amount = 3
            assert sides(changes_of(instalment)) == {"amount": (2, 3)}
            instalment.save()
            Instalment.objects.filter(pk=(payment.pk, 1)).delete()
        assert summaries(events) == [
            (f"instalment.created {target}", key | {"amount": (2,)}),
            (f"instalment.updated {target}", {"amount": (2, 3)}),
            (f"instalment.deleted {target}", key | {"amount": (3,)}),
        ]
        with pytest.raises(UntrackedChange):
            Instalment.objects.bulk_create([Instalment(payment=payment, number=2, amount=1)])

    def test_a_key_of_several_fields_is_captured_and_guarded(self) -> None:
        """The operations of migrations take the columns of its fields."""
        state = ProjectState.from_apps(apps)
        for operation in (AddCapture("Instalment", "instalment"), AddGuard("Instalment", "instalment", key="pk")):
            with connection.schema_editor() as editor:
                operation.database_forwards("cases", editor, None, state)
        (capture,), (guard,) = captures.list_captures(connection), guards.list_guards(connection)
        assert capture.key == guard.key == ["payment_id", "Number"]
