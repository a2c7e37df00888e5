"""What changes_of returns."""

from datetime import date

import pytest
from django.db.models import F
from django.test import TestCase

from pgaudit import InvalidEvent, UntrackedChange
from pgaudit.django import changes_of
from pgaudit.testing import recording
from tests.django.project.cases.approving import rename
from tests.django.project.cases.models import Claim, Holder
from tests.django.project.cases.tracked.reading import CREATED, sides, summaries


class Changes(TestCase):  # type: ignore[misc]  # Django ships no types
    """What changes_of returns."""

    def test_the_changes_of_the_next_save_are_returned(self) -> None:
        """Of a new instance its values; of another what differs from the row, whatever it was loaded with."""
        claim = Claim(amount="1.5", due=date(2026, 1, 2), email="a")
        assert sides(changes_of(claim, mask=["email"])) == CREATED | {
            "amount": ("1.50",),
            "due": ("2026-01-02",),
            "email": ("***",),
        }
        claim.save()
        stale = Claim.objects.only("status").get(pk=claim.pk)
        claim.amount = 2
        claim.save()
        stale.status = "paid"
        assert sides(changes_of(stale)) == {"status": ("open", "paid")}
        stale.holder = Holder.objects.create(name="a")
        assert sides(changes_of(stale, fields=["holder"])) == {"holder_id": (None, stale.holder_id)}
        assert sides(changes_of(stale, deleted=True))["amount"] == ("2.00",)

    def test_an_event_of_the_project_has_the_changes(self) -> None:
        """changes_of works in the function that the documentation prints."""
        holder = Holder.objects.create(name="a")
        with recording() as events:
            rename(holder.pk, "b")
        assert summaries(events) == [(f"holder.renamed holder:{holder.pk}", {"name": ("a", "b")})]

    def test_what_cannot_be_known_is_refused(self) -> None:
        """An expression, a wrong name and an object of another class are errors."""
        claim = Claim.objects.create(amount=1)
        claim.amount = F("amount") + 1
        with pytest.raises(UntrackedChange, match="the database will compute amount of Claim"):
            changes_of(claim)
        assert sides(changes_of(claim, fields=["status"])) == {}
        with pytest.raises(InvalidEvent, match="Claim has no field stauts"):
            changes_of(claim, fields=["stauts"])
        with pytest.raises(InvalidEvent, match="str is not an instance"):
            changes_of("claim")
