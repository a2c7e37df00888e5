"""What is refused: statements that send no signals, and what cannot be tracked."""

from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import TestCase, override_settings

from pgaudit import InvalidEvent, UntrackedChange
from pgaudit.django import audit, track
from pgaudit.testing import recording
from tests.django.project.cases.models import Claim, Holder, Tag, UrgentClaim
from tests.django.project.cases.tracked.reading import capture, summaries


class Refusing(TestCase):  # type: ignore[misc]  # Django ships no types
    """UntrackedChange and InvalidEvent."""

    def test_statements_without_instances_are_refused(self) -> None:
        """Each kind, with a sentence that says what to do; where the table is captured, it goes on."""
        claim, tag = Claim.objects.create(holder=Holder.objects.create(name="a")), Tag.objects.create(name="t")
        through = Claim.tags.through
        refused: dict[str, tuple[Any, ...]] = {
            "cases_claim": (
                lambda: Claim.objects.update(status="x"),
                lambda: Claim.objects.filter(tags=tag).update(status="x"),
                lambda: UrgentClaim.objects.update(status="x"),
                lambda: Claim.objects.bulk_create([Claim()]),
                lambda: Claim.objects.bulk_create(
                    [Claim(pk=claim.pk)], update_conflicts=True, update_fields=["status"], unique_fields=["id"]
                ),
                lambda: Claim.objects.bulk_update([claim], ["status"]),
                lambda: Claim.objects.all()._raw_delete("default"),  # noqa: SLF001 - what applications call
                lambda: Holder.objects.all().delete(),
            ),
            "cases_claim_tags": (
                lambda: through.objects.bulk_create([through(claim=claim, tag=tag)]),
                lambda: through.objects.all().delete(),
                lambda: through(claim=claim, tag=tag).save(),
            ),
        }
        for table, attempts in refused.items():
            message = rf"without an event for each instance: Claim is tracked .*pgaudit capture add {table} …"
            for attempt in attempts:
                with transaction.atomic(), pytest.raises(UntrackedChange, match=message):
                    attempt()
        assert list(Claim.objects.values_list("status", "holder__name", "tags")) == [("open", "a", None)]
        UrgentClaim.objects.create(hours=1)
        UrgentClaim.objects.update(hours=2)
        capture("cases_claim", "claim")
        capture("cases_claim_tags", "claim_tag")
        for attempts in refused.values():
            for attempt in attempts:
                with suppress(IntegrityError), transaction.atomic():
                    attempt()

    def test_a_failed_save_does_not_hide_a_statement(self) -> None:
        """After an error, statements are looked at again."""
        Claim.objects.create(pk=7)
        with pytest.raises(IntegrityError), transaction.atomic():
            Claim.objects.create(pk=7)
        claim, tag = Claim.objects.get(pk=7), Tag.objects.create(name="t")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            claim.tags.add(tag)
            raise ZeroDivisionError
        attempts: tuple[Any, ...] = (
            lambda: Claim.objects.update(status="x"),
            lambda: Claim.tags.through.objects.bulk_create([Claim.tags.through(claim=claim, tag=tag)]),
        )
        for attempt in attempts:
            with pytest.raises(UntrackedChange), transaction.atomic():
                attempt()

    def test_models_of_migrations_are_tracked(self) -> None:
        """What a migration saves is recorded, its other statements are refused."""
        loader: Any = import_module("django.db.migrations.loader")
        old = loader.MigrationLoader(connection).project_state().apps.get_model("cases", "Claim")
        with recording() as events:
            claim = old.objects.create()
            claim.status = "paid"
            claim.save()
        assert summaries(events)[1] == (f"claim.updated claim:{claim.pk}", {"status": ("open", "paid")})
        for attempt in (claim.delete, old.objects.all().delete, lambda: old.objects.update(status="x")):
            with pytest.raises(UntrackedChange), transaction.atomic():
                attempt()

    def test_mode_off_refuses_nothing(self) -> None:
        """There, nothing would have been recorded; the settings of a test count."""
        with override_settings(PGAUDIT={"MODE": "off"}):
            Claim.objects.bulk_create([Claim()])
            Claim.objects.update(status="x")

    def test_what_cannot_be_tracked_is_refused(self) -> None:
        """No model, no such field, a name that no action can begin with."""
        with pytest.raises(InvalidEvent, match="is not a model"):
            track(audit, str, target="text")
        with pytest.raises(InvalidEvent, match="Claim has no field statsu; it has amount"):
            track(audit, Claim, target="claim", fields=["statsu"])
        with pytest.raises(InvalidEvent, match="is not of the form"):
            track(audit, Claim, target="Claim")
