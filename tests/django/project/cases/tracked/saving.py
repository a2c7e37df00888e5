"""What save and delete record."""

import copy
import json
import pickle
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from django.core.management import call_command
from django.db import transaction
from django.db.models import F
from django.test import TestCase

from pgaudit import bind
from pgaudit.testing import recording
from tests.django.project.cases.models import Claim, Payment
from tests.django.project.cases.tracked.reading import CREATED, summaries


class Saving(TestCase):  # type: ignore[misc]  # Django ships no types
    """Saves and deletions of one instance."""

    def test_save_and_delete_are_recorded(self) -> None:
        """Created with what it has, updated with what differs, deleted with what it had; with who has done it."""
        with recording() as events, bind(actor="user:42"):
            claim = Claim.objects.create(amount=Decimal("1.5"), email="a@example.org")
            pk = claim.pk
            claim.status, claim.email = "paid", None
            claim.save()
            claim.save()
            claim.status = "renamed"
            claim.delete()
        assert summaries(events) == [
            (f"claim.created claim:{pk}", CREATED | {"id": (pk,), "amount": ("1.50",), "email": ("***",)}),
            (f"claim.updated claim:{pk}", {"status": ("open", "paid"), "email": ("***", "***")}),
            (
                f"claim.deleted claim:{pk}",
                {"id": (pk,), "status": ("paid",), "amount": ("1.50",), "changed": (0,), "scan": ("",)},
            ),
        ]
        assert {str(event.actor) for event in events} == {"user:42"}

    def test_each_type_of_field_is_recorded_as_the_row_has_it(self) -> None:
        """Also values that were given as text, which the instance keeps until it is read again."""
        values: dict[str, Any] = {
            "amount": "2.505",
            "due": "2026-01-02",
            "took": timedelta(minutes=1),
            "noted": datetime(2026, 1, 2, tzinfo=UTC),
            "reference": "00000000000000000000000000000001",
            "doc": {"n": [1, None]},
            "labels": ["a"],
            "scan": "scans/1.png",
            "raw": b"\x01\xff",
        }
        expected = {
            "amount": "2.51",
            "due": "2026-01-02",
            "took": "PT1M",
            "noted": "2026-01-02T00:00:00+00:00",
            "reference": str(UUID(int=1)),
            "doc": {"n": [1, None]},
            "labels": ["a"],
            "scan": "scans/1.png",
            "raw": "\\x01ff",
        }
        with recording() as events:
            claim = Claim.objects.create(**values)
            claim.save()
            pk = claim.pk
            Claim.objects.get(pk=pk).delete()
        created, deleted = summaries(events)
        assert created[1] == CREATED | {"id": (pk,)} | {name: (value,) for name, value in expected.items()}
        assert deleted == (f"claim.deleted claim:{pk}", created[1])

    def test_the_value_before_is_what_the_row_has(self) -> None:
        """Not what the instance was loaded with: what a save puts back is a change, too."""
        claim = Claim.objects.create(amount=1)
        stale = Claim.objects.get(pk=claim.pk)
        claim.amount = 2
        claim.save()
        stale.status = "paid"
        with recording() as events:
            stale.save()
        assert summaries(events)[0][1] == {"status": ("open", "paid"), "amount": ("2.00", "1.00")}

    def test_after_a_savepoint_that_is_rolled_back_the_value_before_is_right(self) -> None:
        """The instance in memory still has what was rolled back."""
        claim = Claim.objects.create()
        with suppress(ZeroDivisionError), transaction.atomic():
            claim.status = "paid"
            claim.save()
            raise ZeroDivisionError
        with recording() as events:
            claim.changed = 1
            claim.save()
        assert summaries(events)[0][1] == {"status": ("open", "paid"), "changed": (0, 1)}

    def test_update_fields_and_deferred_fields_limit_the_change(self) -> None:
        """What was not written is no change."""
        pk = Claim.objects.create(amount=1).pk
        with recording() as events:
            claim = Claim.objects.get(pk=pk)
            claim.status, claim.amount = "paid", 2
            claim.save(update_fields=["status"])
            claim = Claim.objects.only("changed").get(pk=pk)
            claim.changed = 1
            claim.save()
            claim = Claim.objects.defer("amount").get(pk=pk)
            claim.delete()
        assert summaries(events)[:2] == [
            (f"claim.updated claim:{pk}", {"status": ("open", "paid")}),
            (f"claim.updated claim:{pk}", {"changed": (0, 1)}),
        ]
        assert summaries(events)[2][1]["amount"] == ("1.00",)

    def test_an_expression_is_recorded_as_its_value(self) -> None:
        """Read back from the database, as a second save of the same expression is."""
        claim = Claim.objects.create(amount=1)
        claim.amount = F("amount") + 1
        with recording() as events:
            claim.save()
        assert summaries(events)[0][1] == {"amount": ("1.00", "2.00")}

    def test_copies_and_pickles_are_instances_like_others(self) -> None:
        """Nothing is remembered in them."""
        claim = Claim.objects.create()
        with recording() as events:
            for instance in (copy.copy(claim), copy.deepcopy(claim), pickle.loads(pickle.dumps(claim))):
                instance.changed = claim.changed = claim.changed + 1
                instance.save()
            claim.refresh_from_db()
            claim.save()
            claim.pk, claim._state.adding = None, True  # noqa: SLF001 - as Django documents it
            claim.save()
        assert [change for _, change in summaries(events)[:3]] == [{"changed": (n, n + 1)} for n in range(3)]
        assert summaries(events)[3] == (
            f"claim.created claim:{claim.pk}",
            CREATED | {"id": (claim.pk,), "changed": (3,)},
        )

    def test_a_save_with_a_key_updates_or_inserts(self) -> None:
        """A save with a key updates a row or inserts one."""
        with recording() as events:
            Claim(pk=7).save()
            Claim(pk=7, status="paid").save()
            payment = Payment.objects.create(amount=1, note="not recorded")
            payment.note = "nor is this"
            payment.save()
        assert [event for event, _ in summaries(events)] == [
            "claim.created claim:7",
            "claim.updated claim:7",
            f"payment.created payment:{payment.pk}",
        ]
        assert summaries(events)[2][1] == {"amount": (1,)}

    def test_fixtures_are_recorded(self) -> None:
        """``loaddata`` sends signals, for each table of a child model apart."""
        rows = [
            {"model": "cases.claim", "pk": 7, "fields": {"status": "open"}},
            {"model": "cases.urgentclaim", "pk": 7, "fields": {"hours": 3}},
        ]
        with TemporaryDirectory() as directory, recording() as events:
            path = Path(directory, "claims.json")
            path.write_text(json.dumps(rows))
            call_command("loaddata", str(path), verbosity=0)
        assert summaries(events) == [("claim.created claim:7", CREATED | {"id": (7,)})]
