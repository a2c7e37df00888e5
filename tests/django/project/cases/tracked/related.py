"""What is recorded of relations, child models and querysets."""

from django.test import TestCase

from pgaudit.testing import recording
from tests.django.project.cases.models import Claim, OldClaim, Payment, Tag, UrgentClaim
from tests.django.project.cases.tracked.reading import summaries


class Related(TestCase):  # type: ignore[misc]  # Django ships no types
    """Changes that reach more than one row."""

    def test_proxies_and_children_count(self) -> None:
        """A child with the fields of the tracked model; each deletion once."""
        with recording() as events:
            OldClaim.objects.create()
            urgent = UrgentClaim.objects.create(hours=3)
            urgent.hours, urgent.status = 4, "paid"
            urgent.save()
            OldClaim.objects.exclude(pk=urgent.pk).delete()
            pk = urgent.pk
            urgent.delete()
        actions = [event.action.partition(".")[2] for event in events]
        assert actions == ["created", "created", "updated", "deleted", "deleted"]
        assert summaries(events)[2] == (f"claim.updated claim:{pk}", {"status": ("open", "paid")})
        assert str(events[4].targets[0]) == f"claim:{pk}"

    def test_each_instance_of_a_queryset_is_deleted_with_an_event(self) -> None:
        """As are those that a deletion cascades to."""
        claims = [Claim.objects.create() for _ in range(2)]
        payment = Payment.objects.create(amount=1, claim=claims[0])
        with recording() as events:
            Claim.objects.all().delete()
        assert sorted(event for event, _ in summaries(events)) == [
            *(f"claim.deleted claim:{claim.pk}" for claim in claims),
            f"payment.deleted payment:{payment.pk}",
        ]

    def test_relations_are_recorded(self) -> None:
        """As changes of the claim, from either end, with the keys that are really added and removed."""
        claim, tags = Claim.objects.create(), [Tag.objects.create(name=str(n)) for n in range(3)]
        keys = [tag.pk for tag in tags]
        with recording() as events:
            claim.tags.add(*tags[:2])
            claim.tags.add(*tags[:2])
            claim.tags.remove(tags[0], tags[2])
            tags[2].claims.add(claim)
            claim.tags.set(tags[:1])
            tags[0].claims.clear()
            claim.tags.add(tags[1])
            tags[1].delete()
        assert {event for event, _ in summaries(events)} == {f"claim.updated claim:{claim.pk}"}
        assert [change for _, change in summaries(events)] == [
            {"tags.added": (keys[:2],)},
            {"tags.removed": (keys[:1],)},
            {"tags.added": (keys[2:],)},
            {"tags.removed": (keys[1:],)},
            {"tags.added": (keys[:1],)},
            {"tags.removed": (keys[:1],)},
            {"tags.added": (keys[1:2],)},
            {"tags.removed": (keys[1:2],)},
        ]

    def test_a_relation_to_the_same_model_is_recorded(self) -> None:
        """A symmetrical one at the end that it was changed at; a deletion at the other end."""
        one, two = Claim.objects.create(), Claim.objects.create()
        with recording() as events:
            one.related.add(two)
            gone, other = two.pk, one.pk
            two.delete()
        assert summaries(events)[0][1] == {"related.added": ([gone],)}
        assert (f"claim.updated claim:{other}", {"related.removed": ([gone],)}) in summaries(events)
        assert f"claim.deleted claim:{gone}" in [event for event, _ in summaries(events)]
