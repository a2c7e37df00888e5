"""Events and rows that are committed."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise

import pytest
from django.db import connection, transaction
from django.test import TransactionTestCase, override_settings

from pgaudit import NotInTransaction
from pgaudit.testing.trail import events_of
from tests.django.project.cases.models import Claim, Tag, UrgentClaim
from tests.django.project.cases.tracked.reading import capture, stored


class Committed(TransactionTestCase):  # type: ignore[misc]  # Django ships no types
    """What is in the database."""

    def setUp(self) -> None:
        self.earlier = len(stored())
        self.everything = len(events_of(connection))

    def stored(self) -> list[str]:
        """Returns action and target of the events that the test has recorded."""
        return stored()[self.earlier :]

    def test_a_row_and_its_event_are_committed_together(self) -> None:
        """With ATOMIC_SAVES, without a transaction of the project's own."""
        Claim.objects.create(pk=7)
        assert self.stored() == ["claim.created claim:7"]

    def test_outside_of_a_transaction_nothing_is_saved(self) -> None:
        """Without ATOMIC_SAVES, a save is refused before its row is written; a deletion has a transaction anyway."""
        claim = Claim.objects.create(pk=7)
        with override_settings(PGAUDIT={"ALIAS": "other"}), pytest.raises(NotInTransaction):
            Claim(pk=8).save()
        assert Claim.objects.count() == 1
        claim.delete()
        assert self.stored() == ["claim.created claim:7", "claim.deleted claim:7"]

    def test_the_value_before_is_that_of_the_transaction_before(self) -> None:
        """Two that save at the same time wait for one another: the changes are a chain without a gap."""
        Claim.objects.create(pk=7)

        def count_up() -> None:
            try:
                for _ in range(20):
                    with transaction.atomic():
                        claim = Claim.objects.get(pk=7)
                        claim.changed = claim.changed * 2 + 1 if claim.changed < 1000 else 0
                        claim.save()
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as threads:
            for future in [threads.submit(count_up) for _ in range(4)]:
                future.result()
        chain = [change for event in events_of(connection)[self.everything :] for change in event.changes][1:]
        values = [
            (change.before, change.after) for change in chain if change.path == "changed" and change.before is not None
        ]
        assert len(values) > 20
        assert all(earlier[1] == later[0] for earlier, later in pairwise(values))

    def test_with_capture_a_change_is_recorded_once(self) -> None:
        """The trigger records it, and changes of relations, too."""
        capture("cases_claim", "claim")
        capture("cases_claim_tags", "claim_tag", "{claim_id,tag_id}")
        try:
            claim, tag = Claim.objects.create(pk=7), Tag.objects.create(pk=1)
            claim.tags.add(tag)
            UrgentClaim(claim_ptr=claim, hours=1).save_base(raw=True)
            claim.delete()
            Claim.objects.bulk_create([Claim(pk=8)])
            assert self.stored() == [
                "claim.created claim:7",
                "claim_tag.created claim_tag:7,1",
                "claim_tag.deleted claim_tag:7,1",
                "claim.deleted claim:7",
                "claim.created claim:8",
            ]
        finally:
            for table in ("cases_claim", "cases_claim_tags"):
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pgaudit.remove_capture(%s::text::regclass)", [table])

    def test_a_rollback_leaves_no_event(self) -> None:
        """Neither a rollback of the transaction nor one to a savepoint leaves an event."""
        with transaction.atomic():
            claim = Claim.objects.create(pk=7)
            with suppress(ZeroDivisionError), transaction.atomic():
                claim.status = "paid"
                claim.save()
                raise ZeroDivisionError
        with suppress(ZeroDivisionError), transaction.atomic():
            claim.delete()
            raise ZeroDivisionError
        assert self.stored() == ["claim.created claim:7"]
